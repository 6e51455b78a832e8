"""A head is accepted exactly when the plain reference accepts it, and means the same; the verdict
does not depend on where it was cut, and a tail changes nothing. Hosts and paths: the same normal
form as the reference's, idempotent, never longer.

The first byte says what the rest is: Q a request, R a response, D a response to HEAD, H a host,
P a path, S a path whose application takes encoded slashes."""

from functools import partial
from typing import Any

from _fastpath.errors import WireError
from _fastpath.head import normal_host, normal_path
from _fastpath.http1 import parse_request, parse_response
from tests.kit.head_feeds import MORE, Parse, verdict
from tests.kit.http_reference import (
    Incomplete,
    Reading,
    Refused,
    read_host,
    read_path,
    read_request,
    read_response,
)

TOKENS = [
    b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", b"\r\n\r\n", b"Host: app-a\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer_Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: Upgrade, X\r\n", b"Upgrade: websocket\r\n", b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Expect: 100-continue\r\n",
    b"Cf-Access-Token: x\r\n", b"cf_access_token: x\r\n", b"X-Forwarded-For: x\r\n",
    b"gzip, chunked",
    b"GET ", b"POST ", b"OPTIONS * ", b"http://app-a", b"https://app-a:443", b"\t", b":", b",",
    b";",
    b"/../", b"/./", b"//", b"%2e", b"%2F", b"%5c", b"%3b", b"%20", b"%25", b"%c3%a9", b"%00",
    b"..;",
    b"[::1]", b".", b":80", b"%", b"\r", b"\n", b" ", b"\x7f", b"\x80",
]  # fmt: skip


def meaning(view: dict[str, Any]) -> dict[str, Any]:
    """The parts of the codec's view that the reference has too."""
    return {
        "minor": view["minor"],
        "fields": [(name, value) for name, value, _, _ in view["fields"]],
        "framing": view["framing"],
        "length": view["length"],
        "keep_alive": view["keep_alive"],
        "expect_continue": view["expect_continue"],
        "upgrade": view["upgrade"],
        "owned": {
            i
            for i, (_, _, kind, _) in enumerate(view["fields"])
            if kind in ("owned", "x-forwarded-for", "x-forwarded-proto")
        },
        "listed": {i for i, (_, _, _, listed) in enumerate(view["fields"]) if listed},
        "method": view.get("method", b""),
        "target": view.get("target", b""),
        "status": view.get("status", 0),
    }


def compare(parse: Parse, read: Any, data: bytes) -> None:
    ours = verdict(parse, data)
    try:
        reading: Reading | str = read(data)
    except Refused:
        reading = "refused"
    except Incomplete:
        # what already is an error may be refused before the head is whole
        assert ours == MORE or isinstance(ours, str), ours
        return
    if isinstance(reading, str):
        assert isinstance(ours, str) and ours != MORE, ours
        return
    assert not isinstance(ours, str), ours
    size, view = ours
    expected = {key: value for key, value in vars(reading).items() if key != "size"}
    assert (size, meaning(view)) == (reading.size, expected)
    assert verdict(parse, data[:size]) == ours
    assert verdict(parse, data[:size] + b"\x00tail") == ours
    for cut in {1, size // 3, size // 2, size - 1}:
        assert verdict(parse, data[:cut]) == MORE


def compare_path(path: bytes, encoded_slash: bool) -> None:
    try:
        expected: bytes | None = read_path(path, encoded_slash)
    except Refused:
        expected = None
    try:
        ours: bytes | None = normal_path(path, encoded_slash)
    except WireError:
        ours = None
    assert ours == expected, (ours, expected)
    if ours is None:
        return
    assert len(ours) <= len(path)
    assert normal_path(ours, encoded_slash) == ours
    assert b"//" not in ours and b"/../" not in ours and b"/./" not in ours


def compare_host(host: bytes) -> None:
    try:
        expected: tuple[bytes, int | None] | None = read_host(host)
    except Refused:
        expected = None
    try:
        ours: tuple[bytes, int | None] | None = normal_host(host)
    except WireError:
        ours = None
    assert ours == expected, (ours, expected)
    if ours is not None:
        assert normal_host(ours[0]) == (ours[0], None)


def fuzz(data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    match kind:
        case b"Q":
            compare(parse_request, read_request, rest)
        case b"R":
            compare(parse_response, read_response, rest)
        case b"D":
            compare(
                partial(parse_response, method=b"HEAD"),
                partial(read_response, method=b"HEAD"),
                rest,
            )
        case b"H":
            compare_host(rest)
        case b"S":
            compare_path(rest, True)
        case _:
            compare_path(rest, False)
