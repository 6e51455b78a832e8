"""Streams over real links: back-pressure, ends, keep-alive, every kind of origin, refusals."""

import asyncio
import contextlib
import gc
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from _fastpath import limits
from edge.demo.authority import DemoAuthority
from edge.identity import authority
from tests.kit.soak import scaled, soak
from tests.kit.tunnel_edge import Origin, connector, on_uvloop, tunnel_edge, until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@contextlib.asynccontextmanager
async def server(serve: Serve, **more: object) -> AsyncIterator[int]:
    found = await asyncio.start_server(serve, "127.0.0.1", 0, **more)
    try:
        yield found.sockets[0].getsockname()[1]
    finally:
        found.close()


SIZE = 40 << 20


def blob(size: int = SIZE) -> bytes:
    return hashlib.shake_256(b"seed").digest(1 << 16) * (size >> 16)


@on_uvloop
async def test_download_waits_for_a_slow_reader_and_arrives_whole() -> None:
    data = blob()
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(data), 65536):
            writer.write(data[at : at + 65536])
            await writer.drain()
            sent = at + 65536
        writer.close()

    async with tunnel_edge() as edge, server(serve) as port:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: http://127.0.0.1:{port}"):
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            probe.write(b"GET / HTTP/1.1\r\n\r\n")
            await probe.until(lambda one: one.count > 1 << 20)
            probe.pause()
            await asyncio.sleep(0.3)
            held = sent
            await asyncio.sleep(0.3)
            assert sent == held < SIZE  # the origin stands still while nobody reads
            (link,) = edge.links.of(office)
            assert link.held >= limits.INITIAL_WINDOW // 2
            probe.resume()
            await probe.until(lambda one: one.ended)
            assert hashlib.sha256(probe.received).digest() == hashlib.sha256(data).digest()
            probe.end()
            assert link.held == 0


