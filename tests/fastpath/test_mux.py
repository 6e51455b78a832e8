"""One mux end against a scripted peer: section J. Scripts run whole, byte by byte and in sevens. (Rows by name: J02 J03 J04 J05.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from _fastpath import frame, limits
from _fastpath.errors import WireError
from tests.kit.mux_script import (
    ACK,
    ANY,
    DATA,
    FIN,
    FIRST,
    GOAWAY,
    NONE,
    PING,
    RST,
    SECOND,
    SYN,
    WINDOW,
    Script,
    frames,
)

WINDOW_SIZE = limits.INITIAL_WINDOW
PROTOCOL_ERROR = (GOAWAY, 0, 0, 1)


@pytest.fixture(params=[0, 1, 7], ids=["whole", "byte-by-byte", "sevens"])
def script(request: pytest.FixtureRequest) -> Callable[..., Script]:
    def build(**options: int | bool) -> Script:
        return Script(request.param, **options)  # type: ignore[arg-type]

    return build


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


# -- streams of the other side -----------------------------------------------------------------


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


# -- streams of ours ---------------------------------------------------------------------------


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


# -- windows -----------------------------------------------------------------------------------


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


# -- J01, J08, J09, J23: what a peer may not say ------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    {
        "version": (b"\x01" + bytes(11), "version"),
        "type": (frame.build(4, 0, 1, 0), "type"),
        "flags": (frame.build(DATA, 0x40, 1, 0), "flags"),
        "tls-alert": (b"\x15\x03\x03\x00\x02\x02\x28" + bytes(5), "version"),
    }.values(),
    ids=["version", "type", "flags", "tls-alert"],
)
def test_J01_protocol_error(script: Build, data: bytes, why: str) -> None:
    ends_session(script(), lambda m: m.raw(data), "link-protocol", why)


def test_J01_other_sessions_live_on(script: Build) -> None:
    first, second = script(), script()
    ends_session(first, lambda m: m.raw(b"\xff" * 12), "link-protocol", "version")
    second.peer(DATA, SYN, 1, b"x")
    assert second.events == [("opened", 1), ("data", 1, b"x")]


def test_J08_wrong_parity(script: Build) -> None:
    ends_session(script(), lambda m: m.peer(WINDOW, SYN, 2), "link-protocol", "to open")
    ends_session(script(client=True), lambda m: m.peer(WINDOW, SYN, 1), "link-protocol", "to open")


@pytest.mark.parametrize("kind", [DATA, WINDOW])
def test_J08_id_0(script: Build, kind: int) -> None:
    ends_session(script(), lambda m: m.peer(kind, 0, 0, 1), "link-protocol", "stream 0")


def test_J08_syn_on_an_open_stream(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1)
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 1), "link-protocol", "used before")


def test_J08_reused_id(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN | FIN, 1, b"x")
    mux.session.end(1)
    mux.sent  # noqa: B018
    mux.peer(WINDOW, SYN, 3)
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 1), "link-protocol", "used before")


def test_J08_ids_may_overtake_each_other_a_little(script: Build) -> None:
    """HashiCorp's client takes an id before the lock for its SYN: 3 may arrive before 1."""
    mux = script()
    mux.peer(WINDOW, SYN, 5).peer(WINDOW, SYN, 1).peer(WINDOW, SYN, 3).peer(WINDOW, SYN, 4095)
    mux.peer(WINDOW, SYN, 7)
    assert [e[1] for e in mux.events] == [5, 1, 3, 4095, 7]
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 3), "link-protocol", "used before")


def test_J08_an_id_too_old_to_remember(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 4097)
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 1), "link-protocol", "used before")


def test_J08_a_great_leap_forgets_nothing_it_must_know(script: Build) -> None:
    mux = script()
    mux.peer(WINDOW, SYN, 1).peer(WINDOW, SYN, 0xFFFFFFFF).peer(WINDOW, SYN, 0xFFFFFFFD)
    assert [e[1] for e in mux.events] == [1, 0xFFFFFFFF, 0xFFFFFFFD]
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 0xFFFFFFFF), "link-protocol", "used before")


