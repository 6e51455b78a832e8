"""Real links on loopback: connector and edge over TLS, section J from J14 on."""

import asyncio

from tests.kit.tunnel_edge import Origin, connector, on_uvloop, tunnel_edge


@on_uvloop
async def test_one_request_through_the_tunnel() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            found, answer, lost = await edge.request(office)
            assert answer.endswith(b"wiki GET / HTTP/1.1\n"), (found, lost)
            assert daemon.ready_links() == 1
