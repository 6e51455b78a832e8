"""What a hostile review of the data path found, as tests: each crashed a worker, or let one client use it up."""

import socket

import pytest

from tests.fastpath.test_address import parse_hop
from tests.kit.raw import Silence
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, A, request


@pytest.mark.parametrize(
    "fields",
    [
        ["Cookie: CF_Authorization="],
        ["Cookie: CF_Authorization=; x=y"],
        ["Cookie: CF_Authorization=", "Cookie: x=y"],
        ["Cf-Access-Token: "],
        ["Cookie: __Host-CF_AppSession="],
    ],
)
def test_an_empty_credential_is_nobodys(checkpoint: Checkpoint, fields: list[str]) -> None:
    """An empty cookie left a pointer unset; a request of a signed-in person goes before, on purpose."""
    cookie = checkpoint.cookie(A)
    before = checkpoint.edge.pids()
    with checkpoint.client() as c:
        assert c.send(request(f"Cookie: {cookie}", host=A)).answer().status == 200
    checkpoint.clear()
    with checkpoint.client() as c:
        assert c.send(request(*fields, host=A)).answer().status in (302, 401)
    assert not checkpoint.origin.requests
    assert checkpoint.edge.pids() == before


@pytest.mark.parametrize("size", [1, 300, 30000])
def test_a_scope_id_is_no_address(size: int) -> None:
    """A hop's text was copied to a place made for the longest address."""
    assert parse_hop(b"fe80::1%" + b"A" * size) is None


def test_who_reads_nothing_is_not_answered_without_end(checkpoint: Checkpoint) -> None:
    """Answers wait in the worker for a client that only sends; at some point it stops taking requests."""
    asked = request(first="GET /nothing HTTP/1.1", host="nobody.sekisho.localhost") * 200
    with checkpoint.client() as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.sock.settimeout(1.0)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += c.sock.send(asked)
        assert sent < 32 << 20, "the worker went on reading"
        # and it goes on where it stopped once somebody reads
        c.timeout = 5.0
        for _ in range(50):
            assert c.answer().status == 403


def test_pipelined_answers_stay_in_order_when_the_reader_is_slow(checkpoint: Checkpoint) -> None:
    with checkpoint.client() as c:
        c.send(b"".join(request(first=f"GET /{n} HTTP/1.1", host=OPEN) for n in range(300)))
        try:
            for _ in range(300):
                assert c.answer(timeout=10).status == 200
        except Silence as silence:
            raise AssertionError("an answer never came") from silence
    paths = [seen.line.split(" ")[1] for seen in checkpoint.origin.wait(300, timeout=10)]
    assert paths == [f"/{n}" for n in range(300)]
