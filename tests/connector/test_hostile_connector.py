"""A hostile connector on a real link: its own certificate and registration, then section J raw.

Each time: the edge ends that link (or shrugs), says why in its log, and serves the tunnel next
door; what it keeps in memory for the link stays small."""

import asyncio
import logging
import os
import struct
from collections.abc import Callable

import pytest

from _fastpath import limits
from _fastpath.errors import reason_of
from edge.server import registrar
from edge.wire import messages as wire
from tests.kit.hostile_connector import (
    ACK,
    DATA,
    FIN,
    GOAWAY,
    PING,
    RST,
    SYN,
    WINDOW,
    Hostile,
    frame,
    hostile,
)
from tests.kit.tunnel_edge import Origin, TunnelEdge, connector, on_uvloop, tunnel_edge, until

MIB = 1 << 20


def resident() -> int:
    """Bytes of memory that this process (the edge) has."""
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def next_door(edge: TunnelEdge, tunnel: str) -> None:
    """The other tunnel answers a request, and quickly."""
    async with asyncio.timeout(2):
        _, answer, lost = await edge.request(tunnel, "door.test")
    assert answer.endswith(b"door GET / HTTP/1.1\n"), lost


def far(liar: Hostile) -> Hostile:
    """Open stream 2 from the edge's side is taken for granted: accept it with status 0."""
    return liar.raw(frame(DATA, ACK, 2, b"\x00"))


ENDS = {  # what is sent, and what the log says of it
    "J01-garbage": (lambda liar: liar.raw(b"\xff" * 64), "version is not 0"),
    "J01-type": (lambda liar: liar.raw(frame(9, 0, 1)), "unknown frame type"),
    "J01-flags": (lambda liar: liar.raw(frame(DATA, 0x40, 2)), "unknown flags"),
    "J03-window-of-2^32": (
        lambda liar: far(liar).raw(frame(WINDOW, 0, 2, length=0xFFFFFFFF)),
        "the send window overflows",
    ),
    "J03-window-by-steps": (
        lambda liar: liar.raw(frame(WINDOW, 0, 2, length=0x7FFFFFFF) * 3),
        "the send window overflows",
    ),
    "J04-beyond-the-window": (
        lambda liar: far(liar).raw(frame(DATA, 0, 2, length=limits.INITIAL_WINDOW + 1)),
        "allowed",
    ),
    "J05-4-GiB": (lambda liar: liar.raw(frame(DATA, 0, 2, length=0xFFFFFFFF)), "allowed"),
    "J08-stream-1-again": (lambda liar: liar.raw(frame(WINDOW, SYN, 1)), "may not be opened"),
    "J08-the-edge's-own-id": (lambda liar: liar.raw(frame(WINDOW, SYN, 2)), "to open"),
    "J08-data-on-0": (lambda liar: liar.raw(frame(DATA, 0, 0, b"x")), "stream 0"),
    "J09-data-after-fin": (
        lambda liar: far(liar).raw(frame(DATA, FIN, 2)).raw(frame(DATA, 0, 2, b"more")),
        "data after FIN",
    ),
    "J23-stream-3": (lambda liar: liar.raw(frame(WINDOW, SYN, 3)), "may not be opened"),
    "stream-1-ended": (lambda liar: liar.raw(frame(DATA, FIN, 1)), "the control stream was ended"),
    "goaway-for-an-error": (lambda liar: liar.raw(frame(GOAWAY, 0, 0, length=1)), "with code 1"),
    "a-message-of-2-MiB": (
        lambda liar: liar.raw(frame(DATA, 0, 1, struct.pack(">I", 2 * MIB))),
        "control message too long",
    ),
    "J07-rapid-reset-of-its-own": (
        lambda liar: liar.raw(
            b"".join(frame(WINDOW, SYN, n) + frame(WINDOW, RST, n) for n in range(3, 4003, 2))
        ),
        "may not be opened",
    ),
}


