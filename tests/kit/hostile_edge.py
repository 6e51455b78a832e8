"""An edge that says what it likes: real TLS, real enrolment, then raw yamux frames to the connector."""

import asyncio
import contextlib
import ssl
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgpack

from edge.connector.credentials import Credentials
from edge.identity import authority
from edge.wire import messages as wire
from tests.kit.hostile_connector import ACK, DATA, SYN, Hostile, frame
from tests.kit.tunnel_edge import NAME


class Liar(Hostile):
    """The edge's end of one link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.refused: dict[int, str] = {}  # stream -> reason that the connector gave
        self.heard: Callable[[wire.Message], None] = lambda message: None

    def ask(self, stream: int, header: dict[str, object], payload: bytes = b"") -> "Liar":
        """Open a stream as an edge does."""
        packed = msgpack.packb(header)
        body = len(packed).to_bytes(2, "big") + packed + payload
        self.raw(frame(DATA, SYN, stream, body))
        return self

    def _data(self, stream: int, body: bytes) -> None:
        if stream == 1:
            for message in self._said(body):
                if message is not None:
                    self.messages.append(message)
                    self.heard(message)
            return
        self.streams[stream] = held = self.streams.get(stream, b"") + body
        if held[:1] == b"\x01" and len(held) >= 3:
            size = int.from_bytes(held[1:3], "big")
            if len(held) >= 3 + size:
                self.refused[stream] = msgpack.unpackb(held[3 : 3 + size])["reason"]


class HostileEdge:
    """Signs what it is asked to sign and accepts every connector; `then` is called with each link."""

    def __init__(self) -> None:
        self.ca = authority.new_authority("test tunnel CA", authority.utc_now())
        self.tunnel, self.credential = str(uuid.uuid4()), str(uuid.uuid4())
        self.links: list[Liar] = []
        self.certificate: bytes | None = None  # instead of a good one
        self.anchors = b""
        self.then: Callable[[Liar], object] = lambda liar: None
        self.port = 0

    def accepted(self, liar: Liar, message: wire.Message) -> None:
        """Take one message of the connector."""
        if isinstance(message, wire.CertificateRequest):
            made = self.certificate or authority.issue_link(
                self.ca,
                request=message.request,
                tunnel=self.tunnel,
                credential=self.credential,
                hostnames=(),
                now=authority.utc_now(),
            )
            liar.say(wire.Certificate(made, self.anchors), ACK)
        elif isinstance(message, wire.Register):
            self.links.append(liar)
            liar.say(wire.Accepted(1, 0, 1, 0.0, 10.0, "liar"), ACK)
            self.then(liar)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One link, from its handshake on."""
        liar = Liar(reader, writer)
        liar.heard = lambda message: self.accepted(liar, message)
        await liar.listen()
        writer.transport.abort()

    def credentials(self) -> Credentials:
        """What `tunnel create` would have given out."""
        key = authority.new_key()
        certificate = authority.issue_credential(
            self.ca,
            request=authority.new_request(key),
            credential=self.credential,
            hostnames=(),
            now=authority.utc_now(),
        )
        return Credentials(
            self.tunnel,
            "office",
            self.credential,
            (f"127.0.0.1:{self.port}",),
            NAME,
            self.ca.certificate.decode(),
            certificate.decode(),
            key.decode(),
        )


@contextlib.asynccontextmanager
async def hostile_edge() -> AsyncIterator[HostileEdge]:
    """Listen on a free port of loopback until the block ends."""
    edge = HostileEdge()
    key = authority.new_key()
    certificate = authority.issue_edge(edge.ca, key=key, name=NAME, now=authority.utc_now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["sekisho-link/1"])
    context.load_verify_locations(cadata=edge.ca.certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.write_bytes(certificate + key)
        context.load_cert_chain(path)
    server = await asyncio.start_server(edge.serve, "127.0.0.1", 0, ssl=context)
    edge.port = server.sockets[0].getsockname()[1]
    try:
        yield edge
    finally:
        server.close()
        for liar in edge.links:
            liar.writer.transport.abort()
