"""A script of the wire for one mux end: what the peer sent, what was said, what we answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from _fastpath import frame, limits
from _fastpath.errors import WireError
from _fastpath.session import Session

DATA, WINDOW, PING, GOAWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
NONE, FIRST, ANY = range(3)
SECOND = 1_000_000
WINDOW_SIZE = limits.INITIAL_WINDOW
PROTOCOL_ERROR = (GOAWAY, 0, 0, 1)


class Sent(NamedTuple):
    """One frame that we sent: type, flags, stream, and its payload or (bare frames) its number."""

    type: int
    flags: int
    stream: int
    body: bytes | int


def frames(data: bytes) -> Iterator[Sent]:
    """Yield the frames of data, which must be whole ones."""
    at = 0
    while at < len(data):
        kind, flags, stream, length = frame.parse(data[at : at + 12])
        at += 12
        if kind == DATA:
            assert len(data) >= at + length, "a frame's body is cut"
            yield Sent(kind, flags, stream, data[at : at + length])
            at += length
        else:
            yield Sent(kind, flags, stream, length)


class Script:
    """One end under test. The peer's bytes are fed whole, byte by byte or in sevens (`cut`)."""

    def __init__(
        self, cut: int = 0, *, client: bool = False, accepts: int = ANY, max_streams: int = 4096
    ) -> None:
        self.session = Session(client, accepts, max_streams, SECOND)
        self.cut = cut
        self.now = SECOND

    def peer(self, kind: int, flags: int, stream: int, body: bytes | int = 0) -> Script:
        """The peer sends one frame; payload for DATA, a number for the others."""
        if isinstance(body, bytes):
            return self.raw(frame.build(kind, flags, stream, len(body)) + body)
        return self.raw(frame.build(kind, flags, stream, body))

    def raw(self, data: bytes) -> Script:
        size = self.cut or len(data) or 1
        for at in range(0, len(data), size):
            self.session.feed(data[at : at + size], self.now)
        return self

    def after(self, seconds: float) -> Script:
        """Time passes and a timer that was due goes off."""
        self.now += round(seconds * SECOND)
        self.session.tick(self.now)
        return self

    @property
    def events(self) -> list[tuple[Any, ...]]:
        """What was said since the last look; neighbouring data of one stream in one piece."""
        joined: list[tuple[Any, ...]] = []
        for event in self.session.take():
            if event[0] == "data" and joined and joined[-1][:2] == event[:2]:
                joined[-1] = (*event[:2], joined[-1][2] + event[2])
            else:
                joined.append(event)
        return joined

    @property
    def sent(self) -> list[Sent]:
        """What we sent since the last look."""
        data = bytearray()
        while self.session.wants_send():
            piece = self.session.fill(65536)
            if not piece:
                break
            data += piece
        return list(frames(bytes(data)))

    @property
    def sent_streams(self) -> list[Sent]:
        """The same without the session's own frames (window tuning pings when much arrives)."""
        return [f for f in self.sent if f.stream]


Build = Callable[..., Script]


def ends_session(script: Script, send: Callable[[Script], object], reason: str, why: str) -> None:
    """The peer's bytes end the session: WireError, one GoAway, then silence."""
    with pytest.raises(WireError) as error:
        send(script)
    assert error.value.reason == reason
    assert why in str(error.value)
    assert script.sent[-1:] == [PROTOCOL_ERROR]
    script.session.take()
    script.peer(PING, SYN, 0, 1)  # a dead session hears nothing ...
    assert script.events == []
    assert script.sent == []  # ... and says nothing
    assert script.session.deadline() == 0
    script.session.lost()


def bulk_streams(mux: Script, count: int, size: int) -> list[int]:
    streams = [mux.session.open(mux.now) for _ in range(count)]
    for stream in streams:
        mux.session.write(stream, b"b" * size)
    return streams
