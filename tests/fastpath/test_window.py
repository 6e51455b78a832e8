"""Windows both ways (J02 J03 J04 J05), and back-pressure towards who writes."""

import pytest

from _fastpath import limits
from _fastpath.errors import WireError
from tests.kit.mux_script import (
    ACK,
    DATA,
    FIN,
    PING,
    SECOND,
    SYN,
    WINDOW,
    WINDOW_SIZE,
    Build,
    Script,
    bulk_streams,
    ends_session,
)

# -- windows -------------------------------------------------------------------------------------


def test_we_send_no_more_than_the_window(script: Build) -> None:
    mux = script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"z" * (WINDOW_SIZE + 10))
    sent = mux.sent
    assert sum(len(f.body) for f in sent) == WINDOW_SIZE  # type: ignore[arg-type]
    assert not mux.session.wants_send()
    mux.peer(WINDOW, ACK, one, 4)
    assert mux.sent == [(DATA, 0, 1, b"zzzz")]
    mux.session.end(one)
    mux.peer(WINDOW, 0, one, 6)
    assert mux.sent == [(DATA, FIN, 1, b"z" * 6)]


def test_fin_waits_behind_data_that_waits_for_the_window() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"z" * (WINDOW_SIZE + 1))
    mux.session.end(one)
    assert FIN not in [f.flags & FIN for f in mux.sent]
    mux.peer(WINDOW, ACK, one, 1)
    assert mux.sent == [(DATA, FIN, 1, b"z")]


