"""Two mux ends on an in-memory link with a virtual clock: any chunking, any delay, always checked.

What must hold at all times, whatever the two owners do:
  * a stream's bytes arrive whole and in order, up to where it was reset;
  * no window is negative, no end holds more than the window it gave, queues stay in bounds;
  * a session's totals are the sums over its streams.
And when the link is quiet: what one end may still send is what the other still allows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from _fastpath import limits
from _fastpath.session import Session

SECOND = 1_000_000


@dataclass
class End:
    """One side: its session, what it wrote and what it got, by stream."""

    session: Session
    wrote: dict[int, bytearray] = field(default_factory=dict)
    got: dict[int, bytearray] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)  # not yet closed or reset here
    ended: set[int] = field(default_factory=set)  # FIN came
    finished: set[int] = field(default_factory=set)  # we called end()
    resets: dict[int, str] = field(default_factory=dict)
    opened_by_peer: int = 0
    pongs: list[int] = field(default_factory=list)
    writable: set[int] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)
    in_flight: deque[tuple[int, bytes]] = field(default_factory=deque)  # (due, bytes) towards us


class Pair:
    """a is the client (odd ids), b the server. `latency` in microseconds, one way."""

    def __init__(self, *, latency: int = 0, hold: bool = False, max_streams: int = 4096) -> None:
        self.now = SECOND
        self.latency = latency
        self.a = End(Session(True, 2, max_streams, self.now))
        self.b = End(Session(False, 2, max_streams, self.now))
        for end in (self.a, self.b):
            end.session.hold = hold
            # Held bytes are consumed by the test; otherwise the session does it as they come.
        self.hold = hold

    @property
    def ends(self) -> tuple[End, End]:
        return self.a, self.b

    def other(self, end: End) -> End:
        return self.b if end is self.a else self.a

    # -- what owners do ------------------------------------------------------------------------

    def open(self, end: End) -> int:
        stream = end.session.open(self.now)
        end.open.add(stream)
        end.wrote[stream] = bytearray()
        end.got[stream] = bytearray()
        end.held[stream] = 0
        return stream

    def write(self, end: End, stream: int, data: bytes) -> None:
        end.session.write(stream, data)
        if stream not in end.finished:
            end.wrote[stream] += data

    def end(self, end: End, stream: int) -> None:
        end.session.end(stream)
        end.finished.add(stream)

    def reset(self, end: End, stream: int) -> None:
        end.session.reset(stream)
        end.open.discard(stream)
        end.resets[stream] = "ours"

    def consume(self, end: End, stream: int, n: int) -> None:
        end.session.consumed(stream, n)
        end.held[stream] -= n

    # -- the link ------------------------------------------------------------------------------

    def send(self, end: End, room: int = 65536) -> int:
        """Move one buffer of end's output onto the link; return its size."""
        data = end.session.fill(room)
        assert len(data) <= room
        if data:
            self.other(end).in_flight.append((self.now + self.latency, data))
        self.listen(end)
        return len(data)

    def receive(self, end: End, most: int | None = None) -> int:
        """Hand to end what has arrived, at most so many bytes; return how many."""
        if not end.in_flight or end.in_flight[0][0] > self.now:
            return 0
        due, data = end.in_flight.popleft()
        size = len(data) if most is None else min(most, len(data))
        if size < len(data):
            end.in_flight.appendleft((due, data[size:]))
        end.session.feed(data[:size], self.now)
        self.listen(end)
        return size

    def listen(self, end: End) -> None:
        """Book what the session said."""
        for event in end.session.take():
            match event:
                case ("opened", stream):
                    assert stream not in end.got, "an id is used once"
                    end.open.add(stream)
                    end.opened_by_peer += 1
                    end.wrote[stream] = bytearray()
                    end.got[stream] = bytearray()
                    end.held[stream] = 0
                case ("data", stream, data):
                    assert stream in end.open and stream not in end.ended
                    end.got[stream] += data
                    if self.hold:
                        end.held[stream] += len(data)
                case ("ended", stream):
                    assert stream in end.open and stream not in end.ended
                    end.ended.add(stream)
                case ("reset", stream, reason):
                    assert stream in end.open | end.closed
                    end.open.discard(stream)
                    end.closed.discard(stream)
                    end.resets[stream] = reason
                case ("closed", stream):
                    assert stream in end.ended and stream in end.finished
                    end.open.discard(stream)
                    end.closed.add(stream)
                case ("writable", stream):
                    end.writable.add(stream)
                case ("pong", round_trip):
                    end.pongs.append(round_trip)
                case ("goaway", _):
                    pass
                case _:
                    raise AssertionError(event)

    def step(self, room: int = 65536) -> bool:
        """Send and deliver all that can go now, or move the clock on. False: all quiet."""
        moved = False
        for end in self.ends:
            while end.session.wants_send() and self.send(end, room):
                moved = True
        for end in self.ends:
            while self.receive(end):
                moved = True
        self.check()
        if not moved:
            arrivals = [end.in_flight[0][0] for end in self.ends if end.in_flight]
            if not arrivals:
                return False
            self.now = max(self.now, min(arrivals))
        return True

    def settle(self, room: int = 65536) -> None:
        """Run until nothing moves any more."""
        while self.step(room):
            pass
        self.check_quiet()

    def advance(self, microseconds: int) -> None:
        """Time passes; both timers go off when due."""
        until = self.now + microseconds
        while True:
            due = [d for d in (end.session.deadline() for end in self.ends) if d]
            soonest = min(due, default=until)
            if soonest > until:
                break
            self.now = max(self.now, soonest)
            for end in self.ends:
                end.session.tick(self.now)
                self.listen(end)
            while self.step():
                pass
        self.now = until

    # -- what must hold ------------------------------------------------------------------------

    def check(self) -> None:
        for end in self.ends:
            totals = end.session.state()
            queued = grown = 0
            for stream in end.open:
                n = end.session.stream(stream)
                assert 0 <= n["send_window"] < 2**32
                assert n["credit"] + n["held"] <= limits.MAX_WINDOW
                assert limits.INITIAL_WINDOW <= n["window"] <= limits.MAX_WINDOW
                assert n["queued"] <= limits.MAX_STREAM_QUEUE
                assert n["held"] == end.held[stream]
                queued += n["queued"]
                grown += n["window"] - limits.INITIAL_WINDOW
            assert totals["link_queued"] == queued
            # what came before a stream's end is still its owner's to use
            assert totals["link_held"] == sum(end.held[stream] for stream in end.open | end.closed)
            # (a stream reset before ACK keeps its place, but neither queue nor growth)
            assert totals["grown"] == grown <= limits.MAX_LINK_GROWTH
            assert totals["live"] >= len(end.open)
            assert totals["control"] <= limits.MAX_CONTROL
            assert totals["backlog"] <= limits.MAX_BACKLOG
            assert totals["unacked"] <= limits.MAX_BACKLOG
            for stream, got in end.got.items():
                wrote = self.other(end).wrote.get(stream, b"")
                assert wrote.startswith(got), "bytes lost, invented or out of order"

    def check_quiet(self) -> None:
        """Nothing is under way: both ends agree on windows, and nothing waits without a reason."""
        self.check()
        for end in self.ends:
            other = self.other(end)
            for stream in end.open & other.open:
                ours, theirs = end.session.stream(stream), other.session.stream(stream)
                if stream not in end.finished:
                    assert ours["send_window"] == theirs["credit"]
                if ours["queued"]:
                    assert ours["send_window"] == 0, "data waits although the window is open"
                else:
                    assert other.got[stream] == end.wrote[stream]
                    assert (stream in end.finished) == (stream in other.ended)
