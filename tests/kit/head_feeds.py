"""Feed one head to a parser whole, byte by byte and with a tail: one verdict (A44)."""

from collections.abc import Callable
from typing import Any

from _fastpath.errors import WireError

Parse = Callable[[bytes], tuple[int, dict[str, Any]] | None]
MORE = "more"


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
