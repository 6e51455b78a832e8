"""A bound on what a link holds for slow readers: LINK_HELD, then LINK_HELD_MAX (MUX.md §5)."""

import pytest

from _fastpath import limits
from tests.kit.mux_script import ACK, DATA, FIN, PING, RST, SYN, WINDOW, WINDOW_SIZE, Build, Script

FULL = bytes(WINDOW_SIZE)


def slow_readers(count: int, data: bytes = FULL) -> Script:
    """Return an end whose owner holds data (a whole window) on each of so many streams: 1, 3, …"""
    mux = Script()
    mux.session.hold = True
    for stream in range(1, 2 * count, 2):
        mux.peer(DATA, SYN, stream, data)
        mux.session.take()
        mux.session.fill(65536)
    assert mux.session.state()["link_held"] == count * len(data)
    return mux


def held(mux: Script) -> int:
    return int(mux.session.state()["link_held"])


def test_what_is_held_is_counted_until_it_is_used(script: Build) -> None:
    mux = script()
    mux.session.hold = True
    mux.peer(DATA, SYN, 1, b"x" * 100).peer(DATA, SYN, 3, b"y" * 50)
    assert held(mux) == 150
    mux.session.consumed(1, 30)
    assert held(mux) == 120
    mux.session.lost()
    assert held(mux) == 0


def test_a_reset_drops_what_is_held(script: Build) -> None:
    mux = script()
    mux.session.hold = True
    for stream in (1, 3):
        mux.peer(DATA, SYN, stream, b"x" * 100)
    mux.peer(WINDOW, RST, 1)
    assert held(mux) == 100
    door = mux.session.door(3)
    mux.session.reset(3)
    assert held(mux) == 0
    door.consumed(100)  # its owner tidies up
    assert held(mux) == 0


def test_a_reset_before_ack_drops_what_is_held(script: Build) -> None:
    mux = script(client=True)
    mux.session.hold = True
    one = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    mux.peer(DATA, 0, one, b"x" * 100)
    mux.session.reset(one)
    assert held(mux) == 0


def test_what_came_before_the_end_counts_after_it(script: Build) -> None:
    """Both directions ended, either first: the owner still has those bytes in memory."""
    mux = script()
    mux.session.hold = True
    mux.peer(DATA, SYN | FIN, 1, b"x" * 100).peer(DATA, SYN, 3, b"x" * 100)
    doors = [mux.session.door(stream) for stream in (1, 3)]
    mux.session.end(1)
    mux.session.end(3)
    mux.sent  # noqa: B018
    mux.peer(DATA, FIN, 3)
    assert [e for e in mux.events if e[0] == "closed"] == [("closed", 1), ("closed", 3)]
    assert held(mux) == 200
    for door in doors:
        door.consumed(100)
    assert held(mux) == 0


