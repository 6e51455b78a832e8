"""Real links on loopback: connector and edge over TLS, section J from J14 on."""

import asyncio
import signal
import time
from datetime import timedelta
from pathlib import Path

import msgpack
import pytest
from cryptography import x509

from _fastpath.errors import reason_of
from edge.connector.daemon import Daemon
from edge.connector.tables import NotInTable
from edge.identity import authority
from edge.server import registrar
from edge.server.link_state import MESSAGES_PER_MINUTE
from edge.wire import messages as wire
from tests.kit.hostile_connector import ACK, DATA, SYN, frame, hostile
from tests.kit.tunnel_edge import (
    ConnectorProcess,
    Origin,
    TunnelEdge,
    connector,
    on_uvloop,
    settings,
    tunnel_edge,
    until,
)


class Asked:
    """A stream as the daemon sees it, to ask with headers that no edge of ours writes."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.refusal = ""

    def refuse(self, reason: str, text: str = "") -> None:
        self.refusal = reason


@on_uvloop
async def test_one_request_through_the_tunnel() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            found, answer, lost = await edge.request(office)
            assert answer.endswith(b"wiki GET / HTTP/1.1\n"), (found, lost)
            assert daemon.ready_links() == 1


# -- J14: hostnames of somebody else's tunnel ------------------------------------------------------


@on_uvloop
async def test_J14_foreign_hostname_is_never_served_and_reported_back() -> None:
    async with tunnel_edge() as edge, Origin("a") as a, Origin("b") as b:
        mine = edge.tunnel("a.test", name="a")
        other = edge.tunnel("b.test", name="b")
        rules = f"- {{hostname: b.test, service: '{a.url}'}}\n- service: {a.url}"
        async with (
            connector(edge.credential(mine), rules) as daemon,
            connector(edge.credential(other), f"- service: {b.url}"),
        ):
            await edge.serving(mine)
            await edge.serving(other)
            _, answer, _ = await edge.request(other, "b.test")
            assert answer.endswith(b"b GET / HTTP/1.1\n")
            assert a.requests == []
            link = edge.accepted_links(mine)[0]
            assert link.user.unrouted == ("b.test",)
            assert [one for one in edge.events if one["kind"] == "tunnel.hostname.unrouted"] == [
                {
                    "kind": "tunnel.hostname.unrouted",
                    "tunnel": mine,
                    "replica": daemon.replica,
                    "hostnames": ["b.test"],
                }
            ]


@on_uvloop
async def test_hostnames_that_nobody_routes_are_logged_once_not_for_each_link(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def said() -> list[str]:
        return [one.getMessage() for one in caplog.records if "routes none" in one.getMessage()]

    async with tunnel_edge() as edge, Origin("a") as a:
        mine = edge.tunnel("a.test")
        rules = f"- {{hostname: b.test, service: '{a.url}'}}\n- service: {a.url}"
        async with connector(edge.credential(mine), rules, links=3) as daemon:
            await until(lambda: daemon.ready_links() == 3)
            assert said() == ["the edge routes none of these hostnames here: b.test"]
            daemon.unrouted(())
            daemon.unrouted(("b.test",))
            assert len(said()) == 2, "and again when it comes to be so again"


@on_uvloop
async def test_J14_hostname_outside_the_credential_refuses_the_table() -> None:
    async with tunnel_edge() as edge, Origin("a") as a:
        mine = edge.tunnel("a.test", "b.test")
        rules = f"- {{hostname: b.test, service: '{a.url}'}}\n- service: {a.url}"
        async with connector(edge.credential(mine, "a.test"), rules) as daemon:
            await until(lambda: edge.events)
            assert edge.events[0]["reason"] == "hostname-outside-credential"
            assert edge.accepted_links(mine)[0].table is None
            found, _, lost = await edge.request(mine, "a.test")
            assert (reason_of(found["reason"]), lost) == ("tunnel-table-unknown", "unresolved")
            assert daemon.ready_links() == 0


@on_uvloop
async def test_J14_a_limited_credential_takes_no_rule_for_every_hostname() -> None:
    async with tunnel_edge() as edge, Origin("a") as a:
        mine = edge.tunnel("a.test", "b.test")
        async with connector(edge.credential(mine, "a.test"), f"- service: {a.url}"):
            await until(lambda: edge.events)
            assert edge.events[0]["reason"] == "hostname-outside-credential"
            found, _, _ = await edge.request(mine, "b.test")
            assert reason_of(found["reason"]) == "tunnel-table-unknown"
            assert a.requests == []


@on_uvloop
@pytest.mark.parametrize("rest", ["http_status:404", "hello_world"])
async def test_J14_a_limited_credential_may_end_with_what_the_edge_answers(rest: str) -> None:
    async with tunnel_edge() as edge, Origin("a") as a:
        mine = edge.tunnel("a.test", "b.test")
        rules = f"- {{hostname: a.test, service: '{a.url}'}}\n- service: {rest}"
        async with connector(edge.credential(mine, "a.test"), rules):
            await edge.serving(mine)
            _, answer, _ = await edge.request(mine, "a.test")
            assert answer.endswith(b"a GET / HTTP/1.1\n")


def limited(edge: TunnelEdge, tunnel: str, *hostnames: str) -> tuple[bytes, bytes]:
    """Return a link certificate under a credential for these hostnames alone, and its key."""
    key = authority.new_key()
    certificate = authority.issue_link(
        edge.ca, request=authority.new_request(key), tunnel=tunnel, hostnames=hostnames,
        credential=edge.credential(tunnel, *hostnames).credential, now=authority.utc_now(),
    )  # fmt: skip
    return certificate, key


A_ONLY = {"index": 0, "hostname": "a.test", "service": "http://127.0.0.1:1"}
REST = {"index": 1, "service": "http_status:200"}


@on_uvloop
@pytest.mark.parametrize("rest", [(), (REST,), ({**REST, "path": "^/"},)])
async def test_J14_a_limited_credential_answers_for_and_denies_its_own_hostnames_only(
    rest: tuple[dict, ...],
) -> None:
    """Two connectors of one tunnel; the cheapest link's table has no say about b.test."""
    async with tunnel_edge(workers=2) as edge:
        office = edge.tunnel("a.test", "b.test")
        async with hostile(edge, office), hostile(
            edge, office, identity=limited(edge, office, "a.test")
        ) as liar:
            await edge.serving(office)
            liar.say(wire.Table(2, (A_ONLY, *rest)))
            await edge.serving(office, 2)
            here = [registrar.links for registrar in edge.registrars]
            good = next(n for n in (0, 1) if here[n].of(office)[0].table.version == 1)
            bad = 1 - good
            # each worker has one of the two links, and knows the other by what its sibling told
            await until(lambda: here[good].explain(office, "a.test", "/")["link"])
            await until(lambda: here[bad].explain(office, "b.test", "/")["relayed"])
            for path in ("/", "/other"):
                found = here[bad].explain(office, "b.test", path)
                assert (found["kind"], found["version"], found["relayed"]) == (1, 1, True)
            assert here[bad].explain(office, "a.test", "/")["version"] == 2
            await until(lambda: len(here[good].all_siblings()[0].known()) == 1)
            here[good].of(office)[0].drain()  # b.test: only the limited one is left, and it has no say
            found = here[good].explain(office, "b.test", "/")
            assert reason_of(found["reason"]) == "tunnel-service-missing"


