"""One mux end against a scripted peer: streams from open to close, going away, output once a turn.

Scripts run whole, byte by byte and in sevens."""

import pytest

from _fastpath import frame, limits
from _fastpath.errors import WireError
from tests.kit.mux_script import (
    ACK,
    ANY,
    DATA,
    FIN,
    GOAWAY,
    PING,
    RST,
    SECOND,
    SYN,
    WINDOW,
    WINDOW_SIZE,
    Build,
    Script,
    ends_session,
    frames,
)

# -- streams of the other side -------------------------------------------------------------------


def test_a_stream_from_open_to_close(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1).peer(DATA, 0, 1, b"hello").peer(DATA, FIN, 1, b" world")
    assert mux.events == [("opened", 1), ("data", 1, b"hello world"), ("ended", 1)]
    assert mux.sent == [(WINDOW, ACK, 1, 0)]
    mux.session.write(1, b"answer")
    mux.session.end(1)
    assert mux.sent == [(DATA, FIN, 1, b"answer")]
    assert mux.events == [("closed", 1)]
    assert mux.session.state()["live"] == 0


def test_ack_rides_on_the_answer(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN | FIN, 1, b"ask")
    mux.session.write(1, b"answer")
    assert mux.sent == [(DATA, ACK, 1, b"answer")]


def test_our_fin_first(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN, 1, b"x")
    mux.session.end(1)
    assert mux.sent == [(DATA, ACK | FIN, 1, b"")]
    mux.peer(DATA, 0, 1, b"more").peer(WINDOW, FIN, 1, 0)
    assert mux.events == [("opened", 1), ("data", 1, b"xmore"), ("ended", 1), ("closed", 1)]


def test_second_fin_is_counted_and_changes_nothing(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN | FIN, 1, b"x").peer(DATA, FIN, 1, b"")
    assert mux.events == [("opened", 1), ("data", 1, b"x"), ("ended", 1)]
    assert mux.session.state()["strays"] == 1


def test_reset_by_the_other_side(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN, 1, b"x")
    mux.session.write(1, b"q" * (WINDOW_SIZE + 5))
    mux.sent  # noqa: B018 (looking takes it off the queue)
    mux.peer(WINDOW, RST, 1)
    assert mux.events == [("opened", 1), ("data", 1, b"x"), ("reset", 1, "stream-reset")]
    assert mux.session.state()["link_queued"] == 0, "what waited is freed at once"
    assert mux.session.state()["live"] == 0
    assert mux.sent == []


def test_reset_by_us_drops_what_still_comes(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN, 1, b"x")
    mux.session.write(1, b"never sent")
    mux.session.reset(1)
    assert mux.sent == [(WINDOW, RST, 1, 0)]
    mux.peer(DATA, 0, 1, b"in flight").peer(DATA, SYN, 3, b"next")
    assert mux.events == [("opened", 1), ("data", 1, b"x"), ("opened", 3), ("data", 3, b"next")]


def test_reset_in_the_middle_of_a_frame_drops_its_rest() -> None:
    mux = Script()
    data = frame.build(DATA, SYN, 1, 100) + b"a" * 100 + frame.build(PING, SYN, 0, 7)
    mux.raw(data[:50])
    mux.session.reset(1)
    mux.raw(data[50:])
    assert mux.events == [("opened", 1), ("data", 1, b"a" * 38)]
    assert mux.sent == [(WINDOW, RST, 1, 0), (PING, ACK, 0, 7)]


def test_refused_in_on_open_is_never_heard_of_again(script: Build) -> None:
    mux = script()
    mux.session.claim = False
    mux.peer(WINDOW, SYN, 1)
    mux.session.reset(1)
    mux.peer(DATA, 0, 1, b"x")
    assert mux.events == [("opened", 1)]
    assert mux.sent == [(WINDOW, RST, 1, 0)]


# -- streams of ours -----------------------------------------------------------------------------


def test_syn_rides_on_the_first_data(script: Build) -> None:
    mux = script(client=True)
    one, two = mux.session.open(mux.now), mux.session.open(mux.now)
    mux.session.write(one, b"ask")
    assert mux.sent == [(WINDOW, SYN, 3, 0), (DATA, SYN, 1, b"ask")]
    mux.peer(WINDOW, ACK, one, 0).peer(DATA, ACK, two, b"hi")
    assert mux.events == [("data", 3, b"hi")]
    assert mux.session.state()["unacked"] == 0


def test_a_server_opens_even_ids() -> None:
    mux = Script()
    assert [mux.session.open(mux.now) for _ in range(3)] == [2, 4, 6]


def test_open_and_end_in_one_frame(script: Build) -> None:
    mux = script(client=True)
    one = mux.session.open(mux.now)
    mux.session.end(one)
    assert mux.sent == [(DATA, SYN | FIN, 1, b"")]
    mux.peer(DATA, ACK | FIN, 1, b"bye")
    assert mux.events == [("data", 1, b"bye"), ("ended", 1), ("closed", 1)]