def test_over_LINK_HELD_a_slow_reader_is_granted_little_and_a_quick_one_enough() -> None:
    mux = slow_readers(limits.LINK_HELD // WINDOW_SIZE + 1)
    mux.session.consumed(1, WINDOW_SIZE - limits.HELD_WINDOW // 2 - 1)
    assert held(mux) > limits.LINK_HELD - WINDOW_SIZE
    mux.peer(DATA, SYN, 9001, FULL)
    assert held(mux) > limits.LINK_HELD
    mux.sent  # noqa: B018
    mux.session.consumed(3, WINDOW_SIZE // 2)
    assert mux.sent_streams == []  # half its window is free, and it holds more than HELD_WINDOW
    mux.session.consumed(3, WINDOW_SIZE // 2 - limits.HELD_WINDOW // 2 - 1)
    assert mux.session.stream(3)["held"] == limits.HELD_WINDOW // 2 + 1
    mux.peer(DATA, SYN, 9003, FULL)
    assert held(mux) > limits.LINK_HELD
    mux.session.consumed(3, 1)
    assert mux.sent_streams == [(WINDOW, ACK, 9003, 0), (WINDOW, 0, 3, limits.HELD_WINDOW // 2)]
    mux.session.take()
    # Back under it, the next use brings the whole window back.
    for stream in (5, 7, 9):
        mux.session.consumed(stream, WINDOW_SIZE)
    mux.session.consumed(3, 1)
    assert mux.sent_streams[-1] == (WINDOW, 0, 3, WINDOW_SIZE - limits.HELD_WINDOW + 1)


def grows(mux: Script) -> bool:
    """A stream whose owner keeps up gets half a window within two round trips."""
    mux.session.ping(mux.now)
    mux.now += 1000
    mux.peer(PING, ACK, 0, 1).peer(WINDOW, SYN, 9001).peer(DATA, 0, 9001, bytes(WINDOW_SIZE // 2))
    return bool(mux.session.stream(9001)["window"] > WINDOW_SIZE)


def test_over_LINK_HELD_no_window_grows() -> None:
    readers = limits.LINK_HELD // WINDOW_SIZE
    assert not grows(slow_readers(readers + 1))
    assert grows(slow_readers(readers))


def test_over_LINK_HELD_MAX_who_holds_most_is_reset() -> None:
    mux = slow_readers(limits.LINK_HELD_MAX // WINDOW_SIZE)
    for stream in range(1, 101, 2):
        mux.session.consumed(stream, 1024)
    mux.sent  # noqa: B018
    few = 50 * 1024
    mux.peer(DATA, SYN, 9001, bytes(few))
    assert held(mux) == limits.LINK_HELD_MAX
    mux.session.take()
    mux.peer(DATA, SYN, 9003, bytes(limits.HELD_WINDOW))
    assert [e[0] for e in mux.events] == ["opened", "data"]
    assert held(mux) > limits.LINK_HELD_MAX  # it holds little: it is left in peace
    mux.peer(DATA, 0, 9003, b"!")
    assert mux.events == [("data", 9003, b"!"), ("reset", 101, "buffer-full")]
    assert held(mux) == limits.LINK_HELD_MAX + limits.HELD_WINDOW + 1 - WINDOW_SIZE
    assert (WINDOW, RST, 101, 0) in mux.sent
    assert mux.session.state()["shed"] == 1
    mux.peer(DATA, SYN, 9005, FULL)  # whoever comes now has as much right as the others
    assert mux.session.state()["shed"] == 2
    assert held(mux) <= limits.LINK_HELD_MAX


def test_over_LINK_HELD_MAX_the_rest_of_a_frame_whose_stream_was_reset_is_dropped() -> None:
    mux = slow_readers(4095, bytes(65536))
    mux.peer(DATA, SYN, 9001, WINDOW_SIZE)
    for _ in range(4):
        mux.raw(bytes(65536))
    events = mux.session.take()
    assert [e[:2] for e in events] == [("opened", 9001), *[("data", 9001)] * 2, ("reset", 9001)]
    assert held(mux) == 4095 * 65536
    mux.peer(PING, SYN, 0, 7)  # the session goes on
    assert (PING, ACK, 0, 7) in mux.sent


def ended_holders(count: int, end_theirs_first: bool = True) -> Script:
    """Return an end whose owner still holds a whole window on each of so many streams that have ended both ways."""
    mux = Script()
    mux.session.hold = True
    for stream in range(1, 2 * count, 2):
        mux.peer(DATA, SYN | FIN if end_theirs_first else SYN, stream, FULL)
        mux.session.end(stream)
        mux.session.fill(65536)
        if not end_theirs_first:
            mux.peer(DATA, FIN, stream)
        assert ("closed", stream) in mux.session.take()
    assert held(mux) == count * WINDOW_SIZE
    return mux


@pytest.mark.parametrize("end_theirs_first", [True, False])
def test_over_LINK_HELD_MAX_streams_that_have_ended_are_reset_too(end_theirs_first: bool) -> None:
    most = limits.LINK_HELD_MAX // WINDOW_SIZE
    mux = ended_holders(most, end_theirs_first)
    for victim in range(20):  # ordinary streams of others: 40 kB and 128 KiB, read a moment later
        for stream, size in ((8001 + 4 * victim, 40_000), (8003 + 4 * victim, 2 * 65536)):
            mux.peer(DATA, SYN, stream, bytes(size))
            resets = [event for event in mux.session.take() if event[0] == "reset"]
            assert all(event[1] < 2 * most and event[2] == "buffer-full" for event in resets)
            mux.session.fill(65536)
    assert held(mux) <= limits.LINK_HELD_MAX
    # oldest first, each once: 3.36 MB of others came
    assert mux.session.state()["shed"] == -(-20 * (40_000 + 2 * 65536) // WINDOW_SIZE)
    mux.session.lost()


def test_who_has_used_everything_after_the_end_is_not_reset() -> None:
    mux = ended_holders(2)
    assert mux.session.stream(1)["user"] is not None
    door = mux.session.door(1)
    door.consumed(WINDOW_SIZE - 1)
    assert door.numbers()["user"] is not None
    door.consumed(1)
    assert (door.numbers()["user"], held(mux)) == (None, WINDOW_SIZE)
    door = mux.session.door(3)
    mux.session.lost()
    assert door.numbers()["user"] is None
    assert held(mux) == WINDOW_SIZE  # what came before the end of the link, too, is its owner's
    door.consumed(WINDOW_SIZE)
    assert held(mux) == 0


def test_a_stream_whose_syn_has_not_left_is_shed_without_a_word() -> None:
    """Data for a stream that the other side can't know: it guessed the id."""
    mux = slow_readers(limits.LINK_HELD_MAX // WINDOW_SIZE)
    mux.sent  # noqa: B018
    ours = mux.session.open(mux.now)
    mux.peer(DATA, 0, ours, FULL)
    assert ("reset", ours, "buffer-full") in mux.session.take()
    assert mux.sent == []