@on_uvloop
async def test_J14_the_cheapest_link_that_has_the_host_is_taken() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("a.test", "b.test")
        b_only = {"index": 0, "hostname": "b.test", "service": "http://127.0.0.1:1"}
        async with hostile(edge, office) as one, hostile(edge, office) as two:
            await edge.serving(office, 2)
            first, second = edge.accepted_links(office)
            busy = [edge.links.probe(office, "a.test", "/")[1] for _ in range(8)]
            assert all(busy)
            one.say(wire.Table(2, (A_ONLY,)))
            two.say(wire.Table(2, (A_ONLY,)))
            await edge.serving(office, 2, version=2)
            found = edge.links.explain(office, "b.test", "/")
            assert (found["kind"], reason_of(found["reason"])) == (0, "tunnel-service-missing")
            for liar, link in ((one, first), (two, second)):
                liar.say(wire.Table(3 if link is first else 4, (b_only,)))
                await until(lambda link=link: link.table.version > 2)
                if link is first:
                    assert edge.links.explain(office, "b.test", "/")["link"] == first.number
                    assert edge.links.explain(office, "a.test", "/")["link"] == second.number
            found = edge.links.explain(office, "a.test", "/")
            assert reason_of(found["reason"]) == "tunnel-service-missing"


# -- J15: replicas ---------------------------------------------------------------------------------


