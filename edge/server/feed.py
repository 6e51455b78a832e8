"""The feed between control and its workers: frames, the control end, the worker end.

A frame is a 4-byte big-endian length and a msgpack map; key `t` is its type. A type that an end
does not know is ignored, so that processes of neighbouring releases understand each other.

control → worker   hello{instance} snapshot{version,file,length,sha256}
                   revocations{seq,entries,full} beat{wall} tickets{keys} certificates{}
                   answer{id,facts|null}
worker → control   hello{slot,pid} ack{version,error?} counters{counters} events{events}
                   question{id,ask} links{links}

Every frame from control carries `n`, counting up by one on each connection: a gap can't happen on a
healthy stream, and a worker that sees one drops the connection and is told everything anew."""

import asyncio
import logging
import os
import random
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import msgpack

Message = dict[str, Any]

MAX_FRAME = 32 << 20  # bytes; over it the connection is dropped
MAX_WAITING = 64 << 20  # bytes left unread by the other end; over it the connection is dropped
MAX_QUEUED_EVENTS = 10_000  # events kept while control is away; the oldest go first, counted
RETRY_MAX = 1.0  # seconds between two attempts of a worker to reach control
_LENGTH = struct.Struct(">I")
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid

log = logging.getLogger("sekisho.feed")


class FeedError(Exception):
    """The other end sent what no release of ours sends."""


