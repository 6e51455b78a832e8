"""Peers for tls.pyx: both ends joined in memory, Python's ssl, and a socket for real programs."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from _fastpath.contexts import TlsContexts
from _fastpath.tls import TlsEnd

Mangle = Callable[[bytes], bytes]


def drain(end: TlsEnd) -> tuple[int, bytes]:
    """(last TlsRead, everything that could be read)."""
    out = bytearray()
    while True:
        rc, data = end.read()
        out += data
        if rc != 1:
            return rc, bytes(out)


def pump(client: TlsEnd, server: TlsEnd, step: int = 1 << 20) -> tuple[int, int]:
    """Shake hands, `step` bytes at a time: the last results of both sides, who hear every alert."""
    done = (0, 0)
    for _ in range(40):
        done = client.handshake(), server.handshake()
        there, back = client.take(), server.take()
        if not there and not back:
            break
        for at in range(0, len(there), step):
            server.feed(there[at : at + step])
            server.handshake()
        for at in range(0, len(back), step):
            client.feed(back[at : at + step])
            client.handshake()
    return done


class PythonClient:
    """Python's ssl over memory BIOs: another libssl client, with knobs that ours hasn't."""

    def __init__(
        self, context: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None = None
    ) -> None:
        self.inbound, self.outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(
            self.inbound, self.outbound, server_hostname=name, session=session
        )
        self.error: ssl.SSLError | None = None

    def shake(self, server: TlsEnd) -> bool:
        """True when both sides are through; else `error` is what the client saw."""
        for _ in range(10):
            try:
                self.ssl.do_handshake()
                through = True
            except ssl.SSLWantReadError:
                through = False
            except ssl.SSLError as error:
                self.error = error
                server.feed(self.outbound.read())
                server.handshake()
                return False
            server.feed(self.outbound.read())
            got = server.handshake()
            self.inbound.write(server.take())
            if through and got != 0:
                break
        return self.read(server) is not None if server.established else False

    def read(self, server: TlsEnd) -> bytes | None:
        """What the server has written; it also takes tickets in. None after an alert."""
        self.inbound.write(server.take())
        try:
            return self.ssl.read()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            self.error = error
            return None


def python_context(anchors: bytes, *, check: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=anchors.decode())
    if not check:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextmanager
def listening(
    contexts: TlsContexts, mangle: Mangle | None = None
) -> Iterator[tuple[int, list[TlsEnd]]]:
    """(port, ends served) of an echo over TLS; mangle sees each piece that comes in."""
    ends: list[TlsEnd] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    ends.append(TlsEnd.server(contexts))
                    echo(peer, ends[-1], mangle)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], ends
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def echo(peer: socket.socket, end: TlsEnd, mangle: Mangle | None) -> None:
    peer.settimeout(10)
    while True:
        try:
            data = peer.recv(65536)
        except OSError:
            return
        if not data:
            return
        end.feed(mangle(data) if mangle else data)
        rc = end.handshake()
        if rc == 1:
            state, got = drain(end)
            if state == 0 and got:
                end.write(got)
        out = end.take()
        if out:
            peer.sendall(out)
        if rc < 0:
            return