@on_uvloop
async def test_J15_two_replicas_one_dies_and_nothing_fails() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        rule = f"- service: {origin.url}"
        async with connector(made, rule), connector(made, rule) as second:
            await edge.serving(office, 2)
            replicas = {link.user.replica for link in edge.accepted_links(office)}
            assert len(replicas) == 2
            for lane in second.lanes:
                lane.link.abort("link-lost")
            for _ in range(20):
                _, answer, lost = await edge.request(office)
                if not answer:  # its bytes had begun to flow on the link that died
                    assert lost == "link-lost"
                await asyncio.sleep(0)
            await until(lambda: len(edge.accepted_links(office)) >= 1)
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"\n")


@on_uvloop
async def test_connector_killed_is_down_within_a_second(tmp_path: Path) -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        config = f"metrics: 127.0.0.1:0\nlinks: 2\ningress:\n- service: {origin.url}\n"
        process = await ConnectorProcess(tmp_path, edge.credential(office), config).start()
        await edge.serving(office, 2)
        _, answer, _ = await edge.request(office)
        assert answer.endswith(b"\n")
        begun = time.monotonic()
        await process.stop(signal.SIGKILL)
        await until(lambda: not edge.accepted_links(office))
        assert time.monotonic() - begun < 1.0
        found, _, _ = await edge.request(office)
        assert reason_of(found["reason"]) == "tunnel-down"


@on_uvloop
async def test_connector_comes_back_within_two_seconds_of_a_cut() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            edge.accepted_links(office)[0].abort("link-lost")
            begun = time.monotonic()
            await until(lambda: not edge.accepted_links(office))
            await edge.serving(office)
            assert time.monotonic() - begun < 2.0


# -- J16, J17: revocation --------------------------------------------------------------------------