@pytest.mark.parametrize("flags", [0, ACK, FIN, RST], ids=["plain", "ack", "fin", "rst"])
@pytest.mark.parametrize("kind", [DATA, WINDOW], ids=["data", "window"])
@pytest.mark.parametrize("stream", [1, 2, 9, 10])
def test_J09_frames_for_unknown_streams(script: Build, kind: int, flags: int, stream: int) -> None:
    mux = script()
    mux.peer(kind, flags, stream, b"body" if kind == DATA else 100)
    mux.peer(DATA, SYN, 11, b"next")
    assert mux.events == [("opened", 11), ("data", 11, b"next")]
    assert mux.session.state()["strays"] == 1
    assert mux.sent == [(WINDOW, ACK, 11, 0)]


def test_J09_data_after_fin(script: Build) -> None:
    mux = script()
    mux.peer(DATA, SYN | FIN, 1, b"x")
    ends_session(mux, lambda m: m.peer(DATA, 0, 1, b"y"), "link-protocol", "data after FIN")


def test_J23_a_connector_may_open_stream_1_only(script: Build) -> None:
    mux = script(accepts=FIRST)
    mux.peer(DATA, SYN, 1, b"register")
    assert mux.events == [("opened", 1), ("data", 1, b"register")]
    mux.sent  # noqa: B018
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 3), "link-role", "may not be opened")


@pytest.mark.parametrize("flags", [SYN, SYN | RST], ids=["syn", "syn-rst"])
def test_J23_not_even_first(script: Build, flags: int) -> None:
    ends_session(script(accepts=FIRST), lambda m: m.peer(WINDOW, flags, 3), "link-role", "stream 3")


def test_J23_nor_stream_1_again(script: Build) -> None:
    mux = script(accepts=FIRST)
    mux.peer(DATA, SYN | FIN, 1, b"x")
    mux.session.end(1)
    mux.sent  # noqa: B018
    ends_session(mux, lambda m: m.peer(WINDOW, SYN, 1), "link-role", "stream 1")


def test_J23_zero_accepts_nothing(script: Build) -> None:
    ends_session(script(accepts=NONE), lambda m: m.peer(WINDOW, SYN, 1), "link-role", "stream 1")


def test_J23_first_of_a_server(script: Build) -> None:
    mux = script(accepts=FIRST, client=True)
    mux.peer(WINDOW, SYN, 2)
    assert mux.events == [("opened", 2)]


# -- J06, J07, J10, J11: floods -----------------------------------------------------------------


def test_J06_syn_flood_without_accept() -> None:
    mux = Script()
    mux.session.claim = False
    flood = [frame.build(WINDOW, SYN, n, 0) for n in range(1, 200_001, 2)]
    refused = 0
    for at in range(0, len(flood), 5000):
        mux.raw(b"".join(flood[at : at + 5000]))
        sent = mux.sent
        assert all(f[:2] == (WINDOW, RST) for f in sent)
        refused += len(sent)
        state = mux.session.state()
        assert state["live"] == state["backlog"] == limits.MAX_BACKLOG
        assert (state["slots"], state["cells"], state["control"]) == (256, 512, 0), "memory is flat"
    assert refused == mux.session.state()["refused"] == 100_000 - limits.MAX_BACKLOG
    mux.session.accept(1)
    mux.raw(frame.build(WINDOW, SYN, 200_001, 0))
    assert mux.sent == [(WINDOW, ACK, 1, 0)], "a place in the backlog came free"
    assert mux.session.state()["refused"] == refused


def test_J06_stream_limit() -> None:
    mux = Script(max_streams=3)
    for number in (1, 3, 5, 7):
        mux.peer(WINDOW, SYN, number)
    assert mux.sent[0] == (WINDOW, RST, 7, 0)
    mux.session.reset(3)
    mux.peer(DATA, SYN, 9, b"x")
    assert ("data", 9, b"x") in mux.events


