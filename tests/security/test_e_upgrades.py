"""Sections E and H of negative-cases.md: methods, upgrades, Expect, interim answers, WebSocket."""

import base64
import hashlib
import os
import socket
import time

import pytest

from tests.kit.origin import Seen
from tests.kit.raw import Raw
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, A, Row, post, request, table

KEY = base64.b64encode(b"0123456789abcdef").decode()
WEBSOCKET = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}",
             "Sec-WebSocket-Version: 13"]


def own(checkpoint: Checkpoint, host: str) -> str:
    return f"Origin: http://{host}:{checkpoint.plain_port}"


def switch(seen: Seen, sock: socket.socket) -> bytes | None:
    """Accept a WebSocket, then send every byte back."""
    accept = base64.b64encode(hashlib.sha1(
        ((seen.get("sec-websocket-key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
    ).digest()).decode()
    sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.close()
    return None


REFUSED = [
    Row("E01", "connect", f"CONNECT {A}:443 HTTP/1.1\r\nHost: {A}:443\r\n\r\n".encode(), (400, 405)),
    Row("E01", "connect to metadata",
        b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", (400, 404, 405)),
    Row("E09", "expect words", post("Expect: y 100-continue", "Content-Length: 5", body=b"hello"),
        (417,)),
    Row("E09", "expect list", post("Expect: 100-continue, x", "Content-Length: 5", body=b"hello"),
        (417,)),
    Row("E09", "expect twice", post("Expect: 100-continue", "Expect: 100-continue",
                                    "Content-Length: 5", body=b"hello"), (417, 400)),
]


@pytest.mark.parametrize("row", table(REFUSED))
def test_refused(checkpoint: Checkpoint, row: Row) -> None:
    checkpoint.refused(row)


@pytest.mark.parametrize("method", ["TRACE", "TRACK"])
def test_e02_trace(checkpoint: Checkpoint, method: str) -> None:
    """E02: 405, and the origin is not asked."""
    with checkpoint.client() as c:
        assert c.send(request(first=f"{method} / HTTP/1.1")).answer().status == 405
    assert not checkpoint.origin.requests


def test_e03_h2c(checkpoint: Checkpoint) -> None:
    """E03: no 101; the origin sees an ordinary request without upgrade fields."""
    with checkpoint.client() as c:
        answer = c.send(request("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
                                "Connection: Upgrade, HTTP2-Settings")).answer()
    assert answer.status == 200
    seen = checkpoint.origin.wait(1)[0]
    assert not seen.all("upgrade") and not seen.all("http2-settings")
    assert all("upgrade" not in v.lower() for v in seen.all("connection"))


@pytest.mark.parametrize("fields", [
    ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"],
    ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
     "Sec-WebSocket-Key: short"],
    ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}",
     "Sec-WebSocket-Version: 12"],
], ids=["no-key", "bad-key", "version-12"])
def test_e04_bad_handshake(checkpoint: Checkpoint, fields: list[str]) -> None:
    """E04: 400 or 426; nothing switches, nothing turns into a raw tunnel."""
    checkpoint.origin.answer = switch
    with checkpoint.client() as c:
        answer = c.send(request(*fields, own(checkpoint, OPEN))).answer()
    assert answer.status in (400, 426)
    assert not checkpoint.origin.requests


def test_e04_connection_without_upgrade(checkpoint: Checkpoint) -> None:
    """E04: without Connection: upgrade it is an ordinary request."""
    with checkpoint.client() as c:
        answer = c.send(request("Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}",
                                "Sec-WebSocket-Version: 13", own(checkpoint, OPEN))).answer()
    assert answer.status in (200, 400, 426)
    for seen in checkpoint.origin.requests:
        assert not seen.all("upgrade")


@pytest.mark.parametrize("status", [200, 426, 403])
def test_e05_origin_refuses_to_switch(checkpoint: Checkpoint, status: int) -> None:
    """E05: an ordinary answer, framed; what follows is the next request and no tunnel."""
    checkpoint.origin.answer = (
        f"HTTP/1.1 {status} X\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nnope".encode())
    with checkpoint.client() as c:
        answer = c.send(request(*WEBSOCKET, own(checkpoint, OPEN))).answer()
        assert (answer.status, answer.body) == (status, b"nope")
        c.send(b"GET /admin HTTP/1.1\r\nHost: " + A.encode() + b"\r\n\r\n").answers(timeout=1)
    assert all("/admin" not in r.line for r in checkpoint.origin.requests)


@pytest.mark.parametrize("value", ["websocket, h2c", "foo", "h2c, websocket"])
def test_e06_other_upgrades(checkpoint: Checkpoint, value: str) -> None:
    """E06: anything but exactly websocket is dropped, and the request stays one."""
    with checkpoint.client() as c:
        answer = c.send(request(f"Upgrade: {value}", "Connection: Upgrade",
                                own(checkpoint, OPEN))).answer()
    assert answer.status in (200, 400)
    for seen in checkpoint.origin.requests:
        assert not seen.all("upgrade")


def test_e07_expect_and_denied(checkpoint: Checkpoint) -> None:
    """E07: the refusal comes at once, without 100 and without the body."""
    started = time.monotonic()
    with checkpoint.client() as c:
        answer = c.send(post("Expect: 100-continue", "Content-Length: 1000", host=A)).answer()
        assert answer.status in (302, 401) and not answer.interim
        assert time.monotonic() - started < 1
        assert c.closed() is not None
    assert not checkpoint.origin.requests


def test_e08_final_answer_instead_of_100(checkpoint: Checkpoint) -> None:
    """E08: the origin's connection isn't used again; the next person's request is clean."""
    checkpoint.origin.early = True
    checkpoint.origin.answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    with checkpoint.client() as c:
        answer = c.send(post("Expect: 100-continue", "Content-Length: 1000")).answer()
        assert answer.status == 401
        c.send(b"x" * 1000).answers(timeout=0.5)
    checkpoint.origin.early = False
    checkpoint.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with checkpoint.client() as c:
        assert c.send(request(first="GET /next HTTP/1.1")).answer().status == 200
    first, second = checkpoint.origin.requests[0], checkpoint.origin.requests[-1]
    assert second.line == "GET /next HTTP/1.1"
    assert first.connection != second.connection


def test_expect_continue_is_answered(checkpoint: Checkpoint) -> None:
    """E07's good half: where the request goes on, 100 comes (from the edge or the origin)."""
    def answer(seen: Seen, sock: socket.socket) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    checkpoint.origin.answer = answer
    with checkpoint.client() as c:
        c.send(post("Expect: 100-continue", "Content-Length: 5"))
        assert c.until(b"\r\n\r\n", time.monotonic() + 2).startswith(b"HTTP/1.1 100")
        assert c.send(b"hello").answer().status == 200
    assert checkpoint.origin.wait(1)[0].body == b"hello"


def test_e10_interim_answers(checkpoint: Checkpoint) -> None:
    """E10: interim answers are never the final one, and their number is bounded."""
    checkpoint.origin.answer = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    with checkpoint.client() as c:
        answer = c.send(request()).answer()
        assert (answer.status, answer.body) == (200, b"hi")
    checkpoint.origin.answer = b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with checkpoint.client() as c:
        answer = c.send(request()).answer()
        assert answer.status in (200, 502) and len(answer.interim) < 100


def test_e11_unasked_switch(checkpoint: Checkpoint) -> None:
    """E11: 101 without our Upgrade is 502."""
    checkpoint.origin.answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    with checkpoint.client() as c:
        assert c.send(request()).answer().status == 502


def test_e12_bytes_after_close(checkpoint: Checkpoint) -> None:
    """E12: what follows a request with Connection: close is ignored."""
    with checkpoint.client() as c:
        c.send(request("Connection: close") + request(first="GET /after HTTP/1.1"))
        assert c.answer().status == 200
        assert c.closed() == b""
    assert len(checkpoint.origin.requests) == 1


@pytest.mark.parametrize("method,status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_e13_bodies_where_none_belongs(checkpoint: Checkpoint, method: str, status: int) -> None:
    """E13: the stray body reaches nobody, and the origin's connection ends."""
    checkpoint.origin.answer = (
        f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nstray".encode())
    with checkpoint.client() as c:
        assert c.send(request(first=f"{method} / HTTP/1.1")).answer(method).status == status
        checkpoint.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        answer = c.send(request(first="GET /next HTTP/1.1")).answer()
    assert (answer.status, answer.body) == (200, b"ok")
    assert len({r.connection for r in checkpoint.origin.requests}) == 2


# --- WebSocket ------------------------------------------------------------------------------------


def frame(payload: bytes, opcode: int = 1) -> bytes:
    mask = os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://{b}", ""],
                         ids=["evil", "null", "sibling", "none"])
def test_h01_foreign_origin(checkpoint: Checkpoint, origin: str) -> None:
    """H01: with a valid cookie, a page of another origin (or none named) gets 403 and no 101."""
    value = origin.format(b=f"app-b.sekisho.localhost:{checkpoint.plain_port}")
    checkpoint.visitor()
    checkpoint.clear()
    checkpoint.origin.answer = switch
    with checkpoint.client() as c:
        fields = [*WEBSOCKET, f"Cookie: {checkpoint.cookie(A)}"] + (
            [f"Origin: {value}"] if origin else [])
        assert c.send(request(*fields, host=A)).answer().status == 403
    assert not checkpoint.origin.requests


def test_h02_no_session(checkpoint: Checkpoint) -> None:
    """H02: 401 or 403, not a redirect to a page."""
    with checkpoint.client() as c:
        answer = c.send(request(*WEBSOCKET, own(checkpoint, A), host=A)).answer()
    assert answer.status in (401, 403) and answer.get("location") is None
    assert not checkpoint.origin.requests


def test_h04_frames_behind_the_handshake(checkpoint: Checkpoint) -> None:
    """H04: bytes that come with the handshake wait for 101, then go in order."""
    checkpoint.visitor()
    checkpoint.clear()
    checkpoint.origin.answer = switch
    first, second = frame(b"one"), frame(b"two")
    with checkpoint.client() as c:
        c.send(request(*WEBSOCKET, own(checkpoint, A), f"Cookie: {checkpoint.cookie(A)}",
                       host=A) + first)
        assert c.answer().status == 101
        c.send(second)
        echoed = c.exactly(len(first) + len(second), time.monotonic() + 3)
    assert echoed == first + second
    seen = checkpoint.origin.requests[0]
    assert first not in seen.raw and seen.get("cf-access-authenticated-user-email")


def test_h06_declared_length_is_not_believed(checkpoint: Checkpoint) -> None:
    """H06: a frame that declares 2^63 bytes is streamed; nothing is allocated for it."""
    checkpoint.visitor()
    checkpoint.clear()
    checkpoint.origin.answer = switch
    head = bytes([0x82, 0xFF]) + (2**63 - 1).to_bytes(8, "big") + b"mask"
    with checkpoint.client() as c:
        c.send(request(*WEBSOCKET, own(checkpoint, A), f"Cookie: {checkpoint.cookie(A)}", host=A))
        assert c.answer().status == 101
        c.send(head, *(bytes([i]) for i in range(100)))
        assert c.exactly(len(head) + 100, time.monotonic() + 3) == head + bytes(range(100))


def test_h07_origin_dies(checkpoint: Checkpoint) -> None:
    """H07: when the origin's end is cut, the client hears it at once."""
    checkpoint.visitor()
    checkpoint.clear()
    checkpoint.origin.answer = switch
    with checkpoint.client() as c:
        c.send(request(*WEBSOCKET, own(checkpoint, A), f"Cookie: {checkpoint.cookie(A)}", host=A))
        assert c.answer().status == 101
        checkpoint.origin.cut()
        assert c.closed(2) is not None


def test_raw_client_is_exact() -> None:
    """The harness itself: a frame is what it says."""
    sent = frame(b"hi")
    assert len(sent) == 8 and Raw.__name__ == "Raw"