@on_uvloop
async def test_J16_revoked_while_connected_is_cut() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        async with connector(made, f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            edge.revoke("credential", made.credential)
            await until(lambda: not edge.accepted_links(office), 5)
            await until(lambda: daemon.lanes[0].refusal is not None)
            refusal = daemon.lanes[0].refusal
            assert (refusal.reason, refusal.final) == ("link-revoked", True)


@on_uvloop
async def test_J17_credential_replayed_after_rotation_is_refused() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        old, new = edge.credential(office), edge.credential(office)
        edge.revoke("credential", old.credential)
        rule = f"- service: {origin.url}"
        async with connector(old, rule), connector(new, rule):
            await edge.serving(office)
            await until(lambda: any(e["reason"] == "link-revoked" for e in edge.events))
            assert len(edge.accepted_links(office)) == 1
            assert edge.asked[0]["credential"] == new.credential  # the old one asked for nothing


# -- J18, J19: a connector that lies ---------------------------------------------------------------


@on_uvloop
async def test_J18_bytes_on_a_stream_that_was_not_opened_reach_nobody() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            probe.write(b"GET / HTTP/1.1\r\nHost: wiki.test\r\n\r\n")
            await until(lambda: liar.headers)
            # an answer for streams that the edge never opened, or opened for somebody else's turn
            liar.raw(frame(DATA, 0, 4, b"\x00stolen")).raw(frame(DATA, 0, 998, b"\x00stolen"))
            liar.raw(frame(DATA, ACK, 2, b"\x00mine\n"))
            await probe.until(lambda one: one.received.endswith(b"\n"))
            assert probe.received == b"mine\n"
            assert edge.accepted_links(office)


# -- J20, J24: only what the connector's own file says ---------------------------------------------


@on_uvloop
async def test_J20_the_edge_can_only_name_an_index() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin, Origin("secret") as secret:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            link = daemon.lanes[0].link
            for header in (
                {"version": 1, "index": 7},
                {"version": 1, "index": -1},
                {"version": 1, "index": "0"},
                {"version": 1, "service": "http://127.0.0.1:22"},
                {"version": 1, "index": 0.5},
                {"index": 0},
                {"version": 1, "index": 1, "service": f"http://127.0.0.1:{secret.port}"},
                {"version": 1, "index": 1, "host": "169.254.169.254", "port": 80},
            ):
                inbound = Asked(msgpack.packb(header))
                daemon.serve(link, inbound)
                assert inbound.refusal == "tunnel-table-unknown", header
            # an address beside a good index is not read: the index decides
            inbound = Asked(msgpack.packb({"version": 1, "index": 0, "address": "127.0.0.1:22"}))
            target = daemon.tables.target(1, 0)
            assert target.service.text == origin.url
            assert (origin.connections, secret.connections) == (0, 0)


@on_uvloop
async def test_J24_replaced_table_serves_60_s_as_it_was() -> None:
    async with tunnel_edge() as edge, Origin("one") as one, Origin("two") as two:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {one.url}") as daemon:
            await edge.serving(office)
            now = [0.0]
            daemon.tables.clock = lambda: now[0]
            _, before = edge.links.probe(office, "wiki.test", "/")  # chose version 1, sends later
            daemon.tables.replace(settings(f"- service: {two.url}").rules)
            assert daemon.tables.target(1, 0).service.text == one.url
            assert daemon.tables.target(2, 0).service.text == two.url
            daemon.lanes[0].announce()
            await edge.serving(office, 1, version=2)
            before.write(b"GET /old HTTP/1.1\r\n\r\n")
            assert (await before.until(lambda p: p.received.endswith(b"\n"))).endswith(
                b"one GET /old HTTP/1.1\n"
            )
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"two GET / HTTP/1.1\n")
            now[0] = 60.1
            with pytest.raises(NotInTable):
                daemon.tables.target(1, 0)
            inbound = Asked(msgpack.packb({"version": 1, "index": 0}))
            daemon.serve(daemon.lanes[0].link, inbound)
            assert inbound.refusal == "tunnel-table-unknown"
            assert daemon.ready_links() == 1


@on_uvloop
async def test_J24_file_reloaded_without_a_drop(tmp_path: Path) -> None:
    async with tunnel_edge() as edge, Origin("one") as one, Origin("two") as two:
        office = edge.tunnel("wiki.test")
        config = f"metrics: 127.0.0.1:0\nlinks: 1\ningress:\n- service: {one.url}\n"
        process = await ConnectorProcess(tmp_path, edge.credential(office), config).start()
        await edge.serving(office)
        stop = asyncio.Event()
        answers: list[tuple[bytes, str]] = []

        async def ask() -> None:
            while not stop.is_set():
                _, answer, lost = await edge.request(office)
                answers.append((answer, lost))

        asking = asyncio.ensure_future(ask())
        process.write(config.replace(one.url, two.url))
        process.process.send_signal(signal.SIGHUP)
        await edge.serving(office, 1, version=2)
        stop.set()
        await asking
        assert all(answer.endswith(b"\n") and not lost for answer, lost in answers), answers[-1]
        _, answer, _ = await edge.request(office)
        assert answer.endswith(b"two GET / HTTP/1.1\n")
        # a broken file changes nothing
        process.write("ingress: [{servce: x}]\n")
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: "did you mean “service”" in process.log)
        _, answer, _ = await edge.request(office)
        assert answer.endswith(b"two GET / HTTP/1.1\n")
        assert await process.stop() == 0


# -- J21: clocks -----------------------------------------------------------------------------------


@on_uvloop
async def test_J21_clock_skew_is_a_clear_error_and_no_tight_loop() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        edge.clock = lambda: time.time() + 600
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await until(lambda: daemon.lanes[0].refusal is not None)
            refusal = daemon.lanes[0].refusal
            assert (refusal.reason, refusal.final) == ("link-clock", True)
            assert "clock is 600 s behind" in refusal.text
            dials = edge.accepted
            await asyncio.sleep(1.0)
            assert edge.accepted <= dials + 1


