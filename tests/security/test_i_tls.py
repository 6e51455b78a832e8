"""Section I through a real edge: which name the handshake is for, and which request may follow it
(I01 I02 I03 I04 I07 I08 I09)."""

import socket
import ssl
import subprocess
import time

import pytest

from tests.kit.raw import Raw
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, A, B, request


def test_I01_name_of_the_handshake_and_of_the_request_differ(checkpoint: Checkpoint) -> None:
    cookie = checkpoint.cookie(B)
    checkpoint.clear()
    with checkpoint.client(tls=True, name=A) as c:
        answer = c.send(request(f"Cookie: {cookie}", host=B)).answer()
        assert answer.status == 421
    with checkpoint.client(tls=True, name=OPEN) as c:
        assert c.send(request(host=OPEN)).answer().status == 200
        assert c.send(request(host=A)).answer().status == 421, "the second request of a good connection"
    assert len(checkpoint.origin.requests) == 1


def test_I02_a_session_resumes_for_its_own_name_only(checkpoint: Checkpoint) -> None:
    context = ssl.create_default_context(cadata=checkpoint.authority.pem().decode())
    with Raw(("127.0.0.1", checkpoint.tls_port), tls=context, server_name=OPEN) as c:
        assert c.send(request(host=OPEN)).answer().status == 200
        assert isinstance(c.sock, ssl.SSLSocket)
        session = c.sock.session
    raw = socket.create_connection(("127.0.0.1", checkpoint.tls_port), timeout=5)
    with context.wrap_socket(raw, server_hostname=A, session=session) as other:
        other.sendall(request(host=OPEN))
        assert other.recv(65536).startswith(b"HTTP/1.1 421"), "resumed or not, this connection is for app-a"


@pytest.mark.parametrize("size", [1, 7])
def test_I03_a_client_hello_in_pieces(checkpoint: Checkpoint, size: int) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = checkpoint.tls.wrap_bio(incoming, outgoing, server_hostname=OPEN)
    with socket.create_connection(("127.0.0.1", checkpoint.tls_port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                engine.do_handshake()
                break
            except ssl.SSLWantReadError:
                flight = outgoing.read()
                for at in range(0, len(flight), size):
                    sock.sendall(flight[at : at + size])
                incoming.write(sock.recv(65536))
        engine.write(request(host=OPEN))
        sock.sendall(outgoing.read())
        while True:
            try:
                assert engine.read(65536).startswith(b"HTTP/1.1 200")
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))


@pytest.mark.parametrize("name", [None, "stranger.example.org", "a.b.sekisho.localhost"])
def test_I04_no_name_or_a_stranger_gets_no_certificate_of_ours(checkpoint: Checkpoint, name: str | None) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", checkpoint.tls_port), timeout=5) as sock, pytest.raises(
        (ssl.SSLError, ConnectionError)
    ):
        context.wrap_socket(sock, server_hostname=name)


def test_I04_case_of_the_name_is_folded(checkpoint: Checkpoint) -> None:
    with checkpoint.client(tls=True, name=OPEN.upper()) as c:
        assert c.send(request(host=OPEN)).answer().status == 200


def test_I07_tunnel_name_without_a_certificate_ends_before_any_byte(checkpoint: Checkpoint) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["sekisho-link/1"])
    with socket.create_connection(("127.0.0.1", checkpoint.tls_port), timeout=5) as sock:
        try:
            with context.wrap_socket(sock, server_hostname="tunnel.login.sekisho.localhost") as link:
                link.sendall(b"\0" * 12)
                assert link.recv(100) == b""
        except (ssl.SSLError, ConnectionError):
            pass
    assert not checkpoint.origin.requests


def test_I08_no_early_data_is_offered(checkpoint: Checkpoint) -> None:
    """Tickets that allow 0-RTT say so in their extension; OpenSSL's client shows it as Max Early Data."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{checkpoint.tls_port}", "-servername", OPEN, "-tls1_3", "-ign_eof"],
        input=request("Connection: close", host=OPEN), capture_output=True, timeout=10)
    text = done.stdout.decode("latin-1")
    assert "Max Early Data: 0" in text and "Max Early Data: 1" not in text


def test_I09_plain_http_on_the_tls_port_gets_no_secret_and_ends(checkpoint: Checkpoint) -> None:
    with Raw(("127.0.0.1", checkpoint.tls_port)) as c:
        c.send(request(host=OPEN))
        deadline = time.monotonic() + 5
        rest = c.closed(5.0)
    assert rest is not None and time.monotonic() < deadline
    assert rest.startswith(b"HTTP/1.1 400 ") and rest.endswith(b"https://\n")
    assert int(rest.split(b"Content-Length: ")[1].split(b"\r\n")[0]) == len(rest.split(b"\r\n\r\n")[1])
    assert not checkpoint.origin.requests