def test_reset_before_the_syn_left_says_nothing() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"x")
    mux.session.reset(one)
    assert mux.sent == []
    assert mux.session.state()["live"] == 0
    assert mux.session.open(mux.now) == 3, "its id is not used again"


def test_reset_waits_for_the_ack(script: Build) -> None:
    """J07 from our side: SYN and RST never leave in one burst, however often users cancel."""
    mux = script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"x")
    assert mux.sent == [(DATA, SYN, 1, b"x")]
    mux.session.reset(one)
    assert mux.sent == []
    mux.peer(DATA, 0, 1, b"dropped")
    assert mux.sent == []
    mux.peer(DATA, ACK, 1, b"dropped too")
    assert mux.sent == [(WINDOW, RST, 1, 0)]
    assert mux.events == []
    assert mux.session.state()["live"] == 0


def test_reset_waits_no_longer_than_its_time() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    assert mux.sent == [(WINDOW, SYN, 1, 0)]
    mux.session.reset(one)
    while mux.now < SECOND + limits.RESET_HELD * 1000 - SECOND:
        mux.peer(GOAWAY, 0, 0, 0)  # the other side is alive
        mux.after(1)
        assert RST not in [f.flags for f in mux.sent]
    mux.after(2)
    assert (WINDOW, RST, 1, 0) in mux.sent
    assert mux.session.state()["live"] == 0


def test_reset_that_waits_is_forgotten_when_the_other_side_resets(script: Build) -> None:
    mux = script(client=True)
    one = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    mux.session.reset(one)
    mux.peer(WINDOW, RST, one)
    assert mux.sent == []
    assert mux.events == []
    assert mux.session.state()["live"] == 0
    assert mux.session.state()["unacked"] == 0


def test_only_so_many_syns_wait_for_ack(script: Build) -> None:
    """The other side's backlog is 256: what we open beyond it waits here, not to be reset there."""
    mux = script(client=True)
    for _ in range(limits.MAX_BACKLOG + 2):
        mux.session.open(mux.now)
    assert len(mux.sent) == limits.MAX_BACKLOG
    mux.peer(WINDOW, ACK, 1, 0)
    assert mux.sent == [(WINDOW, SYN, 2 * limits.MAX_BACKLOG + 1, 0)]
    mux.peer(WINDOW, RST, 3)
    assert mux.sent == [(WINDOW, SYN, 2 * limits.MAX_BACKLOG + 3, 0)]


def test_stream_limit_of_ours() -> None:
    mux = Script(client=True, max_streams=2)
    mux.session.open(mux.now)
    two = mux.session.open(mux.now)
    with pytest.raises(WireError) as error:
        mux.session.open(mux.now)
    assert error.value.reason == "tunnel-streams"
    assert error.value.status == 503
    mux.session.reset(two)
    mux.session.open(mux.now)


def test_ack_of_a_stream_whose_syn_has_not_left(script: Build) -> None:
    mux = script(client=True)
    mux.session.open(mux.now)
    ends_session(mux, lambda m: m.peer(WINDOW, ACK, 1, 0), "link-protocol", "was not opened")


def test_ids_that_are_used_up_end_the_link_s_use() -> None:
    mux = Script(client=True)
    mux.session.skip_to(0xFFFFFFFD)
    assert mux.session.open(mux.now) == 0xFFFFFFFD
    with pytest.raises(WireError) as error:
        mux.session.open(mux.now)
    assert error.value.reason == "link-goaway"


# -- going away ----------------------------------------------------------------------------------


def test_goaway_from_the_other_side(script: Build) -> None:
    mux = script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"x")
    mux.sent  # noqa: B018
    two = mux.session.open(mux.now)
    mux.peer(GOAWAY, 0, 0, 0)
    assert mux.events == [("reset", two, "link-goaway"), ("goaway", 0)]
    with pytest.raises(WireError) as error:
        mux.session.open(mux.now)
    assert error.value.reason == "link-goaway"
    mux.peer(DATA, ACK, one, b"old streams go on")
    assert mux.events == [("data", 1, b"old streams go on")]
    mux.session.write(one, b"y")
    assert mux.sent == [(DATA, 0, 1, b"y")]


@pytest.mark.parametrize("code", [1, 2, 77])
def test_goaway_for_an_error_ends_the_session(script: Build, code: int) -> None:
    mux = script(client=True)
    mux.session.open(mux.now)
    mux.sent  # noqa: B018
    with pytest.raises(WireError) as error:
        mux.peer(GOAWAY, 0, 0, code)
    assert error.value.reason == "link-goaway"
    assert mux.events == [("goaway", code)]
    mux.session.lost()
    assert mux.events == [("reset", 1, "link-goaway")]
    assert mux.sent == []


