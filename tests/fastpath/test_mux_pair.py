"""Two ends on an in-memory link: scripts, window tuning over distance, and everything at once."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from _fastpath import limits, mux, stream
from _fastpath.errors import WireError
from tests.kit.mux_pair import SECOND, End, Pair

MS = 1000


@pytest.mark.parametrize("room", [256, 1000, 65536])
def test_a_thousand_streams_echo(room: int) -> None:
    pair = Pair()
    streams = [pair.open(pair.a) for _ in range(1000)]
    for number, one in enumerate(streams):
        pair.write(pair.a, one, b"%d" % number * 50)
        pair.end(pair.a, one)
    pair.settle(room)
    for one in streams:
        pair.write(pair.b, one, bytes(pair.b.got[one]))
        pair.end(pair.b, one)
    pair.settle(room)
    assert all(pair.a.got[one] == pair.a.wrote[one] for one in streams)
    assert pair.a.closed == pair.b.closed == set(streams)
    assert pair.a.session.state()["live"] == pair.b.session.state()["live"] == 0


def test_both_ends_open() -> None:
    pair = Pair()
    for _ in range(300):
        for end in pair.ends:
            pair.write(end, pair.open(end), b"hello")
    pair.settle()
    assert pair.a.session.state()["live"] == pair.b.session.state()["live"] == 600
    assert pair.a.opened_by_peer == pair.b.opened_by_peer == 300


def test_reset_and_goaway_in_the_middle() -> None:
    pair = Pair(latency=5 * MS)
    one, two, three = (pair.open(pair.a) for _ in range(3))
    for number in (one, two, three):
        pair.write(pair.a, number, b"x" * 100_000)
    pair.settle()
    for number in (one, two):
        pair.write(pair.b, number, b"y" * 1_000_000)
    pair.step()
    pair.reset(pair.a, one)
    pair.b.session.goaway(0)
    pair.settle()
    assert pair.b.resets == {one: "stream-reset"}
    assert pair.a.got[two] == pair.b.wrote[two]
    with pytest.raises(WireError, match="link-goaway"):
        pair.open(pair.a)
    pair.end(pair.a, two)
    pair.end(pair.b, two)
    pair.settle()
    assert two in pair.a.closed & pair.b.closed
    assert pair.a.open == pair.b.open == {three}


def test_honest_cancelling_is_no_rapid_reset() -> None:
    """J07: however fast users cancel, an end of ours never trips the other one's limit."""
    pair = Pair(latency=10 * MS)
    for _ in range(15):
        streams = [pair.open(pair.a) for _ in range(200)]
        for one in streams:
            pair.write(pair.a, one, b"GET /")
        pair.step()
        for one in streams:
            pair.reset(pair.a, one)
        pair.settle()
    state = pair.b.session.state()
    assert state["resets_in"] == 3_000
    assert not state["over"]
    assert state["live"] == 0


class Tube(Pair):
    """A pair whose link carries so many bytes a second, one way each."""

    def __init__(self, latency: int, rate: int) -> None:
        super().__init__(latency=latency)
        self.rate = rate
        self.free = [0, 0]

    def send(self, end: End, room: int = 65536) -> int:
        side = 0 if end is self.a else 1
        if self.free[side] > self.now:
            return 0
        size = super().send(end, room)
        self.free[side] = self.now + size * SECOND // self.rate
        return size

    def step(self, room: int = 65536) -> bool:
        moved = super().step(room)
        if not moved:
            waits = [
                free
                for free, end in zip(self.free, self.ends, strict=True)
                if end.session.wants_send() and free > self.now
            ]
            if waits:
                self.now = min(waits)
                return True
        return moved


def transfer(tube: Tube, total: int) -> float:
    """Megabytes per second of one bulk stream in its second half, when its window has grown."""
    one = tube.open(tube.a)
    start, sent, got = 0, 0, 0
    chunk = bytes(65536)
    while got < total:
        if not start and got >= total // 2:
            start, begun = tube.now, got
        while sent < total and not tube.a.session.full(one):
            tube.a.session.write(one, chunk)
            sent += len(chunk)
        for end in tube.ends:
            while end.session.wants_send() and tube.send(end):
                pass
        for end in tube.ends:
            while end.in_flight and end.in_flight[0][0] <= tube.now:
                _, data = end.in_flight.popleft()
                end.session.feed(data, tube.now)
                for event in end.session.take():
                    if event[0] == "data":
                        got += len(event[2])
        arrivals = [end.in_flight[0][0] for end in tube.ends if end.in_flight]
        free = [f for f in tube.free if f > tube.now]
        tube.now = max(tube.now + 1, min([*arrivals, *free], default=tube.now + MS))
    return (got - begun) / (tube.now - start)


