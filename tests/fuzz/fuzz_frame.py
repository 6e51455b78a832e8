"""Any bytes from the other side of a link: the session lives or ends with one WireError.

Whatever comes: streams, control frames and windows stay in bounds; a stream's story reads opened,
data, ended, then reset or closed, or stops before; only whole, valid frames go out; how the bytes
are cut changes nothing; after lost() nothing is left. The first byte chooses role, policy, cuts."""

from _fastpath import frame, limits
from _fastpath.errors import WireError
from _fastpath.session import Session

TOKENS = [
    frame.build(kind, flags, stream, length)
    for kind, flags, stream, length in [
        (0, 1, 1, 5),
        (0, 0, 1, 3),
        (0, 4, 1, 0),
        (0, 1, 2, 0),
        (0, 2, 2, 4),
        (0, 0, 2, 1),
        (1, 1, 3, 0),
        (1, 8, 1, 0),
        (1, 8, 2, 0),
        (1, 2, 2, 0),
        (1, 4, 2, 9),
        (1, 0, 1, 0x7FFFFFFF),
        (1, 0, 2, 0xFFFFFFFF),
        (0, 0, 1, 0x40001),
        (2, 1, 0, 7),
        (2, 2, 0, 1),
        (3, 0, 0, 0),
        (3, 0, 0, 1),
    ]
]
STREAMS = 8
BEGIN = 1_000_000


def fuzz(data: bytes) -> None:
    mode, data = (data[0], data[1:]) if data else (0, b"")
    cut = (0, 1, 2, 5, 12, 13, 100, 1000)[mode >> 4 & 7]
    if mode & 0x80:
        run(data, mode, cut, acting=True)
    else:
        assert run(data, mode, cut) == run(data, mode, 0), "the cutting changed what was said"


def run(data: bytes, mode: int, cut: int, *, acting: bool = False) -> list[tuple[object, ...]]:
    """Feed data to a new session, check everything, and return what it said."""
    session = Session(bool(mode & 1), (2, 1, 0, 2)[mode >> 1 & 3], STREAMS, BEGIN)
    session.hold = bool(mode & 8)
    told: list[tuple[object, ...]] = []
    now = BEGIN
    mine = [session.open(now), session.open(now)]
    for stream in mine:
        session.write(stream, b"hello" * 100)
    session.reset(mine[1])
    check(session, told)
    size = cut or len(data) or 1
    try:
        for at in range(0, len(data), size):
            session.feed(data[at : at + size], now)
            if acting:
                now += data[at] * 10_000
                act(session, data[at], mine)
                session.tick(now)
                check(session, told)
    except WireError as error:
        assert session.state()["over"] or error.reason == "buffer-full"
    check(session, told)
    session.lost()
    check(session, told)
    assert session.state()["live"] == session.state()["link_queued"] == 0
    stories(told, mine[0])
    return joined(told)


def act(session: Session, what: int, mine: list[int]) -> None:
    """Do something that an owner may do."""
    stream = (what >> 3) + 1 if what & 1 else mine[0]
    if not session.knows(stream):
        return
    match what & 7:
        case 0 | 1:
            session.write(stream, b"x" * (what * 100))
        case 2 | 3:
            session.end(stream)
        case 4 | 5:
            session.consumed(stream, session.stream(stream)["held"])
        case 6:
            session.reset(stream)
        case 7:
            session.goaway(0)


def check(session: Session, told: list[tuple[object, ...]]) -> None:
    while session.wants_send():
        sent = session.fill(4096)
        if not sent:
            break
        while sent:
            kind, _, _, length = frame.parse(sent[:12])
            sent = sent[12 + (length if kind == 0 else 0) :]
    told += session.take()
    state = session.state()
    assert state["live"] <= STREAMS
    assert state["control"] <= limits.MAX_CONTROL
    assert state["backlog"] <= STREAMS
    assert state["unacked"] <= STREAMS
    assert 0 <= state["grown"] <= limits.MAX_LINK_GROWTH
    assert state["slots"] <= STREAMS


def stories(told: list[tuple[object, ...]], mine: int) -> None:
    """A stream is opened once, says nothing after FIN, and nothing at all after its last call."""
    states = {mine: "open"}
    for name, stream, *_ in told:
        before = states.get(stream)  # type: ignore[call-overload]
        match name:
            case "opened":
                assert before is None
                states[stream] = "open"  # type: ignore[index]
            case "data":
                assert before == "open"
            case "ended":
                assert before == "open"
                states[stream] = "ended"  # type: ignore[index]
            case "reset":
                assert before in ("open", "ended")
                states[stream] = "gone"  # type: ignore[index]
            case "closed":
                assert before == "ended"
                states[stream] = "gone"  # type: ignore[index]
            case "writable":
                assert before in ("open", "ended")
            case _:
                assert name in ("pong", "goaway")


def joined(told: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Neighbouring data of one stream in one piece."""
    out: list[tuple[object, ...]] = []
    for event in told:
        if event[0] == "data" and out and out[-1][:2] == event[:2]:
            out[-1] = (*event[:2], out[-1][2] + event[2])  # type: ignore[operator]
        else:
            out.append(event)
    return out
