"""A request and its answer through our TLS engine, beside Python's ssl over memory BIOs."""

import contextlib
import ssl
import tempfile
import time

from _fastpath.contexts import TicketKeys, TlsClientContext, TlsContexts
from _fastpath.tls import TlsEnd
from bench.figure import Figure
from tests.kit.certificates import Authority
from tests.kit.tls_peer import PythonClient, pump, python_context

REQUEST, ANSWER = b"r" * 1000, b"a" * 300


def tls(quick: bool = False) -> Figure:
    """us of CPU per request, 1,000 bytes decrypted and 300 encrypted; theirs as uvloop does it."""
    times = 2_000 if quick else 20_000
    authority = Authority("bench CA")
    leaf = authority.leaf("wiki.example.com")
    contexts = TlsContexts(TicketKeys([bytes(80)]))
    contexts.add(["wiki.example.com"], leaf.certificate, leaf.key)

    def ours() -> float:
        client = TlsEnd.client(TlsClientContext(trust=authority.pem), "wiki.example.com")
        server = TlsEnd.server(contexts)
        pump(client, server)
        wires = []
        for _ in range(times):
            client.write(REQUEST)
            wires.append(client.take())
        begun = time.process_time()
        assert server.spin(wires, ANSWER) == times * len(REQUEST)
        return (time.process_time() - begun) / times * 1e6

    def theirs() -> float:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(leaf.certificate + leaf.key)
            file.flush()
            context.load_cert_chain(file.name)
        inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(inbound, outbound, server_side=True)
        client = PythonClient(python_context(authority.pem), "wiki.example.com")
        for _ in range(4):
            for end in (client.ssl, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
            inbound.write(client.outbound.read())
            client.inbound.write(outbound.read())
        wires = []
        for _ in range(times):
            client.ssl.write(REQUEST)
            wires.append(client.outbound.read())
        begun = time.process_time()
        for wire in wires:
            inbound.write(wire)
            server.read(2048)
            server.write(ANSWER)
            outbound.read()
        return (time.process_time() - begun) / times * 1e6

    figure = Figure("tls", "us CPU", "one request and answer through tls.pyx over Python's ssl")
    return figure.interleave(3 if quick else 9, ours, theirs)