@pytest.mark.parametrize(
    ("latency", "rate", "least"),
    [(25 * MS, 100_000_000, 70), (100 * MS, 50_000_000, 18), (1 * MS, 500_000_000, 350)],
    ids=["50ms-100MB/s", "200ms-50MB/s", "2ms-500MB/s"],
)
def test_window_grows_to_what_the_link_carries(latency: int, rate: int, least: float) -> None:
    """256 KiB would cap these at 5, 1.3 and 131 MB/s; at 200 ms MAX_WINDOW is what caps."""
    tube = Tube(latency, rate)
    assert transfer(tube, 100_000_000) > least
    windows = tube.b.session.state()["grown"] + limits.INITIAL_WINDOW
    assert windows <= 2 * limits.MAX_WINDOW


def test_window_stays_small_where_that_suffices() -> None:
    tube = Tube(latency=MS // 2, rate=10_000_000)
    transfer(tube, 20_000_000)
    # One doubling is the price of round trips that are measured behind the stream's own bytes.
    assert tube.b.session.state()["grown"] <= limits.INITIAL_WINDOW


def test_window_does_not_grow_for_an_owner_that_is_slow() -> None:
    pair = Pair(latency=20 * MS, hold=True)
    one = pair.open(pair.a)
    pair.write(pair.a, one, b"x")
    pair.settle()
    for _ in range(60):
        while not pair.a.session.full(one):
            pair.write(pair.a, one, b"x" * 65536)
        for _ in range(4):
            pair.step()
        held = pair.b.held[one]
        if held:
            pair.consume(pair.b, one, min(held, 20_000))
        pair.now += 10 * MS
    assert pair.b.session.stream(one)["window"] == limits.INITIAL_WINDOW


def test_growth_of_a_link_is_bounded_and_given_back() -> None:
    tube = Tube(latency=50 * MS, rate=1_000_000_000)
    streams = [tube.open(tube.a) for _ in range(12)]
    chunk = bytes(65536)
    for _ in range(4000):
        for one in streams:
            while not tube.a.session.full(one):
                tube.a.session.write(one, chunk)
        for end in tube.ends:
            while end.session.wants_send() and tube.send(end):
                pass
            while end.in_flight and end.in_flight[0][0] <= tube.now:
                end.session.feed(end.in_flight.popleft()[1], tube.now)
                end.session.take()
        tube.now += MS
        if tube.b.session.state()["grown"] == limits.MAX_LINK_GROWTH:
            break
    grown = tube.b.session.state()["grown"]
    assert limits.MAX_LINK_GROWTH // 2 <= grown <= limits.MAX_LINK_GROWTH
    for one in streams:
        tube.b.session.reset(one)
    assert tube.b.session.state()["grown"] == 0


def test_a_window_that_is_no_longer_used_shrinks() -> None:
    tube = Tube(latency=25 * MS, rate=100_000_000)
    one = tube.open(tube.a)
    chunk = bytes(65536)

    def run(seconds: float, per_step: int) -> None:
        until = tube.now + round(seconds * SECOND)
        while tube.now < until:
            for _ in range(per_step):
                if not tube.a.session.full(one):
                    tube.a.session.write(one, chunk)
            for end in tube.ends:
                while end.session.wants_send() and tube.send(end):
                    pass
                while end.in_flight and end.in_flight[0][0] <= tube.now:
                    end.session.feed(end.in_flight.popleft()[1], tube.now)
                    end.session.take()
            tube.now += 5 * MS

    run(2, 20)
    grown = tube.b.session.stream(one)["window"]
    assert grown >= 16 * limits.INITIAL_WINDOW
    for _ in range(40):
        run(1, 0)
        run(0.2, 1)
    for _ in range(60):
        run(0.1, 1)
        run(5, 0)
    assert tube.b.session.stream(one)["window"] < grown


def test_a_round_trip_is_measured() -> None:
    pair = Pair(latency=30 * MS)
    pair.a.session.ping(pair.now)
    pair.settle()
    assert pair.a.pongs == [60 * MS]


def test_quiet_links_stay_alive_and_dead_ones_are_noticed() -> None:
    pair = Pair(latency=10 * MS)
    pair.write(pair.a, pair.open(pair.a), b"x")
    pair.settle()
    pair.advance(3600 * SECOND)
    assert not pair.a.session.state()["over"]
    assert not pair.b.session.state()["over"]
    start = pair.now
    with pytest.raises(WireError, match="link-timeout"):
        while True:
            pair.now = pair.a.session.deadline()
            pair.a.session.tick(pair.now)
            pair.a.session.fill()  # into a black hole
    assert pair.now - start <= 15 * SECOND


def test_fifty_thousand_streams_over_64_links() -> None:
    pairs = [Pair() for _ in range(64)]
    for pair in pairs:
        for _ in range(782):
            one = pair.a.session.open(pair.now)
            pair.a.session.write(one, b"hello")
        while pair.a.session.wants_send() or pair.b.session.wants_send():
            pair.b.session.feed(pair.a.session.fill(), pair.now)
            pair.a.session.feed(pair.b.session.fill(), pair.now)
        assert pair.b.session.state()["live"] == 782
    total = sum(p.a.session.state()["live"] for p in pairs)
    assert total == 50_048
    sizes = [stream.footprint(), mux.footprint()]
    assert sizes[0] <= 400, "bytes of one idle stream at one end"
    for pair in pairs:
        for end in pair.ends:
            end.session.lost()
            end.session.take()


class Traffic(RuleBasedStateMachine):
    """Both owners do whatever they may, the link cuts and delays; Pair.check judges each step."""

    @initialize(hold=st.booleans(), latency=st.sampled_from([0, 1, 40 * MS]))
    def begin(self, hold: bool, latency: int) -> None:
        gc.collect()
        self.before = mux.live(), stream.live()
        self.pair = Pair(latency=latency, hold=hold, max_streams=12)

    def end_of(self, side: bool) -> End:
        return self.pair.b if side else self.pair.a

    def pick(self, end: End, index: int) -> int | None:
        streams = sorted(end.open)
        return streams[index % len(streams)] if streams else None

    @rule(side=st.booleans())
    def open(self, side: bool) -> None:
        end = self.end_of(side)
        if end.session.state()["live"] < 12:
            self.pair.open(end)

    @rule(
        side=st.booleans(),
        index=st.integers(0, 11),
        size=st.sampled_from([1, 100, 5000, 70_000, 300_000]),
        seed=st.integers(0, 255),
    )
    def write(self, side: bool, index: int, size: int, seed: int) -> None:
        end = self.end_of(side)
        one = self.pick(end, index)
        if one is not None and not end.session.full(one):
            self.pair.write(
                end, one, bytes((seed + i) % 251 for i in range(100)) * (size // 100) + b"!"
            )

    @rule(side=st.booleans(), index=st.integers(0, 11))
    def end(self, side: bool, index: int) -> None:
        end = self.end_of(side)
        one = self.pick(end, index)
        if one is not None:
            self.pair.end(end, one)

    @rule(side=st.booleans(), index=st.integers(0, 11))
    def reset(self, side: bool, index: int) -> None:
        end = self.end_of(side)
        one = self.pick(end, index)
        if one is not None:
            self.pair.reset(end, one)

    @rule(side=st.booleans(), index=st.integers(0, 11), part=st.floats(0, 1))
    def consume(self, side: bool, index: int, part: float) -> None:
        end = self.end_of(side)
        one = self.pick(end, index)
        if one is not None and end.held.get(one):
            self.pair.consume(end, one, int(end.held[one] * part))

    @rule(side=st.booleans(), room=st.sampled_from([256, 300, 4096, 65536]))
    def send(self, side: bool, room: int) -> None:
        self.pair.send(self.end_of(side), room)

    @rule(side=st.booleans(), most=st.sampled_from([1, 5, 12, 13, 1000, 100_000]))
    def receive(self, side: bool, most: int) -> None:
        self.pair.receive(self.end_of(side), most)

    @rule(side=st.booleans())
    def ping(self, side: bool) -> None:
        self.end_of(side).session.ping(self.pair.now)

    @rule(microseconds=st.sampled_from([1, 100, 40 * MS, SECOND]))
    def wait(self, microseconds: int) -> None:
        """(Longer silences than the link allows are another test's.)"""
        self.pair.now += microseconds
        for end in self.pair.ends:
            while self.pair.receive(end):
                pass

    @rule()
    def settle(self) -> None:
        self.pair.settle()

    @precondition(lambda self: hasattr(self, "pair"))
    @invariant()
    def holds(self) -> None:
        self.pair.check()

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        self.pair.settle()
        for end in self.pair.ends:
            end.session.lost()
            self.pair.listen(end)
            assert not end.open
            assert end.session.state()["link_queued"] == end.session.state()["live"] == 0
        del self.pair, end
        assert (mux.live(), stream.live()) == self.before


Traffic.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestTraffic = Traffic.TestCase