# -- J22: everybody at once ------------------------------------------------------------------------


@on_uvloop
async def test_J22_back_off_is_random_and_bounded() -> None:
    drawn: list[tuple[float, float]] = []

    def chance(least: float, most: float) -> float:
        drawn.append((least, most))
        return 0.0

    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        daemon = Daemon(settings("- service: http_status:204", links=1), made)
        lane = daemon.lanes[0]
        lane.chance = chance
        edge.tunnels.clear()  # each registration is refused, not for good
        running = asyncio.ensure_future(lane.run())
        daemon.settings = settings("- service: http_status:204", edge=("127.0.0.1:9",))
        await until(lambda: len(drawn) >= 6)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert drawn[:6] == [(0.0, 2.0), (0.0, 4.0), (0.0, 8.0), (0.0, 8.0), (0.0, 8.0), (0.0, 8.0)]


# -- J23, J25, J26: roles --------------------------------------------------------------------------


@on_uvloop
async def test_J23_connector_that_opens_a_stream_loses_its_link() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            liar.raw(frame(DATA, SYN, 3, b"\x00\x02{}GET / HTTP/1.1\r\n\r\n"))
            await until(lambda: not edge.accepted_links(office))
            await until(lambda: liar.lost)


@on_uvloop
async def test_J25_certificate_of_one_tunnel_does_not_register_another() -> None:
    async with tunnel_edge() as edge:
        office, other = edge.tunnel("wiki.test"), edge.tunnel("b.test", name="b")
        async with hostile(edge, office, register_as=other) as liar:
            await until(lambda: liar.refusal)
            assert (liar.refusal.reason, liar.refusal.final) == ("link-role", True)
            assert edge.accepted_links(other) == edge.accepted_links(office) == []


@on_uvloop
async def test_J25_a_credential_is_not_a_link_certificate() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office, with_credential=True) as liar:
            await until(lambda: liar.refusal)
            assert liar.refusal.reason == "link-role"


@pytest.mark.parametrize("role", [authority.NODE, authority.ADMINISTRATOR])
@on_uvloop
async def test_J25_other_roles_do_not_register(role: str) -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        key = authority.new_key()
        certificate = authority._issue(
            edge.ca, public=authority._public_of(authority.new_request(key)), subject=[],
            names=authority._uri_and_hosts(role + office, ()),
            usage=x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH, lifetime=timedelta(hours=1),
            now=authority.utc_now(),
        )  # fmt: skip
        async with hostile(edge, office, identity=(certificate, key)) as liar:
            await until(lambda: liar.refusal)
            assert liar.refusal.reason == "link-role"
            assert not edge.accepted_links(office)


@on_uvloop
async def test_J25_another_ca_fails_in_the_handshake() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        stranger = authority.new_authority("stranger", authority.utc_now())
        key = authority.new_key()
        certificate = authority.issue_link(
            stranger, request=authority.new_request(key), tunnel=office, credential="x",
            hostnames=(), now=authority.utc_now(),
        )  # fmt: skip
        async with hostile(edge, office, identity=(certificate, key)) as liar:
            await until(lambda: liar.lost)
            assert not edge.links.all()


@on_uvloop
async def test_J26_relay_header_from_a_connector_is_never_read() -> None:
    async with tunnel_edge(workers=2) as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            link = edge.accepted_links(office)[0]
            header = msgpack.packb(
                {"version": 1, "index": 0, "link": link.number, "expiry": 0, "application": "a",
                 "session": "", "tunnel": office}
            )  # fmt: skip
            liar.raw(frame(DATA, SYN, 3, len(header).to_bytes(2, "big") + header))
            await until(lambda: liar.lost)
            assert liar.headers == []  # nothing was opened on its behalf
            assert all(one.links.relaying() == 0 for one in edge.registrars)


# -- a connector that costs the edge work, or says what a terminal obeys ---------------------------


@on_uvloop
async def test_flood_of_tables_ends_the_link() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            for version in range(2, 60):
                liar.say(wire.Table(version, ({"index": 0, "service": "http://a:1"},)))
            await until(lambda: liar.refusal)
            assert liar.refusal.text == "too many table messages"
            await until(lambda: not edge.accepted_links(office))


