"""The table of stream states, and what a stream does when its session is over."""

import gc

import pytest

from _fastpath import mux, stream
from tests.kit.mux_script import ACK, DATA, FIN, SYN, Script

CLOSED, OPEN, HALF_LOCAL, HALF_REMOTE, BOTH = range(5)
END_LOCAL, END_REMOTE, FIN_SENT, RESET = range(4)


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (CLOSED, (None, None, None, None)),
        (OPEN, (HALF_LOCAL, HALF_REMOTE, None, CLOSED)),
        (HALF_LOCAL, (None, BOTH, HALF_LOCAL, CLOSED)),
        (HALF_REMOTE, (BOTH, None, None, CLOSED)),
        (BOTH, (None, None, CLOSED, CLOSED)),
    ],
    ids=["closed", "open", "half-local", "half-remote", "both"],
)
def test_transitions(state: int, after: tuple[int | None, ...]) -> None:
    assert tuple(stream.next_state(state, event) for event in range(4)) == after


def test_zero_is_closed() -> None:
    assert stream.next_state(0, RESET) is None


def test_consumed_more_than_delivered_is_refused() -> None:
    script = Script()
    script.session.hold = True
    script.peer(DATA, SYN, 1, b"four")
    with pytest.raises(ValueError, match="5 bytes consumed of 4"):
        script.session.consumed(1, 5)
    script.session.consumed(1, 4)
    assert script.session.stream(1)["held"] == 0


def test_write_after_end_is_ignored() -> None:
    script = Script(client=True)
    one = script.session.open(script.now)
    script.session.write(one, b"first")
    script.session.end(one)
    script.session.write(one, b"second")
    script.session.end(one)
    assert script.sent == [(DATA, SYN | FIN, 1, b"first")]


def test_everything_is_harmless_on_a_stream_whose_session_is_gone() -> None:
    """An owner that hears late of the loss still writes, ends, resets and consumes."""
    script = Script(client=True)
    script.session.hold = True
    one = script.session.open(script.now)
    script.session.write(one, b"x")
    assert script.sent == [(DATA, SYN, 1, b"x")]
    script.peer(DATA, ACK, one, b"answer")
    holder = script.session.door(one)
    script.session.lost()
    assert script.events[-1] == ("reset", 1, "link-lost")
    holder.write(b"late")
    holder.end()
    holder.consumed(6)
    holder.accept()
    holder.reset()
    assert holder.queued() == 0
    assert not holder.full()
    assert script.sent == []


def test_nothing_stays_alive() -> None:
    """A stream's owner refers to it and is referred to by it: closing breaks the circle."""
    gc.collect()
    gc.disable()
    try:
        before = mux.live(), stream.live()
        script = Script()
        for number in range(1, 200, 2):
            script.peer(DATA, SYN | FIN, number, b"hello")
            script.session.write(number, b"hello")
            script.session.end(number)
        assert len(script.sent) == 100
        assert stream.live() == before[1]
        for number in range(201, 300, 2):
            script.peer(DATA, SYN, number, b"hello")
        script.session.lost()
        del script
        assert (mux.live(), stream.live()) == before
    finally:
        gc.enable()
