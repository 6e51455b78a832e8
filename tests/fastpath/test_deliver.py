"""Ends of answers: what a cut connection must never look like (RFC 9112 9.8, RFC 8446 6.1)."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.demo.authority import DemoAuthority
from tests.kit.core_thread import CoreThread
from tests.kit.origin import RecordingOrigin, Seen
from tests.kit.policy_cases import application

OPEN = {"decision": "bypass", "include": ["everyone"]}
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n"
BODY = b"all of it"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingOrigin]:
    folder = tmp_path_factory.mktemp("origin")
    DemoAuthority().issue(["origin.example.com"], folder / "pem", folder / "key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem", folder / "key")
    with RecordingOrigin(tls=context) as origin:
        yield origin


@pytest.fixture(scope="module")
def core(secure: RecordingOrigin) -> Iterator[CoreThread]:
    route = {"hostname": "app.example.com", "service": secure.url, "origin_request": {"no_tls_verify": True}}
    with CoreThread(secure, applications=[application([OPEN])], routes=[route]) as one:
        yield one


@pytest.fixture(scope="module")
def plain() -> Iterator[tuple[CoreThread, RecordingOrigin]]:
    with RecordingOrigin() as origin, CoreThread(origin, applications=[application([OPEN])]) as one:
        yield one, origin


def fin(sock: socket.socket) -> None:
    """End TLS as whoever sits on the wire can: a FIN, and no close_notify."""
    with socket.socket(fileno=sock.detach()) as raw:
        raw.shutdown(socket.SHUT_WR)


def notify(sock: socket.socket) -> None:
    assert isinstance(sock, ssl.SSLSocket)
    sock.settimeout(0.2)
    with contextlib.suppress(OSError):
        sock.unwrap()
    sock.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def saying(answer_bytes: bytes, end: Callable[[socket.socket], None]) -> Callable[[Seen, socket.socket], None]:
    def answer(seen: Seen, sock: socket.socket) -> None:
        sock.sendall(answer_bytes)
        end(sock)

    return answer


def test_a_fin_without_close_notify_cuts_an_answer_that_ends_by_closing(core: CoreThread, secure: RecordingOrigin) -> None:
    secure.answer = saying(UNTIL_CLOSE + BODY, fin)
    with core.client() as c:
        c.send(core.request())
        with pytest.raises(EOFError):
            c.answer()


def test_a_close_notify_ends_it_well(core: CoreThread, secure: RecordingOrigin) -> None:
    secure.answer = saying(UNTIL_CLOSE + BODY, notify)
    with core.client() as c:
        answer = c.send(core.request()).answer()
        assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize(
    "answer", [LENGTH + BODY, CHUNKED + BODY + b"\r\n0\r\n\r\n"], ids=["length", "chunked"]
)
def test_what_says_its_own_length_is_whole_without_close_notify(
    core: CoreThread, secure: RecordingOrigin, answer: bytes
) -> None:
    secure.answer = saying(answer, fin)
    with core.client() as c:
        got = c.send(core.request()).answer()
        assert (got.status, got.body) == (200, BODY)
    secure.clear()
    with core.client() as c:
        assert c.send(core.request()).answer().status == 200


def test_a_reset_is_no_end(plain: tuple[CoreThread, RecordingOrigin]) -> None:
    core, origin = plain
    passed_on = threading.Event()  # before that, a reset is a 502

    def answer(seen: Seen, sock: socket.socket) -> None:
        sock.sendall(UNTIL_CLOSE + BODY)
        passed_on.wait(3)
        reset(sock)

    origin.answer = answer
    with core.client() as c:
        c.send(core.request())
        assert c.exactly(12, time.monotonic() + 3) == b"HTTP/1.1 200"
        passed_on.set()
        rest = c.closed(3.0)
        assert rest is not None and not rest.endswith(b"0\r\n\r\n")


def test_a_fin_is_the_end_of_a_plain_one(plain: tuple[CoreThread, RecordingOrigin]) -> None:
    core, origin = plain
    origin.answer = saying(UNTIL_CLOSE + BODY, lambda sock: sock.close())
    with core.client() as c:
        assert c.send(core.request()).answer().body == BODY