def pack(message: Mapping[str, Any]) -> bytes:
    """Return one frame."""
    body: bytes = msgpack.packb(message)
    if len(body) > MAX_FRAME:
        raise FeedError(f"frame {message.get('t')!r} of {len(body)} bytes is over {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into messages; no I/O."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are complete; raise FeedError on what is not a frame."""
        self._held += data
        messages = []
        at = 0
        while len(self._held) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held, at)
            if length > MAX_FRAME:
                raise FeedError(f"frame of {length} bytes is over {MAX_FRAME}")
            end = at + _LENGTH.size + length
            if len(self._held) < end:
                break
            try:
                message = msgpack.unpackb(
                    memoryview(self._held)[at + _LENGTH.size : end], strict_map_key=False
                )
            except Exception as error:
                raise FeedError(f"frame is not msgpack: {error}") from None
            if not isinstance(message, dict) or not isinstance(message.get("t"), str):
                raise FeedError("frame is not a map with a type")
            messages.append(message)
            at = end
        del self._held[:at]
        return messages


class FeedEvents(Protocol):
    """What control's feed server reports; every call is synchronous and quick."""

    def greeting(self) -> list[Message]:
        """Return what a worker that has just come must know, in order."""

    def on_message(self, peer: "Peer", message: Message) -> None: ...

    def on_gone(self, peer: "Peer") -> None: ...


class Peer(asyncio.Protocol):
    """Control's end of one worker's feed."""

    def __init__(self, server: "FeedServer") -> None:
        self._server = server
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._sent = 0
        self.slot = -1  # until its hello
        self.pid = 0
        self.version = 0  # of the snapshot that it acknowledged last
        self.refused = ""  # why it refused the newest one, if it did
        self.counters: Message = {}
        self.links: list[Message] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pid, uid = peer_of(transport.get_extra_info("socket"))
        if uid not in (0, os.geteuid()) or not self._server.admits(pid):
            log.warning("feed: refused a stranger, pid %d uid %d", pid, uid)
            cast(asyncio.Transport, transport).abort()
            return
        self.pid = pid
        # uvloop's transports don't inherit from asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:  # refused
            return
        try:
            for message in self._frames.feed(data):
                self._take(message)
        except Exception:
            # uvloop would only log it and go on with half a message taken
            log.exception("feed: worker pid %d dropped", self.pid)
            self.drop()

    def _take(self, message: Message) -> None:
        if message["t"] == "hello" and self.slot < 0:
            self.slot = int(message["slot"])
            self.send({"t": "hello", "instance": self._server.instance})
            for greeting in self._server.events.greeting():
                self.send(greeting)
            self._server.joined(self)
            return
        if self.slot < 0:
            raise FeedError("first frame is not hello")
        if message["t"] == "ack":
            self.refused = str(message.get("error") or "")
            if not self.refused:
                self.version = int(message["version"])
        elif message["t"] == "counters":
            self.counters = message.get("counters") or {}
        elif message["t"] == "links":
            self.links = message.get("links") or []
        self._server.events.on_message(self, message)

    def send(self, message: Message) -> None:
        """Queue one message; a worker that reads nothing for too long is dropped."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._sent += 1
        transport.write(pack({**message, "n": self._sent}))
        if transport.get_write_buffer_size() > MAX_WAITING:
            log.error("feed: worker %d does not read; dropped", self.slot)
            transport.abort()

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.left(self)


class FeedServer:
    """Control's end: accepts workers on the socket that the master keeps, and tells all of them."""

    def __init__(
        self, events: FeedEvents, *, instance: str, admits: Callable[[int], bool]
    ) -> None:
        self.events = events
        self.instance = instance
        self.admits = admits
        self.peers: dict[int, Peer] = {}  # by slot
        self._all: set[Peer] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        def accept() -> Peer:
            peer = Peer(self)
            self._all.add(peer)
            return peer

        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(accept, sock=sock)

    def joined(self, peer: Peer) -> None:
        old = self.peers.get(peer.slot)
        self.peers[peer.slot] = peer
        if old is not None:
            old.drop()

    def left(self, peer: Peer) -> None:
        self._all.discard(peer)
        if self.peers.get(peer.slot) is peer:
            del self.peers[peer.slot]
            self.events.on_gone(peer)

    def broadcast(self, message: Message) -> None:
        for peer in list(self.peers.values()):
            peer.send(message)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for peer in list(self._all):
            peer.drop()


class FeedClient(asyncio.Protocol):
    """A worker's end: connects, and connects again within a second whenever it was cut.

    `on_message` is called with every message from control; what it raises is logged and drops the
    connection, so that a half-applied state is sent anew. Events queue while control is away."""

    def __init__(
        self, path: Path, *, slot: int, on_message: Callable[[Message], None],
        on_state: Callable[[bool], None] = lambda connected: None,
    ) -> None:
        self.path = path
        self.slot = slot
        self.lost_events = 0  # dropped because control was away for too long
        self._on_message = on_message
        self._on_state = on_state
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._received = 0
        self._events: list[Any] = []
        self._cut = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        loop = asyncio.get_running_loop()
        wait = 0.05
        while True:
            try:
                await loop.create_unix_connection(lambda: self, str(self.path))
            except OSError:
                # Random, so that workers cut at once don't come back at once
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311
                wait = min(wait * 2, RETRY_MAX)
                continue
            wait = 0.05
            await self._cut.wait()
            # A stranger at the door is cut at once: no tight loop around that
            await asyncio.sleep(0.05)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._frames, self._received = Frames(), 0
        self._cut.clear()
        self.send({"t": "hello", "slot": self.slot, "pid": os.getpid()})
        if self._events:
            events, self._events = self._events, []
            self.send({"t": "events", "events": events})
        self._on_state(True)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._received += 1
                if message.get("n") != self._received:
                    raise FeedError(f"message {message.get('n')} where {self._received} is due")
                self._on_message(message)
        except Exception:
            # Also what on_message raised: uvloop would only log it and go on with half a state
            log.exception("feed: dropped, will be told anew")
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._cut.set()
        self._on_state(False)

    def send(self, message: Message) -> bool:
        """Send, or return False when control is away."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > MAX_WAITING:
            self._transport.abort()  # control reads nothing: the same as away
            return False
        self._transport.write(pack(message))
        return True

    def send_events(self, events: list[Any]) -> None:
        """Send a batch, or keep it (bounded) until control is back."""
        if not events or self.send({"t": "events", "events": events}):
            return
        self._events += events
        over = len(self._events) - MAX_QUEUED_EVENTS
        if over > 0:
            del self._events[:over]
            self.lost_events += over


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Return (pid, uid) of the process at the other end of a Unix socket, as the kernel knows."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _ = _PEER.unpack(raw)
    return pid, uid


def parent_of(pid: int) -> int:
    """Return the parent's pid, or 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # the second field is a name in parentheses that may itself hold spaces and parentheses
    return int(stat.rpartition(b")")[2].split()[1])
