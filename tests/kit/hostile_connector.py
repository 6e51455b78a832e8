"""A connector that says what it likes: real TLS and a real registration, then raw yamux frames."""

import asyncio
import contextlib
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgpack

from edge.identity import authority
from edge.wire import messages as wire
from edge.wire.framing import pack, unpack
from tests.kit.tunnel_edge import NAME, TunnelEdge

DATA, WINDOW, PING, GOAWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8
_HEADER = struct.Struct(">BBHII")


def frame(kind: int, flags: int, stream: int, body: bytes = b"", length: int = 0) -> bytes:
    """Return one yamux frame."""
    return _HEADER.pack(0, kind, flags, stream, len(body) or length) + body


class Hostile:
    """The connector's end of one link, without any of our code but the messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.headers: list[dict[str, Any]] = []  # of streams that the edge opened
        self.streams: dict[int, bytes] = {}
        self.messages: list[wire.Message | None] = []
        self.refusal: wire.Refused | None = None
        self.lost = False
        self.answers = b""  # to each stream that the edge opens, as soon as it does
        self.pongs = 0
        self.resets: set[int] = set()
        self._control = b""
        self._reads = asyncio.Event()
        self._reads.set()

    def raw(self, data: bytes) -> "Hostile":
        """Write bytes as they are."""
        self.writer.write(data)
        return self

    def say(self, message: wire.Message, flags: int = 0) -> "Hostile":
        """Send a control message on stream 1."""
        return self.raw(frame(DATA, flags, 1, pack(message)))

    def stop_reading(self) -> None:
        """Leave what comes in the socket, for ever."""
        self._reads.clear()

    async def listen(self) -> None:
        """Take frames until the link is gone."""
        try:
            while True:
                await self._reads.wait()
                kind, flags, stream, length = _HEADER.unpack(await self.reader.readexactly(12))[1:]
                if kind == PING and flags & SYN:
                    self.raw(frame(PING, ACK, 0, length=length))
                if kind == PING and flags & ACK:
                    self.pongs += 1
                if flags & RST:
                    self.resets.add(stream)
                if flags & SYN and stream and self.answers:
                    self.raw(frame(DATA, ACK, stream, self.answers))
                if kind == DATA:
                    self._data(stream, await self.reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            self.lost = True

    def _data(self, stream: int, body: bytes) -> None:
        if stream != 1:
            self.streams[stream] = held = self.streams.get(stream, b"") + body
            if len(held) >= 2 and len(held) >= 2 + int.from_bytes(held[:2], "big"):
                size = int.from_bytes(held[:2], "big")
                self.headers.append(msgpack.unpackb(held[2 : 2 + size]))
            return
        for message in self._said(body):
            self.messages.append(message)
            if isinstance(message, wire.Refused):
                self.refusal = message
            if isinstance(message, wire.Accepted):
                self.say(wire.Table(1, ({"index": 0, "service": "http://127.0.0.1:1"},)))

    def _said(self, body: bytes) -> Iterator[wire.Message | None]:
        """Yield the control messages that are whole with these bytes."""
        self._control += body
        while len(self._control) >= 4:
            size = int.from_bytes(self._control[:4], "big")
            if len(self._control) < 4 + size:
                return
            message = unpack(self._control[4 : 4 + size])
            self._control = self._control[4 + size :]
            yield message


@contextlib.asynccontextmanager
async def hostile(
    edge: TunnelEdge,
    tunnel: str,
    *,
    register_as: str = "",
    with_credential: bool = False,
    identity: tuple[bytes, bytes] | None = None,
    register: bool = True,
) -> AsyncIterator[Hostile]:
    """Dial the edge with a link certificate of `tunnel` (or something else) and register."""
    made = edge.credential(tunnel)
    if with_credential:
        identity = (made.certificate.encode(), made.key.encode())
    if identity is None:
        key = authority.new_key()
        certificate = authority.issue_link(
            edge.ca,
            request=authority.new_request(key),
            tunnel=tunnel,
            credential=made.credential,
            hostnames=(),
            now=authority.utc_now(),
        )
        identity = (certificate, key)
    context = ssl.create_default_context(cadata=edge.ca.certificate.decode())
    context.set_alpn_protocols(["sekisho-link/1"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.write_bytes(identity[0] + identity[1])
        context.load_cert_chain(path)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", edge.port, ssl=context, server_hostname=NAME
    )
    liar = Hostile(reader, writer)
    listening = asyncio.ensure_future(liar.listen())
    if register:
        liar.say(wire.Register((1,), register_as or tunnel, "f" * 32), SYN)
    try:
        yield liar
    finally:
        listening.cancel()
        writer.transport.abort()
