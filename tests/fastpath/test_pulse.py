"""Time: pings and dead peers (J10), half-closed streams (J13)."""

import pytest

from _fastpath import frame, limits
from _fastpath.errors import WireError
from tests.kit.mux_script import (
    ACK,
    DATA,
    FIN,
    PING,
    RST,
    SECOND,
    SYN,
    WINDOW,
    WINDOW_SIZE,
    Build,
    Script,
)

# -- J10: pings ----------------------------------------------------------------------------------


def test_J10_dead_peer_within_15_seconds(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN, 1, b"x")
    start = mux.now
    pings = 0
    with pytest.raises(WireError) as error:
        while True:
            due = mux.session.deadline()
            assert due > mux.now
            mux.now = due
            mux.session.tick(mux.now)
            pings += sum(f[:2] == (PING, SYN) for f in mux.sent)
    assert error.value.reason == "link-timeout"
    assert pings == 2
    assert mux.now - start <= 15 * SECOND
    mux.session.take()
    mux.session.lost()
    assert mux.events == [("reset", 1, "link-timeout")]


def test_J10_a_peer_that_talks_but_never_answers_a_ping() -> None:
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x")
    mux.session.ping(mux.now)
    with pytest.raises(WireError) as error:
        for _ in range(100):
            mux.peer(DATA, 0, 1, b"x")
            mux.after(1)
    assert error.value.reason == "link-timeout"
    assert mux.now == SECOND + limits.PING_UNANSWERED * 1000


def test_J10_a_quiet_peer_that_answers_lives_for_ever() -> None:
    mux = Script()
    for _ in range(1000):
        mux.now = mux.session.deadline()
        mux.session.tick(mux.now)
        for sent in mux.sent:
            assert sent[:2] == (PING, SYN)
            assert isinstance(sent.body, int)
            mux.now += 50_000
            mux.peer(PING, ACK, 0, sent.body)
    assert mux.events == [("pong", 50_000)] * 1000


def test_J10_pongs_that_nobody_asked_for() -> None:
    mux = Script()
    mux.peer(PING, ACK, 0, 1)
    mux.session.ping(mux.now)
    mux.session.ping(mux.now)
    assert mux.sent == [(PING, SYN, 0, 1)], "one at a time"
    mux.now += 300
    mux.peer(PING, ACK, 0, 2).peer(PING, ACK, 0, 1).peer(PING, ACK, 0, 1)
    assert mux.events == [("pong", 300)]
    assert mux.session.state()["strays"] == 3


# -- J13 and the clock ---------------------------------------------------------------------------


def keep_alive(mux: Script, seconds: int) -> None:
    for _ in range(seconds):
        mux.peer(PING, SYN, 0, 1)
        mux.after(1)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_J13_half_closed_for_five_minutes(first: str) -> None:
    mux = Script()
    mux.peer(DATA, SYN | (FIN if first == "theirs" else 0), 1, b"x")
    if first == "ours":
        mux.session.end(1)
    mux.session.take()
    mux.sent  # noqa: B018
    keep_alive(mux, 299)
    assert mux.session.state()["live"] == 1
    keep_alive(mux, 1)
    assert mux.events == [("reset", 1, "stream-timeout")]
    assert (WINDOW, RST, 1, 0) in mux.sent
    assert mux.session.state()["timed_out"] == 1


def test_J13_a_half_closed_stream_that_flows_lives() -> None:
    """A download whose request has long ended."""
    mux = Script()
    mux.peer(DATA, SYN | FIN, 1, b"GET")
    for _ in range(20):
        keep_alive(mux, 60)
        mux.session.write(1, b"part")
        mux.sent  # noqa: B018
    assert mux.session.state()["live"] == 1


def test_J13_the_oldest_goes_first() -> None:
    mux = Script()
    mux.peer(DATA, SYN | FIN, 1, b"x").peer(DATA, SYN | FIN, 3, b"x")
    keep_alive(mux, 100)
    mux.session.write(1, b"y")
    mux.sent  # noqa: B018
    mux.session.take()
    keep_alive(mux, 200)
    assert mux.events == [("reset", 3, "stream-timeout")]
    keep_alive(mux, 100)
    assert mux.events == [("reset", 1, "stream-timeout")]


def test_J13_end_whose_data_never_may_leave() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"x" * (WINDOW_SIZE + 1))
    mux.session.end(one)
    mux.sent  # noqa: B018
    mux.peer(WINDOW, ACK, 1, 0)
    keep_alive(mux, 300)
    assert mux.events == [("reset", 1, "stream-timeout")]
    assert mux.session.state()["link_queued"] == 0


def test_the_clock_never_goes_back() -> None:
    mux = Script()
    mux.peer(DATA, SYN | FIN, 1, b"x")
    mux.session.tick(1)
    mux.session.ping(1)
    mux.session.feed(frame.build(PING, ACK, 0, 1), mux.now + 10)
    assert ("pong", 10) in mux.events


def test_the_deadline_is_the_soonest_of_all() -> None:
    mux = Script()
    begun = mux.now
    mux.peer(DATA, SYN | FIN, 1, b"x")
    assert mux.session.deadline() == begun + limits.PING_IDLE * 1000
    keep_alive(mux, limits.HALF_CLOSED // 1000 - 1)
    assert mux.session.deadline() == begun + limits.HALF_CLOSED * 1000


def test_the_deadline_of_a_reset_that_waits() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    begun = mux.now
    mux.session.reset(one)
    keep_alive(mux, limits.RESET_HELD // 1000 - 1)
    assert mux.session.deadline() == begun + limits.RESET_HELD * 1000
