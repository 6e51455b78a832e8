"""Revocation by token, application, service token and session: refused in every worker within 5 s, and open
event streams, downloads and WebSockets are closed (issue 3 §5; K09, H03)."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.kit.edge_mint import claims_of
from tests.kit.origin import Seen
from tests.kit.raw import Raw
from tests.security.checkpoint import Twins
from tests.security.rows import A, request
from tests.security.test_e_upgrades import WEBSOCKET, switch

ROBOTS = "robots.sekisho.localhost"
LIMIT = 5.0         # seconds, from the revocation's first moment
EACH = 4            # streams of a kind: with fewer, one worker might have none


def endless(seen: Seen, sock: socket.socket) -> bytes | None:
    """An event every 50 ms, a download without end, or an echoing WebSocket; each until it is closed."""
    path = seen.line.split(" ")[1]
    if path == "/socket":
        return switch(seen, sock)
    if path == "/events":
        head, block, pause = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked", b"9\r\ndata: x\n\n\r\n", 0.05
    else:
        head, block, pause = f"Content-Length: {1 << 40}", bytes(16384), 0.002
    sock.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
    while True:
        sock.sendall(block)       # raises OSError once the edge closed its side: the end of this connection
        time.sleep(pause)


class Reader(threading.Thread):
    """Opens one stream, sees bytes of it, and then notes when it ends."""

    def __init__(self, twins: Twins, host: str, fields: list[str], path: str) -> None:
        super().__init__(daemon=True)
        self.flowing, self.ended_at, self.tail = threading.Event(), 0.0, b""
        self.path = path
        self.client: Raw = twins.client(name=host, timeout=10)
        more = [*WEBSOCKET, f"Origin: {twins.url(host, '')}"] if path == "/socket" else []
        self.client.send(request(*fields, *more, first=f"GET {path} HTTP/1.1", host=host))
        self.start()

    def run(self) -> None:
        try:
            head = self.client.until(b"\r\n\r\n", time.monotonic() + 10)
            self.status = int(head.split(b" ")[1])
            if self.path == "/socket":
                self.client.send(b"\x82\x05hello")
                self.client.exactly(7, time.monotonic() + 5)
            else:
                self.client.exactly(10, time.monotonic() + 5)
            self.flowing.set()
            self.client.sock.settimeout(15)
            while data := self.client.sock.recv(65536):
                self.tail = (self.tail + data)[-64:]
        except OSError:
            pass
        self.ended_at = time.monotonic()


def watch(twins: Twins, host: str, fields: list[str]) -> list[Reader]:
    twins.origin.answer = endless
    readers = [Reader(twins, host, fields, path)
               for path in ("/events", "/download", "/socket") for _ in range(EACH)]
    for one in readers:
        assert one.flowing.wait(10), f"{one.path} never flowed"
    assert len({twins.worker_of(one.client) for one in readers}) == 2, "one worker has all of them"
    return readers


def closed_in_time(readers: list[Reader], began: float) -> None:
    for one in readers:
        one.join(max(0.0, began + LIMIT + 1 - time.monotonic()))
        assert not one.is_alive(), f"{one.path} is open {LIMIT + 1} s after the revocation"
        assert one.ended_at - began < LIMIT, f"{one.path} was closed after {one.ended_at - began:.1f} s"
        if one.path == "/events":
            assert not one.tail.endswith(b"0\r\n\r\n"), "a cut stream must not look whole"
        if one.path == "/socket":
            assert b"\x03\xf0session-" in one.tail or b"\x03\xf0service-token-" in one.tail, one.tail


def refused_everywhere(twins: Twins, host: str, fields: list[str], began: float, reasons: set[str]) -> None:
    twins.origin.clear()
    while True:
        answers = twins.both(host, *fields, "Accept: application/json")
        if all(a.status == 401 for a in answers):
            break
        assert time.monotonic() - began < LIMIT, "some worker still lets it in"
    for answer in answers:
        assert any(reason.encode() in answer.body for reason in reasons), answer.body
    twins.origin.clear()
    twins.both(host, *fields)
    assert not twins.origin.requests


@pytest.fixture
def service_token(twins: Twins) -> Iterator[dict[str, str]]:
    made = twins.edge.admin.call("POST", "/service-tokens", {"name": "robot", "duration": 3600})
    yield made


@pytest.mark.parametrize("kind", ["token", "application"])
def test_by_token_and_by_application(twins: Twins, kind: str) -> None:
    fields = [f"Cookie: {twins.fresh(A).cookies(A)}"]
    readers = watch(twins, A, fields)
    claims = claims_of(fields[0].partition("CF_Authorization=")[2].partition(";")[0])
    what = {"token": claims["identity_nonce"], "application": "A"}[kind]
    began = time.monotonic()
    twins.edge.admin.call("POST", "/revoke", {"kind": kind, "id": what})
    closed_in_time(readers, began)
    refused_everywhere(twins, A, fields, began, {"session-revoked", "session-outdated"})
    again = twins.fresh(A).cookies(A)      # the sign-in stands: a new session is made silently
    assert {a.status for a in twins.both(A, f"Cookie: {again}")} == {200}


def test_by_service_token(twins: Twins, service_token: dict[str, str]) -> None:
    fields = [f"CF-Access-Client-Id: {service_token['client_id']}",
              f"CF-Access-Client-Secret: {service_token['client_secret']}"]
    readers = watch(twins, ROBOTS, fields)
    began = time.monotonic()
    twins.edge.admin.call("POST", "/revoke", {"kind": "service_token", "id": service_token["client_id"]})
    closed_in_time(readers, began)
    twins.origin.clear()
    while {a.status for a in twins.both(ROBOTS, *fields)} & {200}:
        assert time.monotonic() - began < LIMIT
    twins.origin.clear()
    assert {a.status for a in twins.both(ROBOTS, *fields)} <= {401, 403}
    assert not twins.origin.requests


def test_by_session_ends_every_application_and_the_sign_in(twins: Twins) -> None:
    """Last: it ends the sign-in that the other tests of this module use."""
    from tests.security.rows import B

    visitor = twins.fresh(A, B)
    at_a, at_b = [f"Cookie: {visitor.cookies(A)}"], [f"Cookie: {visitor.cookies(B)}"]
    readers = watch(twins, A, at_a) + watch(twins, B, at_b)
    sid = claims_of(at_a[0].partition("CF_Authorization=")[2].partition(";")[0])["sekisho"]["sid"]
    began = time.monotonic()
    twins.edge.admin.call("POST", "/revoke", {"kind": "session", "id": sid})
    twins.forget_visitor()
    closed_in_time(readers, began)
    refused_everywhere(twins, A, at_a, began, {"session-revoked"})
    refused_everywhere(twins, B, at_b, began, {"session-revoked"})
