"""P01, P03 and the framing of responses: an origin is read as strictly as a client."""

from functools import partial

import pytest

from _fastpath.http1 import parse_response
from tests.kit.head_feeds import judge, verdict


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n"


def accepted(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> dict:
    data = head(*lines, first=first)
    size, view = judge(partial(parse_response, method=method), data)
    assert size == len(data)
    return view


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(head(LENGTH, CHUNKED), "length-and-encoding", id="P01-both"),
        pytest.param(head(LENGTH, LENGTH), "length-repeated", id="P01-two-lengths"),
        pytest.param(head(LENGTH, b"X: a\nY: b"), "line-end-invalid", id="P01-bare-LF"),
        pytest.param(head(LENGTH, b"X: a", b" b"), "field-folded", id="P01-obs-fold"),
        pytest.param(head(b"X: a\x00b"), "field-value-invalid", id="P01-NUL"),
        pytest.param(head(b"Transfer-Encoding: gzip"), "encoding-invalid", id="P01-gzip-alone"),
        pytest.param(
            head(b"Transfer-Encoding: gzip, chunked"), "encoding-unsupported", id="P01-gzip"
        ),
        pytest.param(
            head(CHUNKED, first=b"HTTP/1.0 200 OK"), "encoding-in-http-1.0", id="P01-chunked-1.0"
        ),
        pytest.param(head(b"X : a"), "field-name-invalid", id="P01-space-before-colon"),
        pytest.param(head(b"Transfer_Encoding: chunked"), "field-name-invalid", id="P01-disguise"),
        pytest.param(head(b"Connection: a b"), "field-value-invalid", id="P01-options"),
        pytest.param(head(CHUNKED, first=b"HTTP/1.1 204 No"), "encoding-invalid", id="P01-204"),
        pytest.param(head(CHUNKED, first=b"HTTP/1.1 100 Go"), "encoding-invalid", id="P01-100"),
        pytest.param(
            head(b"Upgrade: websocket", first=b"HTTP/1.1 101 S"), "upgrade-invalid", id="E11-half"
        ),
        pytest.param(head(first=b"HTTP/2.0 200 OK"), "version-unsupported", id="B02-2.0"),
        pytest.param(head(first=b"ICY 200 OK"), "request-line-invalid", id="B02-ICY"),
        *[
            pytest.param(head(first=line), "origin-response-invalid", id=f"P01-{line!a}")
            for line in (
                b"HTTP/1.1 20 OK",
                b"HTTP/1.1 2000 OK",
                b"HTTP/1.1 099 OK",
                b"HTTP/1.1 600 OK",
                b"HTTP/1.1 2x0 OK",
                b"HTTP/1.1  200 OK",
                b"HTTP/1.1\t200 OK",
                b"HTTP/1.1 200OK",
                b"HTTP/1.1 200 O\x00K",
                b"HTTP/1.1",
            )
        ],
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    assert judge(parse_response, data) == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (head(*[b"X: " + b"a" * 9000] * 120), "head-too-large"),
        (head(b"X: " + b"a" * 40000), "line-too-long"),
        (head(*[b"X: a"] * 10000), "fields-too-many"),
        (head(first=b"HTTP/1.1 200 " + b"a" * 40000), "line-too-long"),
    ],
)
def test_p03_over_a_limit(data: bytes, reason: str) -> None:
    assert judge(parse_response, data, step=997) == reason


@pytest.mark.parametrize(
    ("first", "lines", "method", "framing", "keep"),
    [
        (b"HTTP/1.1 200 OK", [LENGTH], b"GET", "length", True),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 0"], b"GET", "length", True),
        (b"HTTP/1.1 200 OK", [CHUNKED], b"GET", "chunked", True),
        (b"HTTP/1.1 200 OK", [], b"GET", "close", False),
        (b"HTTP/1.1 200", [], b"GET", "close", False),
        (b"HTTP/1.1 200 ", [LENGTH], b"GET", "length", True),
        (b"HTTP/1.0 200 OK", [LENGTH], b"GET", "length", False),
        (b"HTTP/1.0 200 OK", [LENGTH, b"Connection: keep-alive"], b"GET", "length", True),
        (b"HTTP/1.1 200 OK", [LENGTH, b"Connection: close"], b"GET", "length", False),
        (b"HTTP/1.1 200 OK", [LENGTH], b"HEAD", "none", True),
        (b"HTTP/1.1 200 OK", [CHUNKED], b"HEAD", "none", True),
        (b"HTTP/1.1 200 OK", [], b"HEAD", "none", True),
        (b"HTTP/1.1 304 Not Modified", [LENGTH], b"GET", "none", True),
        (b"HTTP/1.1 204 No Content", [], b"GET", "none", True),
        (b"HTTP/1.1 204 No Content", [LENGTH], b"GET", "none", True),
        (b"HTTP/1.1 100 Continue", [], b"POST", "none", True),
        (b"HTTP/1.1 103 Early Hints", [b"Link: </x>"], b"GET", "none", True),
        (b"HTTP/1.1 418 \xe2\x98\x95 \t", [LENGTH], b"PROPFIND", "length", True),
    ],
)
def test_e13_framing(
    first: bytes, lines: list[bytes], method: bytes, framing: str, keep: bool
) -> None:
    view = accepted(*lines, first=first, method=method)
    assert (view["framing"], view["keep_alive"]) == (framing, keep)
    assert view["length"] == (5 if LENGTH in lines else 0)
    assert view["status"] == int(first.split()[1])


def test_e11_what_101_switches_to() -> None:
    switch = partial(accepted, first=b"HTTP/1.1 101 Switching Protocols")
    assert switch(b"Connection: Upgrade", b"Upgrade: websocket")["upgrade"] == "websocket"
    assert switch(b"Connection: upgrade", b"Upgrade: sekisho-tcp/1")["upgrade"] == "tcp"
    assert switch(b"Connection: upgrade", b"Upgrade: h2c")["upgrade"] == "other"
    assert switch()["upgrade"] == ""
    # in any other answer it only announces
    assert accepted(b"Upgrade: websocket", LENGTH)["upgrade"] == ""


def test_values_of_an_origin_stay_byte_for_byte() -> None:
    view = accepted(b"X: " + bytes(range(0x80, 0x100)) + b"\t-", LENGTH)
    assert view["fields"][0][1] == bytes(range(0x80, 0x100)) + b"\t-"
    assert view["fields"][0][2] == "other"


def test_an_empty_line_before_the_status_line_is_no_answer() -> None:
    assert verdict(parse_response, b"\r\n" + head(LENGTH)) == "request-line-invalid"
