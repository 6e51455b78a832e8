"""Feed one head to a parser whole, byte by byte and with a tail: one verdict (A44)."""

from collections.abc import Callable
from typing import Any

from _fastpath.errors import WireError
from _fastpath.http1 import parse_request

Parse = Callable[[bytes], tuple[int, dict[str, Any]] | None]
MORE = "more"
HOST = b"Host: app-a"
CHUNKED = b"Transfer-Encoding: chunked"


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = HOST) -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines]) + b"\r\n\r\n"


def verdict(parse: Parse, data: bytes) -> Any:
    """(size, view) when whole, MORE, or the reason as text."""
    try:
        result = parse(data)
    except WireError as error:
        return error.reason
    return MORE if result is None else result


def judge(parse: Parse, data: bytes, *, step: int = 1) -> Any:
    """Return the one verdict on `data`; fail when the ways of feeding disagree.

    A head that parses is fed with tails too; a refusal stays a refusal whatever follows."""
    whole = verdict(parse, data)
    stepwise = MORE
    for end in (*range(1, len(data), step), len(data)):
        stepwise = verdict(parse, data[:end])
        if stepwise != MORE:
            break
    assert stepwise == whole, (stepwise, whole)
    if whole != MORE:
        for tail in (b"G", b"\r\n", b"\n", b"\x00", b"GET / HTTP/1.1\r\nHost: tail\r\n\r\n"):
            assert verdict(parse, data + tail) == whole, tail
    return whole


def accepted(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = HOST) -> dict:
    data = head(*lines, first=first, host=host)
    size, view = judge(parse_request, data)
    assert size == len(data)
    return view
