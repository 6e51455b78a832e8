"""TLS of a whole edge with two workers: HSTS, certificates by name, renewal without a drop, tickets (issue 3 §4)."""

import functools
import socket
import ssl
import time

from cryptography import x509

from tests.kit.edge_process import wait_until
from tests.kit.origin import Seen
from tests.security.checkpoint import Twins
from tests.security.rows import OPEN, A, B, request

HSTS = "max-age=31536000"


def shown(twins: Twins, name: str) -> x509.Certificate:
    """Return the certificate that a new connection for this name gets."""
    with twins.client(name=name) as c:
        assert isinstance(c.sock, ssl.SSLSocket)
        raw = c.sock.getpeercert(True)
    assert raw is not None
    return x509.load_der_x509_certificate(raw)


def test_hsts_stands_on_every_answer_once(twins: Twins) -> None:
    """On the origin's answer (whatever the origin says), the redirect to sign-in, its page, and a refusal."""
    twins.origin.answer = (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                           b"Strict-Transport-Security: max-age=0\r\n\r\n")
    for host, path, status in ((OPEN, "/", 200), (A, "/", 302), (A, "/cdn-cgi/access/certs", 200),
                               ("office.sekisho.localhost", "/", 403), (OPEN, "/a%2fb", 400)):
        with twins.client(name=host) as c:
            answer = c.send(request(first=f"GET {path} HTTP/1.1", host=host)).answer()
        assert answer.status == status
        assert answer.all("strict-transport-security") == [HSTS], (host, path)


def test_certificates_by_name_exact_before_wildcard(twins: Twins) -> None:
    edge, own = shown(twins, OPEN), shown(twins, B)
    assert shown(twins, A) == edge != own
    assert own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName) == [B]
    with twins.client(name=B) as c:
        assert c.send(request(host=B)).answer().status == 302
        assert c.send(request(host=A)).answer().status == 421, "its connection is for that name only"


def slow(seen: Seen, sock: socket.socket) -> bytes | None:
    """Forty pieces of an answer over two seconds."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    for _ in range(40):
        sock.sendall(b"x" * 100)
        time.sleep(0.05)
    return None


def test_a_renewed_certificate_without_a_drop(twins: Twins) -> None:
    """The files are replaced and the edge reloads: new connections get the new one in every worker; an open
    connection stays, and what is under way arrives whole. A damaged renewal changes nothing."""
    old = shown(twins, OPEN)
    certificate, key = twins.folder / "edge.pem", twins.folder / "edge.key"
    kept = twins.spread(lambda: twins.client(name=OPEN), 8)
    for one in kept:
        assert one.send(request()).answer().status == 200
    twins.origin.answer = slow
    kept[0].send(request())
    twins.origin.wait(9)

    good = key.read_bytes()
    key.write_text("damaged")
    try:
        done = twins.edge.command("edge", "reload", "-c", str(twins.edge.config), check=False)
        assert done.returncode == 2 and "edge.key" in done.stderr
        assert shown(twins, OPEN) == old
    finally:
        key.write_bytes(good)

    twins.authority.issue(twins.certificates["edge"], certificate, key)
    twins.edge.reload()
    wait_until(lambda: shown(twins, OPEN) != old, 5)
    wait_until(lambda: {shown(twins, OPEN) for _ in range(12)}.isdisjoint({old}), 5)
    assert shown(twins, B) != shown(twins, OPEN)
    assert kept[0].answer(timeout=5).body == b"x" * 4000
    twins.origin.clear()
    for one in kept:
        assert one.send(request()).answer().status == 200, "an old connection was dropped"
        one.sock.close()


def test_a_ticket_of_one_worker_resumes_in_the_other(twins: Twins) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cadata=twins.authority.pem().decode())
        context.minimum_version = context.maximum_version = version

        def dial(session: ssl.SSLSession | None = None, context: ssl.SSLContext = context) -> ssl.SSLSocket:
            raw = socket.create_connection(("127.0.0.1", twins.tls_port), timeout=5)
            made = context.wrap_socket(raw, server_hostname=OPEN, session=session)
            made.sendall(request())
            assert made.recv(65536).startswith(b"HTTP/1.1 200")
            return made

        with dial() as first:
            session = first.session
            assert not first.session_reused and session is not None and session.has_ticket
        many = twins.spread(functools.partial(dial, session), 12)
        assert all(one.session_reused for one in many), version
        for one in many:
            one.close()
