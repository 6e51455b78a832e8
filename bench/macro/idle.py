"""Memory of an idle keep-alive connection over TLS, beside nginx's."""

import socket
import ssl
import time

from bench.figure import Figure
from bench.macro.cast import cast
from bench.macro.pinned import resident


def opened(port: int, count: int, head: bytes) -> list[ssl.SSLSocket]:
    """Open TLS connections that have carried one request each."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sockets = []
    for _ in range(count):
        raw = socket.create_connection(("127.0.0.1", port), 5)
        one = context.wrap_socket(raw, server_hostname="direct.sekisho.localhost")
        one.sendall(head)
        if not one.recv(65536).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"port {port}: not 200")
        sockets.append(one)
    return sockets


def idle(quick: bool) -> Figure:
    figure = Figure("idle", "kB", "private memory per idle TLS connection over nginx's")
    count = 500 if quick else 900   # the default limit of one address is 1,000 a worker
    with cast() as c:
        fields = "".join(f"{k}: {v}\r\n" for k, v in c.headers().items())

        def grown(pids: list[int], port: int, path: str) -> float:
            head = f"GET /{path} HTTP/1.1\r\n{fields}\r\n".encode()
            for s in opened(port, 50, head):     # what the first connections make stays
                s.close()
            time.sleep(1)
            before = resident(pids)
            sockets = opened(port, count, head)
            time.sleep(2)
            after = resident(pids)
            for s in sockets:
                s.close()
            time.sleep(1)
            return max((after - before) / count, 0.01)

        figure.interleave(1 if quick else 3,
                          lambda: grown(c.stage.workers(), c.stage.tunnel_port, "named"),
                          lambda: grown(c.peer.workers(), c.peer_tls, "small"))
    return figure
