"""Out to the edge: through an HTTP CONNECT proxy, on a dead line, from a worker that stops."""

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from _fastpath.contexts import TlsClientContext
from edge.connector.dial import DialFailed, dial, proxy_for
from edge.connector.enrol import context_of
from edge.identity import authority
from edge.wire import messages as wire
from tests.kit.tunnel_edge import (
    ConnectorProcess,
    Origin,
    connector,
    on_uvloop,
    tunnel_edge,
    until,
)


class Proxy:
    """An HTTP proxy that only knows CONNECT."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.port = 0
        self.hold = asyncio.Event()  # while set, nothing passes: a black hole
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        writer.write(self.answer)
        target = head.split(b" ")[1].decode()
        if b" 200 " not in self.answer or not target.startswith("127.0.0.1:"):
            writer.close()
            return
        host, port = target.split(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while part := await source.read(65536):
                    if self.hold.is_set():
                        await asyncio.Event().wait()
                    sink.write(part)
            sink.close()

        for pair in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.ensure_future(pump(*pair))
            self._tasks.add(task)


@contextlib.asynccontextmanager
async def proxy(*answer: bytes) -> AsyncIterator[Proxy]:
    found = Proxy(*answer)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in found._tasks:
            task.cancel()


@on_uvloop
async def test_through_a_connect_proxy(tmp_path: Path) -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin, proxy() as middle:
        office = edge.tunnel("wiki.test")
        config = f"metrics: 127.0.0.1:0\nlinks: 1\ningress:\n- service: {origin.url}\n"
        process = await ConnectorProcess(tmp_path, edge.credential(office), config).start(
            HTTPS_PROXY=f"http://user:p%40ss@127.0.0.1:{middle.port}", NO_PROXY="example.com"
        )
        await edge.serving(office)
        _, answer, _ = await edge.request(office)
        assert answer.endswith(b"wiki GET / HTTP/1.1\n")
        assert middle.heads[0].startswith(f"CONNECT 127.0.0.1:{edge.port} HTTP/1.1\r\n".encode())
        assert base64.b64encode(b"user:p@ss") in middle.heads[0]
        assert await process.stop() == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy refused: HTTP/1.1 407"),
        (b"SSH-2.0-x\r\n\r\n", "the proxy refused: SSH-2.0-x"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "behind its answer"),
        (b"HTTP/1.1 200", "the proxy closed"),
    ],
)
@on_uvloop
async def test_proxy_that_says_no(answer: bytes, sentence: str) -> None:
    async with tunnel_edge() as edge, proxy(answer.replace(b"200", b"200")) as middle:
        made = edge.credential(edge.tunnel("wiki.test"))
        context = context_of(made.anchors, made.certificate.encode(), made.key.encode())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        middle.serve = serve
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DialFailed, match=sentence):
            await dial(
                f"127.0.0.1:{edge.port}", context, made.server_name,
                {"HTTPS_PROXY": f"http://127.0.0.1:{port}"},
            )  # fmt: skip
        server.close()


@pytest.mark.parametrize(("number", "says"), [
    (socket.EAI_NONAME,
     "“tunnel.x.test” doesn't resolve: the DNS record (A, AAAA or CNAME) that leads to the edge is "
     "missing"),
    (socket.EAI_AGAIN,
     "“tunnel.x.test” can't be resolved now: no name server answers this machine"),
])  # fmt: skip
async def test_name_without_an_address_says_which_record_is_missing(
    number: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "what the system says")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
    with pytest.raises(DialFailed) as failed:
        await dial("tunnel.x.test:443", TlsClientContext(), "tunnel.x.test", {})
    assert str(failed.value) == says


async def test_the_proxys_name_is_told_as_the_proxys() -> None:
    with pytest.raises(DialFailed) as failed:
        await dial(
            "127.0.0.1:443", TlsClientContext(), "x", {"HTTPS_PROXY": "http://proxy.invalid:1"}
        )
    assert "“proxy.invalid” doesn't resolve" in str(failed.value)
    assert "leads to the proxy" in str(failed.value)


def test_no_proxy() -> None:
    environ = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.test, .b.test,127.0.0.1"}
    assert proxy_for("c.test", environ) == "http://p:1"
    assert [proxy_for(one, environ) for one in ("a.test", "x.a.test", "x.b.test", "127.0.0.1")] == [
        ""
    ] * 4
    assert proxy_for("c.test", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}) == ""
    assert proxy_for("c.test", {}) == ""


@on_uvloop
async def test_edge_with_another_certificate_is_not_spoken_to() -> None:
    async with tunnel_edge() as edge, tunnel_edge() as impostor:
        made = edge.credential(edge.tunnel("wiki.test"))
        context = context_of(made.anchors, made.certificate.encode(), made.key.encode())
        with pytest.raises(DialFailed, match="certificate"):
            await dial(f"127.0.0.1:{impostor.port}", context, made.server_name, {})


@on_uvloop
async def test_dead_peer_is_noticed_within_15_seconds() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin, proxy() as middle:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        import os

        os.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{middle.port}"
        try:
            async with connector(made, f"- service: {origin.url}") as daemon:
                await edge.serving(office)
                link = edge.accepted_links(office)[0]
                middle.hold.set()
                begun = time.monotonic()
                await until(lambda: link.lost, 16)
                await until(lambda: daemon.lanes[0].last_loss == "link-timeout", 16)
                assert link.reason == "link-timeout"
                assert 9 < time.monotonic() - begun < 15.5
        finally:
            del os.environ["HTTPS_PROXY"]


@on_uvloop
async def test_links_cover_the_workers() -> None:
    async with tunnel_edge(workers=3) as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}", links=4):
            await edge.serving(office, 4)
            assert all(one.links.of(office) for one in edge.registrars)


@on_uvloop
async def test_worker_that_stops_is_left_before_it_goes() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            old = edge.accepted_links(office)[0]
            old.send(b"")  # a live link; now it is asked to leave
            edge.registrars[0]._ask_to_leave(old, 5.0)
            await edge.serving(office, 2)
            assert not old.lost  # streams on it may end
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"\n")
            assert daemon.lanes[0].link is not None


@on_uvloop
async def test_certificate_is_renewed_and_links_move(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            first = daemon.identity
            daemon._renew()
            while len(edge.accepted_links(office)) < 2:  # somebody always serves
                _, answer, lost = await edge.request(office)
                assert answer.endswith(b"\n"), lost
            assert daemon.identity is not first
            assert [one["tunnel"] for one in edge.asked] == ["", office]
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"\n")
            await until(lambda: len(edge.accepted_links(office)) == 1)  # the old one was left
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"\n")


@on_uvloop
async def test_renewal_while_control_is_away_costs_no_link_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            link, first = edge.accepted_links(office)[0], daemon.identity
            edge.control_up = False
            monkeypatch.setattr("edge.connector.daemon.due", lambda found: found is first)
            await until(lambda: len(edge.asked) == 2)
            await asyncio.sleep(0.2)  # the edge's answer would have closed the link by now
            assert not link.lost
            assert edge.accepted_links(office) == [link]
            edge.control_up = True
            daemon._see_to_renewal()
            assert len(edge.asked) == 2  # an answer may come yet
            monkeypatch.setattr("edge.connector.daemon.RENEWAL_WITHIN", 0.0)
            await until(lambda: daemon.identity is not first)


@on_uvloop
async def test_renewal_asked_over_a_link_that_went_is_forgotten() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            edge.control_up = False
            daemon._renew()
            daemon._see_to_renewal()
            assert daemon._renewal_key is not None
            daemon.lanes[0].link.abort("link-lost")
            await until(lambda: daemon._renewal_key is None)


@on_uvloop
async def test_certificate_for_another_key_leaves_the_old_one_in_use() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            first = daemon.identity
            daemon._renewal_key = authority.new_key()
            daemon.certified(wire.Certificate(first.certificate, b"", 0.0))
            assert daemon.identity is first
            assert daemon._renewal_key is None
            assert daemon.ready_links() == 1


@on_uvloop
async def test_control_away_new_connectors_wait_and_old_ones_serve() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        async with connector(made, f"- service: {origin.url}") as daemon:
            await edge.serving(office)
            edge.control_up = False
            edge.accepted_links(office)[0].abort("link-lost")
            await edge.serving(
                office
            )  # the link certificate is still good: the worker alone decides
            await until(daemon.ready_links)
            async with connector(made, f"- service: {origin.url}") as late:
                await until(lambda: late.lanes[0]._failures)
                assert late.ready_links() == 0
                edge.control_up = True
                await until(late.ready_links, 8)
