"""What a peer may not say (J01 J08 J09 J23), and floods (J06 J07 J10 J11)."""

import pytest

from _fastpath import frame, limits
from _fastpath.errors import WireError
from tests.kit.mux_script import (
    ACK,
    DATA,
    FIN,
    FIRST,
    NONE,
    PING,
    PROTOCOL_ERROR,
    RST,
    SECOND,
    SYN,
    WINDOW,
    WINDOW_SIZE,
    Build,
    Script,
    ends_session,
)

# -- J01, J08, J09, J23: what a peer may not say -------------------------------------------------


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


# -- J06, J07, J10, J11: floods ------------------------------------------------------------------


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
