"""Each named timeout and limit of the configuration, set low on a real edge: what docs/configuration.md says
follows does follow, in time, and the log says why (issue 3 §4; F rows of one connection)."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from edge.demo.processes import crowding
from tests.kit.origin import Seen
from tests.kit.raw import Raw
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, post, request
from tests.security.test_e_upgrades import WEBSOCKET, own, switch

LONG = 1.0     # seconds: every timeout here
SLOW = "slow.sekisho.localhost"
SILENT = "silent.sekisho.localhost"


class Low(Checkpoint):
    settings = (
        "timeouts: {handshake: 1s, head: 1s, body_idle: 1s, write: 1s, keep_alive: 1s, upstream_connect: 1s,\n"
        "  upstream_head: 1s, upgrade_idle: 1s}\n"
        "limits: {head: 2KiB, fields: 20, target: 200, connections_per_address: 6}"
    )


@pytest.fixture(scope="module")
def _low(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Low]:
    """The low edge, with a route to a server that accepts and says nothing where TLS is expected."""
    one = Low(tmp_path_factory.mktemp("low"))
    silent = socket.create_server(("127.0.0.1", 0))
    config = one.edge.config.read_text().replace("routes:\n", "routes:\n"
        f"  - {{hostname: {SILENT}, service: \"https://127.0.0.1:{silent.getsockname()[1]}\"}}\n")
    config += (f"  - name: Silent\n    domain: {SILENT}\n"
               "    policies: [{name: All, decision: bypass, include: [everyone]}]\n")
    one.edge.reload(config)
    yield one
    silent.close()
    one.close()


@pytest.fixture
def low(_low: Low) -> Low:
    _low.clear()
    return _low


@contextlib.contextmanager
def takes(least: float = LONG) -> Iterator[None]:
    """The block ends when the timeout says, not before and not much later."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert least * 0.9 < took < least + 1.2 * crowding(), f"{took:.2f} s"


def told(low: Low, c: Raw, status: int, reason: str) -> None:
    """The next answer is this refusal, closes, and stands in the log under its reason."""
    answer = c.answer()
    assert answer.status == status and reason.encode() in answer.body
    line = low.line(answer.get("cf-ray") or "")
    assert (line["status"], line["reason"]) == (status, reason)


def test_handshake(low: Low) -> None:
    for first in (b"", b"\x16\x03\x01\x02\x00\x01"):      # nothing; the beginning of a ClientHello
        with Raw(("127.0.0.1", low.tls_port)) as c, takes():
            assert c.send(first).closed(5) in (b"", None) and c.ended


def test_head_408(low: Low) -> None:
    with low.client() as c, takes():
        c.send(b"GET / HTTP/1.1\r\nHost: " + OPEN.encode() + b"\r\nX-Slow: 1\r\n")
        told(low, c, 408, "head-timeout")
    assert not low.origin.requests


def test_head_is_counted_from_its_first_byte_not_from_its_last(low: Low) -> None:
    """A byte now and then buys no time (slowloris)."""
    with low.client() as c, takes():
        c.send(b"GET / HTTP/1.1\r\n")
        for _ in range(30):
            time.sleep(0.2)
            with contextlib.suppress(OSError):
                c.sock.sendall(b"X")
            c.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                if c.sock.recv(1, socket.MSG_PEEK):
                    break
            c.sock.setblocking(True)
        c.sock.setblocking(True)
        assert c.answer().status == 408


def test_body_idle_408(low: Low) -> None:
    with low.client() as c, takes():
        c.send(post("Content-Length: 10", body=b"half"))
        told(low, c, 408, "body-timeout")
    with low.client() as c:                          # slow but steady is well: the clock is between two bytes
        c.send(post("Content-Length: 8"), *[b"x"] * 8, pause=0.25)
        assert c.answer().status == 200


def test_write_closes_a_client_that_takes_nothing(low: Low) -> None:
    def flood(seen: Seen, sock: socket.socket) -> bytes | None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            sock.sendall(bytes(65536))

    low.origin.answer = flood
    since = len(low.log())
    with low.client() as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.send(request(first="GET /flood HTTP/1.1"))
        deadline = time.monotonic() + 5 * crowding()
        while not (found := [line for line in low.log(since) if line.get("path") == "/flood"]):
            assert time.monotonic() < deadline, "a client that reads nothing holds its connection"
            time.sleep(0.1)
    assert found[0]["reason"] == "client-stalled" and found[0]["aborted"] is True
    assert int(str(found[0]["total_us"])) >= 900_000


def test_keep_alive_closes_without_a_word(low: Low) -> None:
    with low.client() as c:
        assert c.send(request()).answer().status == 200
        with takes():
            assert c.closed(5) == b""


def test_upstream_connect_504_tls_included(low: Low) -> None:
    with low.client() as c, takes():
        c.send(request("Accept: application/json", host=SILENT))
        told(low, c, 504, "origin-connect-timeout")


def test_upstream_head_504(low: Low) -> None:
    def silent(seen: Seen, sock: socket.socket) -> bytes | None:
        time.sleep(4)
        return None

    low.origin.answer = silent
    with low.client() as c, takes():
        c.send(post("Content-Length: 2", "Accept: application/json", body=b"ab"))
        told(low, c, 504, "origin-head-timeout")
    assert len(low.origin.requests) == 1, "a POST that the origin has is not sent again"


def test_upgrade_idle(low: Low) -> None:
    low.origin.answer = switch
    with low.client() as c:
        c.send(request(own(low, OPEN), *WEBSOCKET))
        assert c.answer().status == 101
        for _ in range(3):                          # a byte either way starts the clock anew
            time.sleep(0.6)
            c.send(b"\x82\x01x").exactly(3, time.monotonic() + 2)
        with takes():
            assert c.closed(5) is not None


@pytest.mark.parametrize(("send", "status", "reason"), [
    (request("X: " + "x" * 2048), 431, "head-too-large"),
    (request(*[f"X-{n}: y" for n in range(20)]), 431, "fields-too-many"),
    (request(first=f"GET /{'a' * 200} HTTP/1.1"), 414, "target-too-long"),
], ids=["head", "fields", "target"])
def test_lowered_limits(low: Low, send: bytes, status: int, reason: str) -> None:
    with low.client() as c:
        told(low, c.send(send), status, reason)
    assert not low.origin.requests


def test_just_below_the_lowered_limits(low: Low) -> None:
    with low.client() as c:
        assert c.send(request("X: " + "x" * 1900)).answer().status == 200
        assert c.send(request(*[f"X-{n}: y" for n in range(19)])).answer().status == 200
        assert c.send(request(first=f"GET /{'a' * 199} HTTP/1.1")).answer().status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_connections_per_address(low: Low, tls: bool) -> None:
    """The seventh connection of an address is closed at once, whichever listener; one that ends makes room."""
    time.sleep(0.2)                                  # those of the test before are gone
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(low.client(tls=tls)) for _ in range(6)]
        assert kept[0].send(request()).answer().status == 200
        began = time.monotonic()
        try:
            with low.client(tls=tls) as more:
                assert more.closed(3) == b"" and time.monotonic() - began < 0.8 * crowding()
        except (ConnectionError, ssl.SSLError):
            pass                                     # closed before or within the handshake: as good
        assert kept[1].send(request()).answer().status == 200, "those that are open stay"
        kept[5].sock.close()
        time.sleep(0.1)
        with low.client(tls=tls) as again:
            assert again.send(request()).answer().status == 200