@on_uvloop
async def test_a_reader_that_gives_up_leaves_nothing_held() -> None:
    """Also when both directions had ended, and the stream with them, before it had read what came."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes(100_000))
        writer.close()

    async with tunnel_edge() as edge, server(serve) as port:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: http://127.0.0.1:{port}"):
            await edge.serving(office)
            (link,) = edge.links.of(office)
            for ended in (False, True):
                _, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None
                probe.write(b"GET / HTTP/1.1\r\n\r\n")
                probe.pause()
                if ended:
                    probe.end()
                await until(lambda: link.held >= 100_000)
                await asyncio.sleep(0.1)  # both FINs are through
                probe.abort()
                assert link.held == 0


@on_uvloop
async def test_upload_waits_for_a_slow_origin_and_arrives_whole() -> None:
    data = blob()
    gate = asyncio.Event()
    seen = hashlib.sha256()
    total = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal total
        await gate.wait()
        while part := await reader.read(1 << 16):
            seen.update(part)
            total += len(part)
        writer.write(b"done\n")
        writer.close()

    async with tunnel_edge() as edge, server(serve) as port:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: http://127.0.0.1:{port}"):
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            written = 0
            stalled = 0
            while written < len(data):
                if probe.full():
                    stalled += 1
                    if stalled == 50:
                        assert written < 24 << 20  # nothing holds the whole upload
                        gate.set()
                    await asyncio.sleep(0.002)
                    continue
                probe.write(data[written : written + 65536])
                written += 65536
                await asyncio.sleep(0)
            probe.end()
            answer = await probe.until(lambda one: one.ended)
            assert (answer, total, stalled >= 50) == (b"done\n", len(data), True)
            assert seen.digest() == hashlib.sha256(data).digest()


@on_uvloop
async def test_half_close_passes_both_ways() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = await reader.read()
        writer.write(b"got " + whole)
        writer.write_eof()

    async with tunnel_edge() as edge, server(serve) as port:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: tcp://127.0.0.1:{port}"):
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            probe.write(b"abc")
            probe.end()
            assert await probe.until(lambda one: one.ended) == b"got abc"
            await until(lambda: edge.accepted_links(office)[0].streams <= 1)


@on_uvloop
@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "only a FIN"])
async def test_a_tls_origin_that_is_cut_is_no_end_of_its_stream(
    notified: bool, tmp_path: Path
) -> None:
    DemoAuthority().issue(["localhost"], tmp_path / "pem", tmp_path / "key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem", tmp_path / "key")
    data = blob(4 << 20)

    def serve(listener: socket.socket) -> None:
        raw, _ = listener.accept()
        secure = context.wrap_socket(raw, server_side=True)
        secure.recv(1000)
        secure.sendall(data)
        if notified:
            secure.settimeout(0.2)  # its answer comes when our stream ends, which is later
            with contextlib.suppress(OSError):
                secure.unwrap()
        else:  # what anybody on the wire can do
            socket.socket(fileno=secure.detach()).shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = asyncio.to_thread(serve, listener)
        async with tunnel_edge() as edge:
            office = edge.tunnel("wiki.test")
            rule = f"- service: https://127.0.0.1:{listener.getsockname()[1]}\n  originRequest: {{noTLSVerify: true}}"
            async with connector(edge.credential(office), rule):
                await edge.serving(office)
                _, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None
                served = asyncio.create_task(origin)
                probe.write(b"GET / HTTP/1.1\r\n\r\n")
                await probe.until(lambda one: one.ended or bool(one.lost))
                assert len(probe.received) == len(data)  # what came before the cut arrives whole
                assert hashlib.sha256(probe.received).digest() == hashlib.sha256(data).digest()
                end = (True, "") if notified else (False, "stream-reset")
                assert (probe.ended, probe.lost) == end
                await served


@on_uvloop
async def test_origin_that_speaks_first_loses_no_byte() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-test\r\n")

    async with tunnel_edge() as edge, server(serve) as port:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: ssh://127.0.0.1:{port}"):
            await edge.serving(office)
            for _ in range(20):
                _, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None
                await probe.until(lambda one: one.received.endswith(b"\n"))
                assert bytes(probe.received) == b"SSH-2.0-test\r\n"
                probe.abort()


@on_uvloop
async def test_many_requests_on_one_stream_use_one_connection_to_the_origin() -> None:
    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            for number in range(50):
                probe.write(f"GET /{number} HTTP/1.1\r\n\r\n".encode())
                await probe.until(
                    lambda one, number=number: one.received.endswith(
                        f"GET /{number} HTTP/1.1\n".encode()
                    )
                )
            assert origin.connections == 1
            probe.abort()
            await until(lambda: edge.accepted_links(office)[0].streams == 0)


@on_uvloop
async def test_unix_socket_origin(tmp_path: Path) -> None:
    async with tunnel_edge() as edge, Origin("unix", str(tmp_path / "o.sock")) as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"unix GET / HTTP/1.1\n")


def origin_tls(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """Return a server context for `name` and the file of its CA."""
    ca = authority.new_authority("origin CA", authority.utc_now())
    key = authority.new_key()
    certificate = authority.issue_edge(ca, key=key, name=name, now=authority.utc_now())
    (folder / "ca.pem").write_bytes(ca.certificate)
    (folder / "origin.pem").write_bytes(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "origin.pem")
    return context, folder / "ca.pem"


@pytest.mark.parametrize(
    ("options", "answer", "lost"),
    [
        ("{caPool: CA, originServerName: wiki.lan}", True, ""),
        ("{caPool: CA, matchSNItoHost: true}", True, ""),
        ("{caPool: CA}", False, "origin-tls"),  # the certificate is for wiki.lan
        ("{originServerName: wiki.lan}", False, "origin-tls"),  # not in the system's anchors
        ("{noTLSVerify: true}", True, ""),
    ],
)
@on_uvloop
async def test_origin_under_tls(options: str, answer: bool, lost: str, tmp_path: Path) -> None:
    context, pool = origin_tls(tmp_path, "wiki.lan")
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"secret\n")

    async with tunnel_edge() as edge, server(serve, ssl=context) as port:
        office = edge.tunnel("wiki.lan")
        rule = (
            f"- service: https://127.0.0.1:{port}\n"
            f"  originRequest: {options.replace('CA', str(pool))}"
        )
        async with connector(edge.credential(office), rule):
            await edge.serving(office)
            _, got, why = await edge.request(office, "wiki.lan")
            assert (got == b"secret\n", why) == (answer, lost)
            if "wiki.lan" in options or "matchSNI" in options:
                assert set(names) == {"wiki.lan"}


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("http://127.0.0.1:9", "origin-refused"),
        ("unix:/nonexistent/socket", "origin-refused"),
        ("http://no-such-host.invalid:80", "origin-name"),
    ],
)
@on_uvloop
async def test_refusal_says_why(service: str, reason: str) -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {service}"):
            await edge.serving(office)
            _, answer, lost = await edge.request(office)
            assert (answer, lost) == (b"", reason)
            assert edge.accepted_links(office)[0].streams == 0


@on_uvloop
async def test_connect_timeout_is_kept() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        rule = f"- service: https://127.0.0.1:{port}\n  originRequest: {{tlsTimeout: 200ms}}"
        async with connector(edge.credential(office), rule):
            await edge.serving(office)
            _, _, lost = await edge.request(office)
            assert lost == "origin-connect-timeout"
        listener.close()


@on_uvloop
async def test_stream_given_up_while_the_origin_is_dialled_leaves_nothing() -> None:
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with connector(
            edge.credential(office), f"- service: https://127.0.0.1:{port}"
        ) as daemon:
            await edge.serving(office)
            _, probe = edge.links.probe(office, "wiki.test", "/")
            assert probe is not None
            await until(lambda: daemon.counters["streams"] == 1)
            probe.abort()
            await until(lambda: daemon.lanes[0].link.streams == 0)
        listener.close()


@on_uvloop
async def test_lost_link_fails_its_streams_and_no_others() -> None:
    gate = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"part ")
        await gate.wait()
        writer.write(b"rest\n")

    async with tunnel_edge() as edge, server(serve) as port:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        async with connector(made, f"- service: http://127.0.0.1:{port}", links=2):
            await edge.serving(office, 2)
            probes = []
            for number in range(4):
                found, probe = edge.links.probe(office, "wiki.test", "/")
                assert probe is not None
                probe.write(b"GET / HTTP/1.1\r\n\r\n")
                await probe.until(lambda one: one.count >= 5)
                probes.append((found["link"], probe))
                if number == 1:  # whichever link these two are on, the next two are on the other
                    for one in edge.accepted_links(office):
                        if one.number == found["link"]:
                            one.drain()
            assert len({link for link, _ in probes}) == 2
            victim = probes[0][0]
            next(one for one in edge.accepted_links(office) if one.number == victim).abort(
                "link-timeout"
            )
            await until(lambda: all(one.lost for link, one in probes if link == victim))
            gate.set()
            for link, probe in probes:
                if link == victim:
                    assert probe.lost == "link-timeout"
                else:
                    await probe.until(lambda one: one.received.endswith(b"\n"))
                    assert bytes(probe.received) == b"part rest\n"


@on_uvloop
async def test_streams_and_links_leave_no_object_behind() -> None:
    def alive() -> int:
        names = ("MuxPipe", "Inbound", "Side", "Probe", "Stream", "OriginPipe", "Mux", "Link")
        return sum(1 for one in gc.get_objects() if type(one).__name__ in names)

    async with tunnel_edge() as edge, Origin("wiki") as origin:
        office = edge.tunnel("wiki.test")
        async with connector(edge.credential(office), f"- service: {origin.url}"):
            await edge.serving(office)
            await edge.request(office)
            await asyncio.sleep(0.1)
            gc.collect()
            gc.disable()
            try:
                before = alive()
                for _ in range(100):
                    await edge.request(office)
                # one that is refused, one that the other side ends, one whose link is lost
                await until(lambda: edge.accepted_links(office)[0].streams == 0)
                await asyncio.sleep(0.1)
                assert alive() <= before + 2
                for _ in range(3):
                    edge.accepted_links(office)[0].abort("link-lost")
                    await until(lambda: not edge.accepted_links(office))
                    await edge.serving(office)
                    await edge.request(office)
                await asyncio.sleep(0.1)
                assert alive() <= before + 2
            finally:
                gc.enable()


@soak
@on_uvloop
async def test_J22_a_thousand_links_at_once() -> None:
    """1,024 in `make soak`, of 16 connectors; here 192 of 3. On one loop with both ends."""
    replicas = scaled(16, 5)
    async with tunnel_edge() as edge:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        rule = "- service: http_status:204"
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(replicas):
                await stack.enter_async_context(connector(made, rule, links=64))
            await edge.serving(office, 64 * replicas)
            assert edge.accepted == 65 * replicas  # an enrolment each, and nobody dialled twice
