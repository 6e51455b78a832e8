"""A mux end of ours on TCP, for programs that we didn't write: streams to read and write."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable

from _fastpath.errors import WireError
from _fastpath.session import Session


class Lost(Exception):
    """The stream was reset, or its session is gone; the message is the reason."""


class Channel:
    """One stream."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire, self.number = wire, number
        self.pieces: list[bytes] = []
        self.ended = False
        self.why: str | None = None
        self.changed = asyncio.Event()

    async def write(self, data: bytes) -> None:
        if self.why:
            raise Lost(self.why)
        self.wire.session.write(self.number, data)
        self.wire.flush()
        while self.why is None and self.wire.session.full(self.number):
            await self.turn()
        if self.why:
            raise Lost(self.why)

    async def turn(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    def end(self) -> None:
        self.wire.session.end(self.number)
        self.wire.flush()

    def reset(self) -> None:
        self.wire.session.reset(self.number)
        self.wire.channels.pop(self.number)
        self.why = "ours"
        self.wire.flush()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end."""
        while not self.pieces:
            if self.ended:
                return b""
            if self.why:
                raise Lost(self.why)
            await self.turn()
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self.read()
            if not piece:
                raise Lost(f"ended after {len(data)} of {size} bytes")
            data += piece
        if len(data) > size:
            self.pieces.insert(0, data[size:])
        return data[:size]

    async def all(self) -> bytes:
        data = []
        while piece := await self.read():
            data.append(piece)
        return b"".join(data)


class Wire(asyncio.Protocol):
    """The session and its connection. `serve` gets each stream that the other side opens."""

    def __init__(self, client: bool, serve: Callable[[Channel], Awaitable[None]]) -> None:
        self.client, self.serve = client, serve
        self.channels: dict[int, Channel] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.goaway: int | None = None
        self.error: WireError | None = None
        self.resets: list[tuple[int, str]] = []
        self.gone = asyncio.Event()
        self.ready = asyncio.Event()
        self.paused = False

    def now(self) -> int:
        return round(self.loop.time() * 1_000_000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self.session = Session(self.client, now=self.now())
        self.timer = self.loop.call_later(1, self.tick)
        self.ready.set()

    def tick(self) -> None:
        self.guard(lambda: self.session.tick(self.now()))
        self.timer = self.loop.call_later(1, self.tick)

    def data_received(self, data: bytes) -> None:
        self.guard(lambda: self.session.feed(data, self.now()))

    def guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except WireError as error:
            self.error = error
            self.listen()
            self.flush()
            self.transport.close()
            return
        self.listen()
        self.flush()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.flush()

    def flush(self) -> None:
        while not self.paused and self.session.wants_send():
            data = self.session.fill(65536)
            if not data:
                break
            self.transport.write(data)
        self.listen()

    def listen(self) -> None:
        for name, number, *rest in self.session.take():
            channel = self.channels.get(number)
            if name == "opened":
                channel = self.channels[number] = Channel(self, number)
                task = self.loop.create_task(self.served(channel))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            elif name == "goaway":
                self.goaway = number
            elif channel is not None:
                if name == "data":
                    channel.pieces.append(rest[0])
                elif name == "ended":
                    channel.ended = True
                elif name == "reset":
                    channel.why = rest[0]
                    self.resets.append((number, rest[0]))
                    del self.channels[number]
                elif name == "closed":
                    channel.why = "closed"
                    del self.channels[number]
                channel.changed.set()

    async def served(self, channel: Channel) -> None:
        with contextlib.suppress(Lost):
            await self.serve(channel)

    def open(self) -> Channel:
        number = self.session.open(self.now())
        channel = self.channels[number] = Channel(self, number)
        return channel

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        self.session.lost()
        self.listen()
        self.gone.set()


async def answer(channel: Channel) -> None:
    """What the peers' `serve` does: the first byte says what to do with the rest."""
    match await channel.exactly(1):
        case b"E":
            while data := await channel.read():
                await channel.write(data)
            channel.end()
        case b"S":
            digest, size = hashlib.sha256(), 0
            while data := await channel.read():
                digest.update(data)
                size += len(data)
            await channel.write(f"{size} {digest.hexdigest()}".encode())
            channel.end()
        case b"F":
            while True:
                await channel.write(bytes(65536))