def test_goaway_from_us(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1)
    mux.sent  # noqa: B018
    mux.session.goaway(0)
    mux.session.goaway(0)
    assert mux.sent == [(GOAWAY, 0, 0, 0)]
    mux.peer(DATA, SYN, 3, b"crossed").peer(DATA, 0, 1, b"goes on")
    assert mux.sent == [(WINDOW, RST, 3, 0)]
    assert mux.events == [("opened", 1), ("data", 1, b"goes on")]
    with pytest.raises(WireError):
        mux.session.open(mux.now)


def test_lost_resets_every_stream_once() -> None:
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x").peer(DATA, SYN | FIN, 3, b"x")
    two = mux.session.open(mux.now)
    four = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    mux.session.reset(four)
    mux.session.take()
    mux.session.lost()
    mux.session.lost()
    assert sorted(mux.events) == [("reset", n, "link-lost") for n in (1, two, 3)]
    assert mux.session.state()["live"] == 0
    assert mux.sent == []
    mux.session.goaway(0)
    mux.session.ping(mux.now)
    mux.session.tick(mux.now)
    with pytest.raises(WireError) as error:
        mux.session.open(mux.now)
    assert error.value.reason == "link-lost"


# -- output is asked for once a turn -------------------------------------------------------------


def test_one_flush_a_turn() -> None:
    mux = Script(client=True)
    for _ in range(50):
        mux.session.write(mux.session.open(mux.now), b"x")
    assert mux.session.outputs == 1
    assert len(mux.sent) == 50
    mux.session.ping(mux.now)
    assert mux.session.outputs == 2


def test_a_small_buffer_is_filled_piece_by_piece() -> None:
    mux = Script(client=True)
    for _ in range(20):
        mux.session.write(mux.session.open(mux.now), b"x" * 1000)
    mux.peer(PING, SYN, 0, 1)
    total = b""
    while mux.session.wants_send():
        piece = mux.session.fill(256)
        assert 0 < len(piece) <= 256
        total += piece
    assert len(total) == 12 + 20 * 1000 + 12 * sum(1 for f in frames(total) if f.type == DATA)


def test_ack_waits_for_room_but_never_for_long() -> None:
    mux = Script(accepts=ANY)
    mux.peer(DATA, SYN, 1, b"x")
    mux.session.write(1, b"y" * 300_000)
    first = frame.parse(mux.session.fill(256)[:12])
    assert first[:3] == (DATA, ACK, 1)


# -- owners that act inside of an event -----------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_lost_inside_of_opened(cut: int) -> None:
    """The owner closes the link because of what it sees: nothing of that stream is delivered."""
    mux = Script(cut)
    mux.session.react = lambda event: mux.session.lost() if event[0] == "opened" else None
    mux.peer(DATA, SYN, 1, b"hello")
    assert mux.events == [("opened", 1), ("reset", 1, "link-lost")]
    assert mux.session.state()["live"] == 0


def test_lost_inside_of_reset() -> None:
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x").peer(DATA, SYN, 3, b"y")
    mux.session.take()
    mux.session.react = lambda event: mux.session.lost()
    mux.peer(WINDOW, RST, 1)
    assert mux.events == [("reset", 1, "stream-reset"), ("reset", 3, "link-lost")]


def test_lost_inside_of_writable_tells_nobody_twice() -> None:
    mux = Script(client=True)
    for stream in (mux.session.open(mux.now), mux.session.open(mux.now)):
        mux.session.write(stream, b"x" * (limits.STREAM_HIGH_WATER + 1))
        assert mux.session.full(stream)
    mux.session.react = lambda event: mux.session.lost()
    mux.session.fill(1 << 20)
    assert mux.events == [
        ("writable", 1), ("reset", 1, "link-lost"), ("reset", 3, "link-lost"),
    ]  # fmt: skip


def test_an_owner_that_fails_while_the_link_ends_stops_no_other_from_hearing() -> None:
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x").peer(DATA, SYN, 3, b"y").peer(DATA, SYN, 5, b"z")
    mux.session.take()

    def fail(event: tuple[object, ...]) -> None:
        raise LookupError(event[1])

    mux.session.react = fail
    with pytest.raises(LookupError, match="1"):
        mux.session.lost()
    assert mux.events == [("reset", n, "link-lost") for n in (1, 3, 5)]
    assert mux.session.state()["live"] == 0


def test_writing_and_resetting_between_the_failure_and_the_loss() -> None:
    """Nothing is queued any more, and who gave a stream up hears no more of it."""
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x").peer(DATA, SYN, 3, b"y")
    with pytest.raises(WireError):
        mux.raw(b"\xff" * 12)
    assert mux.sent[-1:] == [(GOAWAY, 0, 0, 1)]
    mux.session.take()
    mux.session.write(1, b"late")
    mux.session.end(1)
    mux.session.reset(3)
    assert mux.sent == []
    mux.session.lost()
    assert mux.events == [("reset", 1, "link-protocol")]