@pytest.mark.parametrize(("attack", "why"), ENDS.values(), ids=ENDS)
@on_uvloop
async def test_the_link_ends_and_the_log_says_why(
    attack: Callable[[Hostile], object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with tunnel_edge() as edge, Origin("door") as origin:
        office, other = edge.tunnel("wiki.test"), edge.tunnel("door.test", name="other")
        async with connector(edge.credential(other), f"- service: {origin.url}"):
            await edge.serving(other)
            async with hostile(edge, office) as liar:
                await edge.serving(office)
                _, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None
                probe.write(b"GET / HTTP/1.1\r\n\r\n")
                await until(lambda: liar.headers)
                attack(liar)
                await until(lambda: liar.lost and not edge.accepted_links(office))
                assert why in caplog.text
                assert probe.lost, "the request hears of it at once"
                await next_door(edge, other)


SHRUGS = {  # what costs the edge nothing but reading it
    "J09-fins": frame(DATA, FIN, 998) + frame(WINDOW, FIN, 999),
    "J09-resets": frame(WINDOW, RST, 998) + frame(WINDOW, RST, 5),
    "J09-data": frame(DATA, 0, 998, b"x" * 100),
    "J09-acks": frame(WINDOW, ACK, 996),
    "J10-pings": frame(PING, SYN, 0, length=7),
    "J10-answers-to-nothing": frame(PING, ACK, 0, length=77),
    "empty-data-on-the-control-stream": frame(DATA, 0, 1),
    "grants-of-nothing": frame(WINDOW, 0, 1),
}


@pytest.mark.parametrize("piece", SHRUGS.values(), ids=SHRUGS)
@on_uvloop
async def test_a_flood_costs_no_memory_and_disturbs_nobody(piece: bytes) -> None:
    async with tunnel_edge() as edge, Origin("door") as origin:
        office, other = edge.tunnel("wiki.test"), edge.tunnel("door.test", name="other")
        async with connector(edge.credential(other), f"- service: {origin.url}"):
            await edge.serving(other)
            async with hostile(edge, office) as liar:
                await edge.serving(office)
                before = resident()
                for _ in range(20):
                    liar.raw(piece * 2500)
                    await liar.writer.drain()
                    await next_door(edge, other)
                assert liar.pongs <= limits.PING_ANSWERS + 30 * limits.PING_ANSWERS_PER_SECOND
                assert resident() - before < 8 * MIB
                assert len(edge.accepted_links(office)) == 1, "an honest fool keeps its link"


@on_uvloop
async def test_J11_who_never_reads_is_held_in_bounds_and_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """200 uploads towards a connector that grants everything and reads nothing."""
    async with tunnel_edge() as edge, Origin("door") as origin:
        office, other = edge.tunnel("wiki.test"), edge.tunnel("door.test", name="other")
        async with connector(edge.credential(other), f"- service: {origin.url}"):
            await edge.serving(other)
            async with hostile(edge, office) as liar:
                await edge.serving(office)
                probes = [edge.links.probe(office, "wiki.test", "/")[1] for _ in range(200)]
                await until(lambda: len(liar.headers) == 200)
                liar.stop_reading()
                for number in range(2, 402, 2):
                    liar.raw(frame(WINDOW, ACK, number, length=1 << 30))
                await next_door(edge, other)
                before = resident()
                for probe in probes:
                    while probe is not None and not probe.full():
                        probe.write(bytes(16384))
                for _ in range(3):
                    liar.raw(frame(PING, SYN, 0, length=7) * 1000)
                    await next_door(edge, other)
                assert resident() - before < limits.LINK_HIGH_WATER + 40 * MIB
                # It talks, so it isn't dead; but told to go, it goes, though it takes no goodbye.
                edge.links.of(office)[0].close("link-revoked")
                _, _, why = await edge.request(office)
                assert why == "unresolved", "no request goes to a link that is being closed"
                await until(lambda: not edge.accepted_links(office), 4.0)
                assert all(probe is not None and probe.lost == "link-revoked" for probe in probes)
                await next_door(edge, other)


@on_uvloop
async def test_goaway_then_data() -> None:
    """What was open goes on; nothing new is opened there."""
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            await until(lambda: liar.headers)
            liar.raw(frame(GOAWAY, 0, 0)).raw(frame(DATA, ACK, 2, b"\x00late"))
            await probe.until(lambda one: one.received == b"late")
            found, again = edge.links.probe(office, "wiki.test", "/")
            assert again is None and found["link"] == 0
            liar.raw(frame(DATA, 0, 2, b" and later"))
            await probe.until(lambda one: one.received == b"late and later")
            liar.raw(frame(GOAWAY, 0, 0) * 1000).raw(frame(DATA, FIN, 2))
            await probe.until(lambda one: one.ended)
            assert probe.ended


@on_uvloop
async def test_one_refusal_however_much_more_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Each message over the rate would cost a log line, an event and an answer."""
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            for version in range(2, 2000):
                liar.say(wire.Table(version, ({"index": 0, "service": "http://a:1"},)))
            await until(lambda: liar.lost)
            refusals = [e for e in edge.events if e["kind"] == "tunnel.link.refused"]
            assert len(refusals) == 1
            assert caplog.text.count("refused: link-protocol") == 1
            assert sum(isinstance(one, wire.Refused) for one in liar.messages) == 1


@on_uvloop
async def test_half_open_links_are_closed_and_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake and half a message, 50 times: gone when the time to register is over."""
    monkeypatch.setattr(registrar, "REGISTER_WITHIN", 0.5)
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        links = [hostile(edge, office, register=False) for _ in range(50)]
        liars = [await one.__aenter__() for one in links]
        for liar in liars:
            liar.raw(frame(DATA, SYN, 1, b"\x00\x00\x10\x00half"))
        await until(lambda: all(liar.lost for liar in liars))
        assert edge.links.all() == []
        for one in links:
            await one.__aexit__(None, None, None)


@on_uvloop
async def test_streams_that_wait_in_a_pool_make_room() -> None:
    """A link full of idle streams takes a new one; the one that is idle for longest goes."""
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            liar.answers = b"\x00"
            await edge.serving(office)
            probes = []
            for number in range(limits.MAX_STREAMS - 1):
                found, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None, number
                probes.append(probe)
                if number % 200 == 0:  # 256 of ours may wait for their ACK
                    await until(lambda: len(liar.headers) == len(probes))
            await until(lambda: len(liar.headers) == len(probes))
            found, probe = edge.links.probe(office, "wiki.test", "/")
            assert (probe, edge.links.of(office)[0].streams) == (None, limits.MAX_STREAMS - 1)
            assert reason_of(found["reason"]) == "tunnel-streams"
            for one in probes[10:13]:
                one.rest()
            probes[10].write(b"in use again")
            for _ in range(2):
                _, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None
            assert [probes[n].lost for n in (10, 11, 12)] == ["", "closed", "closed"]
            assert not any(one.lost for one in probes[:10] + probes[13:])
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is None
            await until(lambda: {24, 26} <= liar.resets)  # ids of the 12th and 13th
