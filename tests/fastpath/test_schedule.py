"""Whose turn it is to send: fairness among streams (J12)."""

from _fastpath import frame, limits
from tests.kit.mux_script import (
    ACK,
    DATA,
    PING,
    RST,
    SYN,
    WINDOW,
    WINDOW_SIZE,
    Script,
    bulk_streams,
)


def test_J12_a_slow_stream_stops_nobody() -> None:
    """999 streams flow past one whose window is shut."""
    mux = Script(client=True)
    slow = mux.session.open(mux.now)
    mux.session.write(slow, b"s" * (WINDOW_SIZE + 1))
    mux.sent  # noqa: B018
    mux.peer(WINDOW, ACK, slow, 0)
    for _ in range(999):
        stream = mux.session.open(mux.now)
        mux.session.write(stream, b"quick")
        assert mux.sent == [(DATA, SYN, stream, b"quick")]
        mux.peer(WINDOW, ACK, stream, 0)
    assert mux.session.stream(slow)["queued"] == 1


def test_J12_a_small_answer_goes_before_bulk() -> None:
    mux = Script(client=True)
    quick = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    bulk_streams(mux, 100, 100_000)
    mux.session.fill(100 * (limits.MUX_QUANTUM + 12))  # each has had its first share
    mux.session.fill(65536)
    mux.session.write(quick, b"quick")
    assert frame.parse(mux.session.fill(65536)[:12]) == (DATA, 0, quick, 5)


def test_J12_a_stream_of_old_is_not_starved_by_new_ones() -> None:
    """SYNs with data take their turn among the sparse ones."""
    mux = Script(client=True)
    old = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    mux.session.write(old, b"old")
    bulk_streams(mux, 100, 100_000)
    assert frame.parse(mux.session.fill(65536)[:12]) == (DATA, 0, old, 3)


def test_J12_bulk_streams_share() -> None:
    mux = Script(client=True)
    streams = bulk_streams(mux, 10, 200_000)
    mux.session.fill(10 * (limits.MUX_QUANTUM + 12))  # each one's first share, with its SYN
    sent = dict.fromkeys(streams, 0)
    for _ in range(20):
        data = mux.session.fill(65536)
        while data:
            _, _, stream, length = frame.parse(data[:12])
            sent[stream] += length
            data = data[12 + length :]
    assert max(sent.values()) - min(sent.values()) <= 2 * limits.MUX_QUANTUM


def test_J12_refilling_a_queue_each_turn_gains_nothing() -> None:
    """A stream that empties at every flush is bulk all the same: others have their turn between."""
    mux = Script(client=True)
    patient, greedy = bulk_streams(mux, 2, 240_000)
    mux.session.fill(2 * (limits.MUX_QUANTUM + 12))
    turns = []
    for _ in range(12):
        mux.session.write(greedy, b"g" * limits.MUX_QUANTUM)
        data = mux.session.fill(limits.MUX_QUANTUM + 12)
        turns.append(frame.parse(data[:12])[2])
    assert turns.count(patient) >= 5


def test_one_stream_alone_sends_large_frames() -> None:
    mux = Script(client=True)
    (one,) = bulk_streams(mux, 1, 200_000)
    mux.session.fill(65536)
    assert frame.parse(mux.session.fill(65536)[:12]) == (DATA, 0, one, 65536 - 12)


def test_no_crumbs_at_the_end_of_a_buffer() -> None:
    mux = Script(client=True)
    bulk_streams(mux, 2, 100_000)
    mux.session.fill(2 * (limits.MUX_QUANTUM + 12))
    assert len(mux.session.fill(limits.MUX_QUANTUM + 12 + 100)) == limits.MUX_QUANTUM + 12


def test_control_goes_first() -> None:
    mux = Script(client=True)
    bulk_streams(mux, 2, 100_000)
    mux.peer(PING, SYN, 0, 5)
    assert frame.parse(mux.session.fill(65536)[:12]) == (PING, ACK, 0, 5)


def test_a_turn_among_the_bulk_ones_with_nothing_left_to_send_is_no_frame() -> None:
    mux = Script(client=True)
    quick = mux.session.open(mux.now)
    mux.sent  # noqa: B018
    bulk = bulk_streams(mux, 2, 100_000)
    mux.session.fill(2 * (limits.MUX_QUANTUM + 12))
    mux.session.write(quick, b"quick")
    sent = mux.sent
    assert [f for f in sent if f.stream == quick] == [(DATA, 0, quick, b"quick")]
    for stream in bulk:
        rest = sum(len(f.body) for f in sent if f.stream == stream)  # type: ignore[arg-type]
        assert rest == 100_000 - limits.MUX_QUANTUM


def test_syns_with_data_wait_their_turn_for_ack_too() -> None:
    mux = Script(client=True)
    streams = bulk_streams(mux, limits.MAX_BACKLOG + 2, 5)
    assert [f.stream for f in mux.sent] == streams[:-2]
    mux.peer(WINDOW, ACK, streams[0])
    assert mux.sent == [(DATA, SYN, streams[-2], b"bbbbb")]
    mux.peer(WINDOW, RST, streams[1])
    assert mux.sent == [(DATA, SYN, streams[-1], b"bbbbb")]
