"""Relays between workers: a request reaches a link of another worker, under a warrant."""

import asyncio
import time

from _fastpath.errors import reason_of
from _fastpath.table import Table
from tests.kit.tunnel_edge import Origin, connector, on_uvloop, tunnel_edge, until


@on_uvloop
async def test_request_is_relayed_to_the_worker_that_has_the_link() -> None:
    async with tunnel_edge(workers=2) as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            here = next(slot for slot, one in enumerate(edge.registrars) if one.links.of(office))
            other = 1 - here
            await until(
                lambda: edge.registrars[other].links.explain(office, "wiki.test", "/")["kind"]
            )
            found, answer, _ = await edge.request(
                office, worker=other, application="a", session="s"
            )
            assert found["relayed"] and answer.endswith(b"wiki GET / HTTP/1.1\n")
            found, answer, _ = await edge.request(office, worker=here)
            assert not found["relayed"] and answer.endswith(b"\n")


@on_uvloop
async def test_relayed_stream_ends_with_its_session() -> None:
    async with tunnel_edge(workers=2) as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            here = next(s for s, one in enumerate(edge.registrars) if one.links.of(office))
            links = edge.registrars[1 - here].links
            await until(lambda: links.explain(office, "wiki.test", "/")["kind"])
            _, probe = links.probe(office, "wiki.test", "/", application="a", session="nonce-1")
            _, other = links.probe(office, "wiki.test", "/", application="a", session="nonce-2")
            for one in (probe, other):
                one.write(b"GET / HTTP/1.1\r\n\r\n")
                await one.until(lambda p: p.received.endswith(b"\n"))
            assert edge.registrars[here].links.relaying() == 2
            edge.revoke("nonce", "nonce-1")
            await probe.until(lambda p: p.lost)
            assert probe.lost and not other.lost
            assert edge.registrars[here].links.relaying() == 1
            # expiry counts in the receiving worker, by its own clock
            edge.clock = lambda: time.time() + 3600
            _, late = links.probe(
                office, "wiki.test", "/", application="a", session="n", expiry=int(time.time()) + 60
            )
            late.write(b"GET / HTTP/1.1\r\n\r\n")
            await late.until(lambda p: p.lost)
            assert (late.lost, bytes(late.received)) == ("relay-refused", b"")


@on_uvloop
async def test_relayed_stream_is_never_relayed_again() -> None:
    async with tunnel_edge(workers=3) as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            here = next(s for s, one in enumerate(edge.registrars) if one.links.of(office))
            first, second = [s for s in range(3) if s != here]
            links = edge.registrars[first].links
            await until(lambda: links.explain(office, "wiki.test", "/")["kind"])
            await until(
                lambda: edge.registrars[second].links.explain(office, "wiki.test", "/")["kind"]
            )
            # a header that names a link which the receiver only knows from gossip
            remote = edge.registrars[second].links.explain(office, "wiki.test", "/")["link"]
            [sibling] = [one for one in links.all_siblings() if one.user.slot == second]
            # offered under that number: what `first` opens now asks `second` to relay it on
            sibling.offer(
                remote, "chained", Table(1, [{"index": 0, "service": "http://x:1"}]), 1, 0
            )
            edge.tunnels["chained"] = {"name": "chained", "hosts": []}
            _, probe = links.probe("chained", "wiki.test", "/", application="a")
            probe.write(b"GET / HTTP/1.1\r\n\r\n")
            await probe.until(lambda one: one.lost)
            assert probe.lost == "tunnel-down"
            assert origin.connections == 0


@on_uvloop
async def test_sibling_is_dialled_again_and_told_everything() -> None:
    async with tunnel_edge(workers=2) as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            here = next(s for s, one in enumerate(edge.registrars) if one.links.of(office))
            other = edge.registrars[1 - here].links
            await until(lambda: other.explain(office, "wiki.test", "/")["kind"])
            other.all_siblings()[0].abort("link-timeout")
            await until(lambda: not other.all_siblings())
            assert reason_of(other.explain(office, "wiki.test", "/")["reason"]) == "tunnel-down"
            await until(lambda: other.explain(office, "wiki.test", "/")["kind"], 3)


@on_uvloop
async def test_one_socket_per_pair() -> None:
    async with tunnel_edge(workers=3) as edge:
        await asyncio.sleep(0.1)
        assert [len(one.links.all_siblings()) for one in edge.registrars] == [2, 2, 2]


@on_uvloop
async def test_link_that_went_is_withdrawn_from_siblings() -> None:
    async with tunnel_edge(workers=2) as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            here = next(s for s, one in enumerate(edge.registrars) if one.links.of(office))
            other = edge.registrars[1 - here].links
            await until(lambda: other.explain(office, "wiki.test", "/")["kind"])
        await until(lambda: not other.explain(office, "wiki.test", "/")["kind"], 1)