@pytest.mark.parametrize("how", ["two-frames", "one-frame", "with-data"])
def test_J07_rapid_reset(how: str) -> None:
    mux = Script()

    def pair(number: int) -> bytes:
        if how == "one-frame":
            return frame.build(WINDOW, SYN | RST, number, 0)
        body = b"GET" if how == "with-data" else b""
        return (
            frame.build(DATA, SYN, number, len(body)) + body + frame.build(WINDOW, RST, number, 0)
        )

    def flood(m: Script) -> None:
        for number in range(1, 200_001, 2):
            m.raw(pair(number))
            m.session.take()

    ends_session(mux, flood, "link-protocol", "reset as fast")
    assert mux.session.state()["opened"] <= limits.RAPID_RESETS + 1


def test_J07_the_budget_refills() -> None:
    mux = Script()
    number = 1
    for _ in range(30):
        for _ in range(limits.RAPID_RESETS_PER_SECOND):
            mux.peer(WINDOW, SYN, number).peer(WINDOW, RST, number)
            number += 2
        mux.now += SECOND
    assert not mux.session.state()["over"]


def test_J07_streams_that_were_accepted_may_be_reset(script: Build) -> None:
    """Users cancel: what we have acknowledged costs the other side a round trip."""
    mux = script()
    for number in range(1, 2 * 3000, 2):
        mux.peer(WINDOW, SYN, number)
        mux.sent  # noqa: B018 (our ACK leaves)
        mux.peer(WINDOW, RST, number)
    assert mux.session.state()["resets_in"] == 3000
    assert not mux.session.state()["over"]


def test_J10_ping_flood() -> None:
    mux = Script()
    for _ in range(100):
        mux.raw(frame.build(PING, SYN, 0, 7) * 1000)
    assert len(mux.sent) == limits.PING_ANSWERS
    assert mux.session.state()["pings_ignored"] == 100_000 - limits.PING_ANSWERS
    mux.now += SECOND
    mux.raw(frame.build(PING, SYN, 0, 8) * 1000)
    assert mux.sent == [(PING, ACK, 0, 8)] * limits.PING_ANSWERS_PER_SECOND


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


def test_J11_control_frames_pile_up() -> None:
    """The peer opens, is refused, and reads no answer."""
    mux = Script(max_streams=0)

    def flood(m: Script) -> None:
        for number in range(1, 40_001, 2):
            m.peer(WINDOW, SYN, number)

    with pytest.raises(WireError) as error:
        flood(mux)
    assert "pile up unread" in str(error.value)
    assert mux.sent == [PROTOCOL_ERROR]
    assert mux.session.state()["refused"] == limits.MAX_CONTROL // 12 + 1


def test_J11_window_updates_do_not_pile_up() -> None:
    """The peer sends and never reads: there is one pending update, however much it sent."""
    mux = Script()
    mux.peer(DATA, SYN, 1, b"x" * (WINDOW_SIZE // 2))
    mux.peer(DATA, 0, 1, b"x" * (WINDOW_SIZE // 2))
    assert mux.session.state()["control"] <= 12, "the ping of the window tuning"
    with pytest.raises(WireError, match="0 allowed"):
        mux.peer(DATA, 0, 1, b"x")


# -- J12: fairness -----------------------------------------------------------------------------


def bulk_streams(mux: Script, count: int, size: int) -> list[int]:
    streams = [mux.session.open(mux.now) for _ in range(count)]
    for stream in streams:
        mux.session.write(stream, b"b" * size)
    return streams


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


# -- back-pressure -----------------------------------------------------------------------------


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


# -- J13 and the clock -------------------------------------------------------------------------


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


# -- going away --------------------------------------------------------------------------------


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


# -- output is asked for once a turn -----------------------------------------------------------


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
