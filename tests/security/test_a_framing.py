"""Section A of negative-cases.md: HTTP/1.1 message framing, over plain HTTP and over TLS."""

import pytest

from tests.kit.raw import Answer, Silence
from tests.security.checkpoint import Checkpoint
from tests.security.rows import CANARY, OPEN, A, B, Pass, Row, chunked, post, request, table

HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"


def te(value: str | bytes) -> bytes:
    raw = value.encode("latin-1") if isinstance(value, str) else value
    return post(b"Transfer-Encoding: " + raw, body=HELLO)


REFUSED = [
    Row("A01", "length and chunked", post("Content-Length: 5", CHUNKED, body=b"0\r\n\r\n")),
    Row("A01", "chunked and length", post(CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n")),
    Row("A02", "two lengths", post("Content-Length: 1", "Content-Length: 0", body=b"x")),
    Row("A03", "same length twice", post("Content-Length: 5", "Content-Length: 5", body=b"hello")),
    *[Row("A04", f"length {v}", post(f"Content-Length: {v}", body=b"hello")) for v in ("5, 5", "5,6")],
    *[
        Row("A05", f"length {v}", post(f"Content-Length: {v}", body=b"hello"))
        for v in ("+5", "-5", "5 5", "0x5", "1_0", "5;", "1Z", "5.0", "1e1")
    ],
    Row("A06", "empty length", post("Content-Length:", body=b"")),
    Row("A06", "empty then valid", post("Content-Length:", "Content-Length: 5", body=b"hello")),
    Row("A06", "valid then empty", post("Content-Length: 5", "Content-Length:", body=b"hello")),
    *[
        Row("A08", f"length of {len(v)} digits", post(f"Content-Length: {v}", body=b"x"), (400, 413))
        for v in ("9" * 20, "9" * 40, str(2**63), str(2**64), str(2**64 + 5))
    ],
    Row("A09", "space before colon", post("Content-Length : 5", body=b"hello")),
    Row("A09", "tab before colon", post("Content-Length\t: 5", body=b"hello")),
    Row("A10", "identity and length", post("Transfer-Encoding: identity", "Content-Length: 5",
                                           body=b"hello")),
    *[
        Row("A11", f"coding {n}", te(v), (400, 501))
        for n, v in enumerate(
            ("xchunked", "chunkedchunked", "chunk", '"chunked"', "'chunked'", "blegh")
        )
    ],
    *[
        Row("A12", f"codings {n}", te(v), (400, 501) if "gzip" in v else (400,))
        for n, v in enumerate(("chunked, identity", "chunked, chunked", "chunked, gzip"))
    ],
    Row("A13", "gzip then chunked", te("gzip, chunked"), (501, 400)),
    Row("A14", "chunked twice", post(CHUNKED, CHUNKED, body=HELLO)),
    *[Row("A15", f"list form {n}", te(v)) for n, v in enumerate((",chunked", "chunked,", ""))],
    *[
        Row("A16", f"coding wrapped {byte.hex()} {where}", te(value), (400, 501))
        for byte in (b"\x0b", b"\x0c", b"\xa0", b"\x85", b"\xff", b"\x00", b"\x1f")
        for where, value in (
            ("before", byte + b"chunked"), ("after", b"chunked" + byte), ("mid", b"chun" + byte + b"ked")
        )
    ],
    *[
        Row("A17", f"name {n}", post(name + b": chunked", "Content-Length: 14", body=HELLO))
        for n, name in enumerate((
            b" Transfer-Encoding", b"Transfer_Encoding", b"Transfer Encoding",
            b"Transf\x82r-Encoding", b"Transfer\r-Encoding",
        ))
    ],
    Row("A19", "chunked in 1.0", request(CHUNKED, first="POST / HTTP/1.0", body=HELLO)),
    *[
        Row("A20", f"fold in {line.split(':')[0]}", post(line + "\r\n b", body=b""))
        for line in ("X: a", "Transfer-Encoding: chunked", "Content-Length: 0", "Cookie: a=b")
    ],
    Row("A20", "fold in Host", f"GET / HTTP/1.1\r\nHost:\r\n {OPEN}\r\n\r\n".encode()),
    Row("A20", "fold before the first", f"GET / HTTP/1.1\r\n X: a\r\nHost: {OPEN}\r\n\r\n".encode()),
    Row("A21", "bare LF everywhere", f"GET / HTTP/1.1\nHost: {OPEN}\n\n".encode()),
    Row("A21", "bare LF in one line", f"GET / HTTP/1.1\r\nHost: {OPEN}\nX: a\r\n\r\n".encode()),
    Row("A21", "bare LF as the empty line", f"GET / HTTP/1.1\r\nHost: {OPEN}\r\n\n".encode()),
    Row("A22", "CR in a value", request("X: a\rb")),
    Row("A22", "CR in a name", request("X\rY: a")),
    Row("A22", "CR in the request line", request(first="GET /\r HTTP/1.1")),
    Row("A22", "CR CR LF", f"GET / HTTP/1.1\r\r\nHost: {OPEN}\r\n\r\n".encode()),
    Row("A22", "CRLF CR X", f"GET / HTTP/1.1\r\nHost: {OPEN}\r\n\rX".encode()),
    Row("A23", "NUL in a value", request(b"X: a\x00b")),
    Row("A23", "NUL in a name", request(b"X\x00: a")),
    Row("A23", "NUL in the target", request(first=b"GET /\x00 HTTP/1.1")),
    Row("A23", "NUL in the method", request(first=b"G\x00T / HTTP/1.1")),
    *[
        Row("A24", f"control {byte:02x}", request(b"X: a" + bytes([byte]) + b"b"))
        for byte in (*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)
    ],
    *[
        Row("A25", f"name with {byte:02x}", request(bytes([0x58, byte]) + b": a"))
        for byte in (0x80, 0x85, 0xA0, 0xFF)
    ],
    *[
        Row("A26", f"no name {n}", request(line))
        for n, line in enumerate((": x", ":", "X-Line-Without-Colon", "Content-Length 10"))
    ],
    *[Row("A27", f"separator {ord(c):02x}", request(f"a{c}b: x")) for c in '()<>@,;\\"/[]?={} \t'],
    *[
        Row("A28", f"chunk size {n}", chunked(size.encode() + b"\r\nhello\r\n0\r\n\r\n"))
        for n, size in enumerate((
            "", " 5", "5 ", "+5", "-5", "0x5", "5_0", "5g", ";", "1" * 17, "0" * 400 + "5",
        ))
    ],
    *[
        Row("A29", f"chunk line {n}", chunked(body))
        for n, body in enumerate((
            b"5\nhello\r\n0\r\n\r\n", b"5\rXhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\n\n",
        ))
    ],
    *[
        Row("A30", f"extension {n}", chunked(body))
        for n, body in enumerate((
            b'5;a="x\r\ny"\r\nhello\r\n0\r\n\r\n', b"5 ;\r\r\nhello\r\n0\r\n\r\n",
            b"5;\nhello\r\n0\r\n\r\n",
        ))
    ],
    Row("A31", "a megabyte of extension", chunked(
        (b"1;" + b"e" * 60 + b"\r\nx\r\n") * 16000 + b"0\r\n\r\n"), (400, 413)),
    Row("A40", "100 leading CRLF", b"\r\n" * 100 + request()),
    *[
        Row("A41", f"blank-looking line {n}",
            b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: " + OPEN.encode() + b"\r\n\r\n")
        for n, line in enumerate((b" ", b"\t", b" \t "))
    ],
]


@pytest.mark.parametrize("row", table(REFUSED))
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_refused(checkpoint: Checkpoint, row: Row, tls: bool) -> None:
    checkpoint.refused(row, tls=tls)


def body_is(text: bytes) -> "callable":  # type: ignore[valid-type]
    def check(seen: list) -> None:
        assert seen[0].body == text
        assert len(seen[0].all("transfer-encoding") + seen[0].all("content-length")) == 1
    return check


def ten(seen: list) -> None:
    assert seen[0].all("content-length") == ["10"] and seen[0].body == b"helloworld"


def no_extension(seen: list) -> None:
    assert seen[0].body == b"hello" and b"a=b" not in seen[0].raw


def no_trailers(seen: list) -> None:
    raw = seen[0].raw.lower()
    assert seen[0].body == b"hello"
    assert b"mallory" not in raw and b"evil" not in raw and b"content-length" not in raw


def values_kept(seen: list) -> None:
    assert b"X: a\xe9\xffb" in seen[0].raw


ACCEPTED = [
    Pass("A18", "any case", post("tRANSFER-eNCODING: ChUnKeD", body=HELLO), check=body_is(b"hello")),
    Pass("A25", "bytes in a value", request(b"X: a\xe9\xffb"), check=values_kept),
    Pass("A30", "extension dropped", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), check=no_extension),
    Pass("A32", "trailers dropped", chunked(
        b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: evil\r\n"
        b"Cf-Access-Authenticated-User-Email: mallory\r\nCookie: a=evil\r\n\r\n"), check=no_trailers),
    Pass("A40", "one leading CRLF", b"\r\n" + request()),
    Pass("A42", "GET with a body", request("Content-Length: 5", body=b"hello"),
         check=body_is(b"hello")),
    Pass("A42", "DELETE with a body", request("Content-Length: 5", first="DELETE / HTTP/1.1",
                                              body=b"hello"), check=body_is(b"hello")),
    Pass("A42", "HEAD with a body", request("Content-Length: 5", first="HEAD / HTTP/1.1",
                                            body=b"hello"), check=body_is(b"hello"), method="HEAD"),
]


@pytest.mark.parametrize("row", table(ACCEPTED))
def test_accepted(checkpoint: Checkpoint, row: Pass) -> None:
    checkpoint.accepted(row)


def test_a07_leading_zero_is_decimal(checkpoint: Checkpoint) -> None:
    """A07: 010 is refused, or read as ten and said as 10; never as eight."""
    with checkpoint.client() as c:
        answer = c.send(post("Content-Length: 010", body=b"helloworld")).answer()
    if answer.status == 200:
        ten(checkpoint.origin.wait(1))
    else:
        assert answer.status == 400 and not checkpoint.origin.requests


@pytest.mark.parametrize("ending", [b"5\r\nhello\r\n0\r\n", b"5\r\nhel"], ids=["no-end", "mid-chunk"])
def test_a33_end_of_file_in_a_body(checkpoint: Checkpoint, ending: bytes) -> None:
    """A33: the origin never gets a complete request, the client no 200."""
    with checkpoint.client() as c:
        c.send(chunked(ending))
        if not checkpoint.tls_only:
            c.half_close()
        answers = c.answers(timeout=3)
    assert all(a.status != 200 for a in answers)
    assert not any(r.complete for r in checkpoint.origin.requests)


def test_a34_a_request_in_the_trailer(checkpoint: Checkpoint) -> None:
    """A34: what follows the last chunk is trailer or refused, never a second request."""
    with checkpoint.client() as c:
        c.send(chunked(b"5\r\nhello\r\n0\r\nX:POST /evil HTTP/1.1\r\n\r\n")).answers(timeout=1)
    assert all("/evil" not in r.line for r in checkpoint.origin.requests)
    assert len(checkpoint.origin.requests) <= 1


def test_a35_short_body_then_late_bytes(checkpoint: Checkpoint) -> None:
    """A35: a body shorter than declared ends in 408 and a close; late bytes are no request."""
    with checkpoint.client(timeout=checkpoint.body_idle + 4) as c:
        c.send(post("Content-Length: 50", body=b"hello"))
        answer = c.answer(timeout=checkpoint.body_idle + 3)
        c.send(b"x" * 45 + CANARY)
        assert answer.status == 408
        assert c.closed() is not None
    assert not any(r.complete for r in checkpoint.origin.requests)
    assert all("canary" not in r.line for r in checkpoint.origin.requests)


@pytest.mark.parametrize("host,path", [
    (A, "/"), ("login.sekisho.localhost", "/cdn-cgi/access/nothing"), (A, "/cdn-cgi/access/logout"),
    ("unknown.sekisho.localhost", "/"),
])
def test_a36_a_body_that_the_edge_answers(checkpoint: Checkpoint, host: str, path: str) -> None:
    """A36: where the edge answers by itself, the declared body is drained or the connection closed."""
    inner = f"GET /admin HTTP/1.1\r\nHost: {OPEN}\r\n\r\n".encode()
    with checkpoint.client() as c:
        c.send(request(f"Content-Length: {len(inner)}", first=f"POST {path} HTTP/1.1", host=host,
                       body=inner))
        first = c.answer()
        assert first.status != 200 or host.startswith("login")
        rest = c.send(request(first="GET /after HTTP/1.1")).answers(timeout=1)
    assert len(rest) <= 1
    assert all("/admin" not in r.line for r in checkpoint.origin.requests)


def test_a37_early_answer(checkpoint: Checkpoint) -> None:
    """A37: after an answer before the whole body, neither connection carries another request."""
    checkpoint.origin.early = True
    checkpoint.origin.answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    with checkpoint.client() as c:
        c.send(post("Content-Length: 100000", body=b"x" * 1000))
        assert c.answer().status == 413
        c.send(b"y" * 99000 + CANARY)
        c.answers(timeout=1)
    checkpoint.origin.early = False
    with checkpoint.client() as c:
        c.send(request(first="GET /next HTTP/1.1")).answer()
    by_line = {r.line: r.connection for r in checkpoint.origin.requests}
    assert by_line["GET /next HTTP/1.1"] != by_line["POST / HTTP/1.1"]


def test_a38_second_of_two_is_bad(checkpoint: Checkpoint) -> None:
    """A38: the first is answered, the second refused."""
    with checkpoint.client() as c:
        c.send(request() + request("Content-Length: 1", "Content-Length: 2") + CANARY)
        assert [a.status for a in c.answers()] == [200, 400]
        assert c.ended
    assert len(checkpoint.origin.requests) == 1


def test_a39_each_request_is_judged_alone(checkpoint: Checkpoint) -> None:
    """A39: pipelined behind a signed-in request, one without a session is sent to sign in."""
    with checkpoint.client() as c:
        c.send(request(f"Cookie: {checkpoint.cookie(A)}", host=A) + request(host=B))
        assert c.answer().status == 200
        second: Answer = c.answer()
    assert second.status in (302, 401, 403)
    assert [r.get("host") for r in checkpoint.origin.requests] == [A]


def test_a43_extra_byte_after_the_end(checkpoint: Checkpoint) -> None:
    """A43: one byte more than the chunked body spoils the next request."""
    with checkpoint.client() as c:
        c.send(chunked(HELLO) + b"X" + CANARY)
        assert c.answer().status == 200
        # "XGET" is a valid token: then it is another method, answered as such, but never GET /canary
        c.answers(timeout=1)
    lines = [r.line for r in checkpoint.origin.requests]
    assert "GET /canary HTTP/1.1" not in lines


def test_a44_every_split(checkpoint: Checkpoint) -> None:
    """A44: two segments split anywhere, or one byte a segment: the same as whole."""
    whole = chunked(b"5;x=1\r\nhello\r\n3\r\nyou\r\n0\r\nT: 1\r\n\r\n", "X-Mark: 1")
    with checkpoint.client() as c:
        c.send(whole).answer()
        for cut in range(1, len(whole)):
            c.send(whole[:cut], whole[cut:])
            assert c.answer().status == 200, f"split at {cut}"
        c.send(*(whole[i:i + 1] for i in range(len(whole))))
        assert c.answer().status == 200
    seen = checkpoint.origin.wait(len(whole) + 1)
    variable = (b"cf-ray:", b"date:")
    heads = {
        b"\r\n".join(x for x in r.raw.split(b"\r\n") if not x.lower().startswith(variable))
        for r in seen
    }
    assert len(heads) == 1 and {r.body for r in seen} == {b"helloyou"}


def test_silence_is_bounded(checkpoint: Checkpoint) -> None:
    """The harness itself: a good connection stays open, so `closed` can tell the difference."""
    with checkpoint.client() as c:
        assert c.send(request()).answer().status == 200
        assert c.closed(0.3) is None
        with pytest.raises(Silence):
            c.answer(timeout=0.2)