SMALL = [
    wire.Statistics(1, 2, 3),
    wire.Drain(1.0, "bye"),
    wire.Configured(7),
    wire.Register((1,), "x", "f" * 32),
]


@on_uvloop
@pytest.mark.parametrize("message", SMALL, ids=lambda one: one.kind)
async def test_flood_of_any_message_ends_the_link(message: wire.Message) -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            for _ in range(MESSAGES_PER_MINUTE - 2):  # register and a table were said already
                liar.say(message)
            liar.say(wire.Table(2, ({"index": 0, "service": "http://a:1"},)))
            await until(lambda: liar.refusal)
            assert (liar.refusal.reason, liar.refusal.text) == (
                "link-protocol", "too many messages",
            )  # fmt: skip
            await until(lambda: not edge.accepted_links(office))


@on_uvloop
async def test_messages_of_an_unknown_kind_count_and_a_minute_later_others_may_come() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            [link] = edge.accepted_links(office)
            for _ in range(2):
                unknown = msgpack.packb({"t": "of-a-later-release"})
                piece = len(unknown).to_bytes(4, "big") + unknown
                liar.raw(frame(DATA, 0, 1, piece * (MESSAGES_PER_MINUTE - 2)))
                await until(lambda: link.user.messages == MESSAGES_PER_MINUTE)
                assert not liar.refusal
                link.user.minute -= 60
                liar.say(wire.Statistics(1, 2, 3)).say(wire.Statistics(1, 2, 3))
                await until(lambda: link.user.messages == 2)
            liar.raw(frame(DATA, 0, 1, piece * (MESSAGES_PER_MINUTE - 1)))
            await until(lambda: liar.refusal)


@on_uvloop
async def test_siblings_hear_once_that_a_link_drains() -> None:
    async with tunnel_edge(workers=2) as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office) as liar:
            await edge.serving(office)
            here = next(one for one in edge.registrars if one.links.of(office))
            assert here.siblings is not None
            told = []
            here.siblings.withdraw = lambda links, link: told.append(link)
            for _ in range(5):
                liar.say(wire.Drain(1.0, "bye"))
            liar.say(wire.Statistics(1, 2, 3))
            await until(lambda: here.links.of(office)[0].user.statistics)
            assert told == here.links.of(office)
            here.leave(1.0)  # and the edge's own asking adds nothing
            assert len(told) == 1
            del here.siblings.withdraw


@on_uvloop
async def test_what_a_connector_says_of_itself_is_made_harmless() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with hostile(edge, office, register=False) as liar:
            liar.say(wire.Register((1,), office, "ab", "evil\x1b[2J\n" + "x" * 500), SYN)
            await edge.serving(office)
            state = edge.registrars[0].states()[0]
            assert state["software"] == ("evil[2J" + "x" * 500)[:98]
            liar.say(wire.Statistics(1, 2, 3, {"big": "x" * 100_000}))
            await until(lambda: edge.accepted_links(office)[0].user.statistics)
            assert edge.accepted_links(office)[0].user.statistics == {
                "round_trip": 1, "streams": 2, "total": 3,
            }  # fmt: skip
        async with hostile(edge, office, register=False) as liar:
            liar.say(wire.Register((1,), office, "../\x1b"), SYN)
            await until(lambda: liar.refusal)
            assert liar.refusal.reason == "link-protocol"


@pytest.mark.parametrize(
    "body", [b"\x00\x00\x00\x01\xc1", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\x80"]
)
@on_uvloop
async def test_what_is_no_message_ends_that_link_only(body: bytes) -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            async with hostile(edge, office) as liar:
                await edge.serving(office, 2)
                liar.raw(frame(DATA, 0, 1, body))
                await until(lambda: liar.lost)
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"wiki GET / HTTP/1.1\n")


@on_uvloop
async def test_who_never_registers_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar, "REGISTER_WITHIN", 0.2)
    async with (
        tunnel_edge() as edge,
        hostile(edge, edge.tunnel("wiki.test"), register=False) as liar,
    ):
        await until(lambda: liar.lost)
        assert edge.links.all() == []