def test_window_opens_only_as_the_owner_consumes(script: Build) -> None:
    mux = script()
    mux.session.hold = True
    mux.peer(DATA, SYN, 1, b"x" * WINDOW_SIZE)
    assert mux.sent_streams == [(WINDOW, ACK, 1, 0)]
    mux.session.consumed(1, WINDOW_SIZE // 2 - 1)
    assert mux.sent_streams == []
    mux.session.consumed(1, 1)
    assert mux.sent_streams == [(WINDOW, 0, 1, WINDOW_SIZE // 2)]
    assert mux.session.stream(1)["credit"] == WINDOW_SIZE // 2
    mux.session.consumed(1, WINDOW_SIZE // 2)
    assert mux.sent_streams == [(WINDOW, 0, 1, WINDOW_SIZE // 2)]


def test_many_small_reads_make_one_update() -> None:
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x" * 100)
    for _ in range(2000):
        mux.peer(DATA, 0, 1, b"x" * 100)
    assert mux.sent_streams == [(WINDOW, ACK, 1, 200_100)]


def test_no_update_after_the_other_side_ended() -> None:
    mux = Script()
    mux.session.hold = True
    mux.peer(DATA, SYN | FIN, 1, b"x" * WINDOW_SIZE)
    mux.session.consumed(1, WINDOW_SIZE)
    assert mux.sent_streams == [(WINDOW, ACK, 1, 0)]


@pytest.mark.parametrize(
    ("size", "reason"), [(WINDOW_SIZE + 1, "stream-window"), (0xFFFFFFFF, "stream-window")]
)
def test_J02_syn_with_a_body_over_the_window(script: Build, size: int, reason: str) -> None:
    mux = script()
    ends_session(mux, lambda m: m.peer(DATA, SYN, 1, size), reason, "larger than its window")
    assert mux.events == []


def test_J03_window_overflow_at_once(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1)
    ends_session(mux, lambda m: m.peer(WINDOW, 0, 1, 0xFFFFFFFF), "stream-window", "overflows")


def test_J03_window_overflow_by_steps(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1)
    mux.peer(WINDOW, 0, 1, 0x7FFFFFFF).peer(WINDOW, 0, 1, 0x80000000 - WINDOW_SIZE)
    assert mux.session.stream(1)["send_window"] == 0xFFFFFFFF
    ends_session(mux, lambda m: m.peer(WINDOW, 0, 1, 1), "stream-window", "overflows")


def test_J04_data_beyond_the_window(script: Build) -> None:
    mux = script()
    mux.session.hold = True
    mux.peer(DATA, SYN, 1, b"x" * WINDOW_SIZE)
    mux.session.take()
    mux.sent  # noqa: B018
    ends_session(
        mux, lambda m: m.peer(DATA, 0, 1, b"!"), "stream-window", "1 bytes sent, 0 allowed"
    )


def test_J04_nothing_of_it_is_delivered() -> None:
    mux = Script()
    mux.peer(WINDOW, SYN, 1)
    mux.session.take()
    with pytest.raises(WireError):
        mux.peer(DATA, 0, 1, b"x" * (WINDOW_SIZE + 1))
    assert mux.events == []


def test_J04_on_a_stream_that_we_reset_before_ack(script: Build) -> None:
    mux = script(client=True)
    one = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    mux.session.reset(one)
    ends_session(mux, lambda m: m.peer(DATA, 0, 1, WINDOW_SIZE + 1), "stream-window", "allowed")


def test_J05_a_huge_length_without_body(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1)
    ends_session(mux, lambda m: m.peer(DATA, 0, 1, 0xFFFFFFFF), "stream-window", "allowed")


def test_J05_a_huge_length_on_a_stream_that_is_gone(script: Build) -> None:
    mux = script()
    ends_session(mux, lambda m: m.peer(DATA, 0, 1, 0xFFFFFFFF), "stream-window", "than any window")


def test_J05_a_body_that_never_comes_is_a_dead_peer() -> None:
    mux = Script()
    mux.peer(DATA, SYN, 1, 1000)
    with pytest.raises(WireError) as error:
        mux.after(15)
    assert error.value.reason == "link-timeout"


# -- back-pressure -------------------------------------------------------------------------------


def test_full_and_writable_again() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"x" * limits.STREAM_HIGH_WATER)
    assert not mux.session.full(one)
    mux.session.write(one, b"x")
    assert mux.session.full(one)
    mux.session.fill(65536)
    assert mux.events == []
    mux.sent  # noqa: B018
    assert mux.events == [("writable", 1)]
    assert not mux.session.full(one)


def test_a_stream_that_was_not_full_is_not_told() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    mux.session.write(one, b"x")
    mux.sent  # noqa: B018
    assert mux.events == []


def test_queue_is_bounded_even_when_the_owner_does_not_look() -> None:
    mux = Script(client=True)
    one = mux.session.open(mux.now)
    with pytest.raises(WireError) as error:
        for _ in range(100):
            mux.session.write(one, b"x" * 65536)
    assert error.value.reason == "buffer-full"
    assert mux.session.state()["link_queued"] == limits.MAX_STREAM_QUEUE


def test_a_link_whose_windows_are_all_shut_holds_little() -> None:
    mux = Script(client=True)
    streams = bulk_streams(mux, 200, WINDOW_SIZE)
    mux.sent  # noqa: B018
    assert mux.session.state()["link_queued"] == 0
    for stream in streams:
        while not mux.session.full(stream):
            mux.session.write(stream, b"x" * 16384)
    queued = mux.session.state()["link_queued"]
    assert queued <= limits.LINK_HIGH_WATER + 200 * (limits.STREAM_LOW_WATER + 16384)


def test_an_update_that_a_smaller_window_made_needless_is_not_sent() -> None:
    """It was worth sending; then the window halved, and what is granted already is enough."""
    mux = Script()
    mux.session.hold = True
    half = WINDOW_SIZE // 2
    mux.peer(WINDOW, SYN, 1)
    mux.session.ping(mux.now)
    mux.now += 1000
    mux.peer(PING, ACK, 0, 1)
    mux.peer(DATA, 0, 1, b"x" * half)  # within two round trips: it doubles
    assert mux.session.stream(1)["window"] == 2 * WINDOW_SIZE
    late = 28 * 1024  # counts towards the next look at the pace
    mux.peer(DATA, 0, 1, b"x" * late)
    mux.session.consumed(1, half + late)
    assert mux.sent_streams == [(WINDOW, ACK, 1, WINDOW_SIZE + half + late)]
    mux.now += 10_000  # neither quick nor slow
    mux.peer(DATA, 0, 1, b"x" * (WINDOW_SIZE - late)).peer(DATA, 0, 1, b"x" * late)
    mux.session.consumed(1, WINDOW_SIZE)  # half of the window: an update is due
    mux.now += 2 * SECOND
    mux.peer(DATA, 0, 1, b"x" * (WINDOW_SIZE - late))  # half of it took ages: it halves
    assert mux.session.stream(1)["window"] == WINDOW_SIZE
    assert mux.sent_streams == []
