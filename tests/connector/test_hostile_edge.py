"""A hostile edge against a connector: what it says ends its link at most, never the connector, and
nothing outside of the connector's own file is ever dialled."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from _fastpath import limits
from edge.wire import messages as wire
from tests.kit.hostile_connector import DATA, GOAWAY, PING, SYN, WINDOW, frame
from tests.kit.hostile_edge import Liar, hostile_edge
from tests.kit.tunnel_edge import Origin, connector, on_uvloop, until

GOOD = {"version": 1, "index": 0}

ENDS: dict[str, tuple[Callable[[Liar], object], str]] = {
    "garbage": (lambda liar: liar.raw(b"\xff" * 64), "version is not 0"),
    "window-of-2^32": (
        lambda liar: liar.raw(frame(WINDOW, 0, 1, length=0xFFFFFFFF)),
        "the send window overflows",
    ),
    "beyond-the-window": (
        lambda liar: liar.ask(2, GOOD).raw(frame(DATA, 0, 2, length=1 << 20)),
        "allowed",
    ),
    "J02-syn-with-more-than-a-window": (
        lambda liar: liar.raw(frame(DATA, SYN, 2, length=limits.INITIAL_WINDOW + 1)),
        "larger than its window",
    ),
    "the-connector's-own-id": (lambda liar: liar.raw(frame(WINDOW, SYN, 3)), "to open"),
    "an-id-twice": (
        lambda liar: liar.raw(frame(WINDOW, SYN, 2) * 2),
        "used before",
    ),
    "a-header-of-64-KiB": (
        lambda liar: liar.raw(frame(DATA, SYN, 2, b"\xff\xff")),
        "stream header too long",
    ),
    "a-message-of-4-GiB": (
        lambda liar: liar.raw(frame(DATA, 0, 1, b"\xff\xff\xff\xff")),
        "control message too long",
    ),
    "no-message": (lambda liar: liar.raw(frame(DATA, 0, 1, b"\0\0\0\1\xc1")), ""),
    "goaway-for-an-error": (lambda liar: liar.raw(frame(GOAWAY, 0, 0, length=2)), "with code 2"),
}


@pytest.mark.parametrize(("attack", "why"), ENDS.values(), ids=ENDS)
@on_uvloop
async def test_the_link_ends_and_the_next_one_serves(
    attack: Callable[[Liar], object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with hostile_edge() as edge, Origin("wiki") as origin:
        edge.then = lambda liar: attack(liar) if len(edge.links) == 1 else None
        async with connector(edge.credentials(), f"- service: {origin.url}"):
            await until(lambda: len(edge.links) == 2)
            assert why in caplog.text
            await until(lambda: edge.links[0].lost)
            edge.links[1].ask(2, GOOD, b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: edge.links[1].streams.get(2, b"").endswith(b"HTTP/1.1\n"))


@on_uvloop
async def test_ten_thousand_streams_dial_nothing_that_the_file_does_not_name() -> None:
    headers: list[dict[str, object]] = [
        {"version": 1, "index": 7},
        {"version": 9, "index": 0},
        {"version": [1], "index": {}},
        {"service": "http://127.0.0.1:22"},
    ]
    async with (
        hostile_edge() as edge,
        Origin("wiki") as origin,
        connector(edge.credentials(), f"- service: {origin.url}") as daemon,
    ):
        await until(lambda: edge.links)
        liar, number = edge.links[0], 0
        for _ in range(100):
            for _ in range(100):
                number += 2
                liar.ask(number, headers[number // 2 % 4])
            await until(lambda upto=number: len(liar.refused) == upto // 2)  # type: ignore[misc]
            for stream in range(number - 198, number + 2, 2):
                liar.raw(frame(DATA, 4, stream))  # FIN: the stream is over
        assert set(liar.refused.values()) == {"tunnel-table-unknown"}
        assert origin.connections == 0
        link = daemon.lanes[0].link
        await until(lambda: link is not None and link.streams == 0)
        liar.ask(number + 2, GOOD, b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: liar.streams.get(number + 2, b"").endswith(b"HTTP/1.1\n"))


@on_uvloop
async def test_more_streams_than_a_link_may_carry_are_reset() -> None:
    """J06: half a header on each: as many as a link may carry are held, the rest is reset; no origin is dialled."""
    async with (
        hostile_edge() as edge,
        Origin("wiki") as origin,
        connector(edge.credentials(), f"- service: {origin.url}") as daemon,
    ):
        await until(lambda: edge.links)
        liar = edge.links[0]
        for number in range(2, 2 * 6000, 2):
            liar.raw(frame(DATA, SYN, number, b"\x0f"))
        await until(lambda: len(liar.resets) == 5999 - (limits.MAX_STREAMS - 1))
        link = daemon.lanes[0].link
        assert link is not None and link.streams == limits.MAX_STREAMS - 1
        assert origin.connections == 0


@on_uvloop
async def test_ping_flood_gets_few_answers() -> None:
    async with (
        hostile_edge() as edge,
        Origin("wiki") as origin,
        connector(edge.credentials(), f"- service: {origin.url}"),
    ):
        await until(lambda: edge.links)
        edge.links[0].raw(frame(PING, SYN, 0, length=7) * 50_000)
        edge.links[0].ask(2, GOOD, b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: edge.links[0].streams.get(2, b"").endswith(b"HTTP/1.1\n"))
        assert edge.links[0].pongs < limits.PING_ANSWERS + 10 * limits.PING_ANSWERS_PER_SECOND


@pytest.mark.parametrize("then", ["leave", "close"])
@on_uvloop
async def test_accepted_and_sent_away_in_one_breath(then: str) -> None:
    """Neither ends the connector, and an edge that does it every time isn't dialled in a loop."""

    def away(liar: Liar) -> None:
        if then == "leave":
            liar.say(wire.Drain(30.0, "stopping"))
        else:
            liar.raw(frame(GOAWAY, 0, 0, length=1))

    async with hostile_edge() as edge, Origin("wiki") as origin:
        edge.then = away
        async with connector(edge.credentials(), f"- service: {origin.url}"):
            await until(lambda: edge.links)
            await asyncio.sleep(1.0)
            assert len(edge.links) <= 6
            edge.then = lambda liar: None
            await until(lambda: not edge.links[-1].lost and edge.links[-1].messages[1:])
            edge.links[-1].ask(2, GOOD, b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: edge.links[-1].streams.get(2, b"").endswith(b"HTTP/1.1\n"))


