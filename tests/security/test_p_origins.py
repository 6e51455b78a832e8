"""Section P of negative-cases.md: hostile and slow origins; and P10, connections that carry a login."""

import socket
import threading
import time

import pytest

from tests.kit.origin import Seen
from tests.kit.soak import scaled, soak
from tests.security.checkpoint import Checkpoint
from tests.security.rows import request

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"

BAD_HEADS = {
    "length-and-chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "bare-LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
    "fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nab",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nab",
    "no-colon": b"HTTP/1.1 200 OK\r\nWhat\r\nContent-Length: 2\r\n\r\nab",
    "status": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nab",
    "not-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}


@pytest.mark.parametrize("answer", BAD_HEADS.values(), ids=BAD_HEADS.keys())
def test_p01_bad_heads(checkpoint: Checkpoint, answer: bytes) -> None:
    """P01, J19: 502, the origin's connection ends, nothing of it is spliced."""
    checkpoint.origin.answer = answer
    with checkpoint.client() as c:
        got = c.send(request()).answer()
        assert got.status == 502
    checkpoint.origin.answer = NEXT
    with checkpoint.client() as c:
        assert c.send(request()).answer().body == b"next"
    assert len({r.connection for r in checkpoint.origin.requests}) == 2


def test_p01_bad_chunk(checkpoint: Checkpoint) -> None:
    """P01: a chunk that breaks mid-body cuts the answer: no end that looks whole."""
    checkpoint.origin.answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld\r\n0\r\n\r\n")
    with checkpoint.client() as c:
        c.send(request())
        with pytest.raises(EOFError):
            c.answer()


def test_p02_bytes_after_an_answer(checkpoint: Checkpoint) -> None:
    """P02: a second answer nobody asked for is never anybody's next one."""
    checkpoint.origin.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
    with checkpoint.client() as c:
        assert c.send(request()).answer().body == b"first"
        time.sleep(0.05)
        checkpoint.origin.answer = NEXT
        assert c.send(request(first="GET /2 HTTP/1.1")).answer().body == b"next"
    with checkpoint.client() as c:
        assert c.send(request(first="GET /3 HTTP/1.1")).answer().body == b"next"


def test_p03_heads_without_end(checkpoint: Checkpoint) -> None:
    """P03: 502 for a head of a megabyte or of 10,000 fields."""
    for head in (b"X: " + b"v" * (1 << 20) + b"\r\n", b"X: 1\r\n" * 10_000):
        checkpoint.origin.answer = b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 0\r\n\r\n"
        with checkpoint.client() as c:
            assert c.send(request()).answer().status == 502


def test_p04_identity_from_the_origin(checkpoint: Checkpoint) -> None:
    """P04: our names in an origin's answer go no further."""
    checkpoint.origin.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCf-Access-Authenticated-User-Email: root\r\n"
        b"Cf-Ray: evil\r\nX-Own: 1\r\n\r\n")
    with checkpoint.client() as c:
        answer = c.send(request()).answer()
    assert answer.get("x-own") == "1"
    assert "evil" not in (answer.get("cf-ray") or "")
    assert answer.get("cf-access-authenticated-user-email") is None


def test_p05_cut_before_the_head(checkpoint: Checkpoint) -> None:
    """P05: an origin that closes before it answers is 502 for a POST, which isn't sent twice."""
    def close(seen: Seen, sock: socket.socket) -> None:
        sock.close()
    checkpoint.origin.answer = close
    with checkpoint.client() as c:
        answer = c.send(request("Content-Length: 1", first="POST / HTTP/1.1", body=b"x")).answer()
    assert answer.status == 502
    assert len(checkpoint.origin.requests) == 1


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"],
                         ids=["length", "chunked"])
def test_p05_cut_in_the_body(checkpoint: Checkpoint, head: bytes) -> None:
    """P05, A33: a body cut short is passed on as cut short: no fake end."""
    def cut(seen: Seen, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"hello")
        sock.close()
    checkpoint.origin.answer = cut
    with checkpoint.client() as c:
        c.send(request())
        with pytest.raises(EOFError):
            c.answer()


def test_p06_idle_connection_closed_as_we_send(checkpoint: Checkpoint) -> None:
    """P06: a GET on a pooled connection that the origin just closed is sent once more, and works."""
    with checkpoint.client() as c:
        assert c.send(request()).answer().status == 200
        checkpoint.origin.cut()
        assert c.send(request(first="GET /again HTTP/1.1")).answer().status == 200
    assert [r.line for r in checkpoint.origin.requests].count("GET /again HTTP/1.1") == 1


@soak
def test_p09_answers_reach_who_asked(checkpoint: Checkpoint) -> None:
    """P09: a million answers, many clients, pooled connections, clients that leave: every body
    belongs to its request."""
    def tagged(seen: Seen, sock: socket.socket) -> bytes:
        tag = seen.line.split()[1].encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(tag), tag)
    checkpoint.origin.answer = tagged
    wrong: list[str] = []
    each = scaled(1_000_000) // 8
    checkpoint.origin.keeps = False

    def many(who: int) -> None:
        c = checkpoint.client()
        for n in range(each):
            tag = f"/{who}-{n}"
            c.send(request(first=f"GET {tag} HTTP/1.1"))
            if n % 10 == 9:
                c.sock.close()
                c = checkpoint.client()
                continue
            body = c.answer().body.decode()
            if body != tag:
                wrong.append(f"{tag} got {body}")
        c.sock.close()

    threads = [threading.Thread(target=many, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 if each < 2000 else None)
    assert not wrong
    checkpoint.origin.keeps = True
    assert checkpoint.origin.count >= 8 * (each * 9 // 10 - 1)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_p10_logins_bound_to_a_connection(checkpoint: Checkpoint, scheme: str) -> None:
    """P10: an origin connection that carried or was asked for NTLM/Negotiate serves its one client."""
    checkpoint.origin.answer = (
        f"HTTP/1.1 401 No\r\nWWW-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n".encode())
    with checkpoint.client() as one:
        assert one.send(request()).answer().status == 401
        checkpoint.origin.answer = NEXT
        one.send(request(f"Authorization: {scheme} TlRMTVNTUAA=", first="GET /one HTTP/1.1")).answer()
        with checkpoint.client() as other:
            other.send(request(first="GET /other HTTP/1.1")).answer()
        one.send(request(first="GET /one-again HTTP/1.1")).answer()
    with checkpoint.client() as third:
        third.send(request(first="GET /third HTTP/1.1")).answer()
    by = {r.line.split()[1]: r.connection for r in checkpoint.origin.requests}
    assert by["/"] == by["/one"] == by["/one-again"], "the login lost its connection"
    assert by["/one"] not in (by["/other"], by["/third"]), "somebody else got the login"