@pytest.mark.parametrize(
    ("certificate", "anchors"), [(b"no certificate", b""), (None, b"\xff\xfe"), (None, b"none")]
)
@on_uvloop
async def test_a_certificate_that_is_none_is_asked_for_again(
    certificate: bytes | None, anchors: bytes
) -> None:
    async with hostile_edge() as edge, Origin("wiki") as origin:
        edge.certificate, edge.anchors = certificate, anchors
        async with connector(edge.credentials(), f"- service: {origin.url}") as daemon:
            await until(lambda: daemon.lanes[0]._failures)
            edge.certificate, edge.anchors = None, b""
            await until(lambda: daemon.ready_links() or edge.links)
            assert daemon.credentials.anchors == edge.ca.certificate.decode()


@on_uvloop
async def test_tables_pushed_in_a_flood_are_few_in_memory() -> None:
    async with hostile_edge() as edge, Origin("wiki") as origin:
        entry = {"service": origin.url}
        async with connector(
            edge.credentials(), f"- service: {origin.url}", allow=_allowing(origin)
        ) as daemon:
            await until(lambda: edge.links)
            for version in range(2, 502):
                edge.links[0].say(wire.Config(version, (entry,)))
            await until(
                lambda: any(
                    isinstance(one, wire.Configured) and one.version == 501
                    for one in edge.links[0].messages
                )
            )
            assert len(daemon.tables._kept) <= 101


def _allowing(origin: Origin) -> tuple[object, ...]:
    from tests.kit.tunnel_edge import settings

    return settings(f"- service: {origin.url}\nallow: ['{origin.url}']").allow
