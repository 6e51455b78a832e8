"""The tunnel side of an edge in this process, on real sockets: CA, TLS listener, one Registrar per
worker, sibling sockets. And connectors against it: as objects here, or as processes."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from _fastpath.contexts import TicketKeys, TlsContexts
from edge.connector.credentials import Credentials, save
from edge.connector.daemon import Daemon
from edge.connector.ingress import Settings, read_text_of
from edge.identity import authority
from edge.server.registrar import Registrar
from edge.server.siblings import Siblings

NAME = "tunnel.login.example.test"


def on_uvloop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on the loop that the product runs on; 30 s at most."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(30):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(limited())

    del run.__wrapped__  # pytest must not see a coroutine function
    run.__signature__ = _signature(test)
    return run


def _signature(test: Callable[..., Any]) -> Any:
    import inspect

    return inspect.signature(test)


class TunnelEdge:
    """Workers of one node, as far as tunnels need them."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.ca = authority.new_authority("test tunnel CA", authority.utc_now())
        self.tunnels: dict[str, dict[str, Any]] = {}
        self.revoked: set[tuple[str, str]] = set()
        self.credentials: dict[str, tuple[str, list[str]]] = {}  # id -> (tunnel, hostnames)
        self.events: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.registrars: list[Registrar] = []
        self.control_up = True
        self.clock: Callable[[], float] = time.time
        self.accepted = 0
        self.port = 0
        self._servers: list[asyncio.AbstractServer] = []
        self._siblings: list[Siblings] = []
        self._folder = tempfile.TemporaryDirectory(prefix="edge-")

    async def start(self) -> "TunnelEdge":
        loop = asyncio.get_running_loop()
        key = authority.new_key()
        now = authority.utc_now()
        certificate = authority.issue_edge(self.ca, key=key, name=NAME, now=now)
        contexts = TlsContexts(TicketKeys())
        contexts.add(
            [NAME], certificate, key, profile="tunnel", client_ca=self.ca.certificate, require=True
        )
        for slot in range(self.workers):
            siblings = None
            if self.workers > 1:
                siblings = Siblings(
                    Path(self._folder.name), slot=slot, slots=self.workers, master=os.getppid()
                )
                self._siblings.append(siblings)
            self.registrars.append(
                Registrar(
                    loop,
                    slot=slot,
                    slots=self.workers,
                    tunnels=lambda: self.tunnels,
                    revoked=lambda kind, ident: (kind, ident) in self.revoked,
                    ask=self._ask,
                    tell=lambda links: None,
                    audit=self.events.append,
                    siblings=siblings,
                    clock=lambda: self.clock(),
                )
            )
        for registrar, siblings in zip(self.registrars, self._siblings, strict=False):
            await siblings.listen(registrar.links)

        def accept() -> asyncio.BaseProtocol:
            registrar = self.registrars[self.accepted % self.workers]
            self.accepted += 1
            return registrar.links.server_pipe(contexts)

        server = await loop.create_server(accept, "127.0.0.1", self.port)
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        self.asked.append(question)
        if not self.control_up:
            return None
        found = self.credentials.get(question["credential"])
        if found is None:
            return {"reason": "link-revoked", "text": "no such credential", "final": True}
        certificate = authority.issue_link(
            self.ca,
            request=question["request"],
            tunnel=found[0],
            credential=question["credential"],
            hostnames=found[1],
            now=authority.utc_now(),
        )
        return {"certificate": certificate, "anchors": self.ca.certificate}

    def tunnel(self, *hosts: str, name: str = "office") -> str:
        """Make a tunnel that these hostnames are routed to; return its id."""
        ident = str(uuid.uuid4())
        self.tunnels[ident] = {"name": name, "hosts": list(hosts)}
        return ident

    def credential(self, tunnel: str, *hostnames: str) -> Credentials:
        """Return a new credential of a tunnel."""
        ident = str(uuid.uuid4())
        key = authority.new_key()
        certificate = authority.issue_credential(
            self.ca,
            request=authority.new_request(key),
            credential=ident,
            hostnames=hostnames,
            now=authority.utc_now(),
        )
        self.credentials[ident] = (tunnel, list(hostnames))
        return Credentials(
            tunnel,
            self.tunnels.get(tunnel, {}).get("name", "?"),
            ident,
            (f"127.0.0.1:{self.port}",),
            NAME,
            self.ca.certificate.decode(),
            certificate.decode(),
            key.decode(),
        )

    def revoke(self, kind: str, ident: str) -> None:
        self.revoked.add((kind, ident))
        for registrar in self.registrars:
            registrar.revocations_changed()

    @property
    def links(self) -> Any:
        return self.registrars[0].links

    def accepted_links(self, tunnel: str) -> list[Any]:
        return [link for one in self.registrars for link in one.links.of(tunnel)]

    async def serving(self, tunnel: str, count: int = 1, version: int = 0) -> None:
        """Wait until `count` links have announced a table (of this version or newer)."""
        await until(
            lambda: sum(
                1
                for link in self.accepted_links(tunnel)
                if link.table is not None and link.table.version >= version
            )
            >= count
        )

    async def request(
        self, tunnel: str, host: str = "wiki.test", path: str = "/", worker: int = 0, **more: Any
    ) -> tuple[dict[str, Any], bytes, str]:
        """Send one GET through the tunnel; return (what was resolved, answer, why it was lost)."""
        found, probe = self.registrars[worker].links.probe(tunnel, host, path, **more)
        if probe is None:
            return found, b"", "unresolved"
        probe.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = await probe.until(lambda one: one.received.endswith(b"\n"))
        lost = probe.lost
        probe.abort()
        return found, answer, lost

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for registrar in self.registrars:
            registrar.close()
        for siblings in self._siblings:
            siblings.close()
        await asyncio.sleep(0.02)
        self._folder.cleanup()


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until the condition holds; fail when it doesn't in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def tunnel_edge(workers: int = 1) -> AsyncIterator[TunnelEdge]:
    edge = await TunnelEdge(workers).start()
    try:
        yield edge
    finally:
        await edge.stop()


def settings(ingress: str, **more: Any) -> Settings:
    """Return checked settings of a configuration given as YAML of `ingress:`'s rules."""
    found = read_text_of(f"ingress:\n{ingress}\n".encode(), Path("config.yml"))
    assert found.settings is not None, [str(one) for one in found.problems]
    return replace_settings(found.settings, **more)


def replace_settings(base: Settings, **more: Any) -> Settings:
    import dataclasses

    return dataclasses.replace(base, file=None, metrics=("127.0.0.1", 0), **more)


@contextlib.asynccontextmanager
async def connector(
    made: Credentials, ingress: str, *, links: int = 1, **more: Any
) -> AsyncIterator[Daemon]:
    """Run a connector in this process until the block ends."""
    daemon = Daemon(settings(ingress, links=links, grace=1.0, **more), made)
    lanes = [asyncio.ensure_future(lane.run()) for lane in daemon.lanes]
    watch = asyncio.ensure_future(daemon._watch())
    try:
        yield daemon
    finally:
        for task in (*lanes, watch):
            task.cancel()
        await asyncio.gather(*lanes, watch, return_exceptions=True)
        for lane in daemon.lanes:
            if lane.link is not None:
                lane.link.abort("draining")
        await asyncio.sleep(0.02)


class ConnectorProcess:
    """`sekisho tunnel run` as a real process."""

    def __init__(self, folder: Path, made: Credentials, config: str) -> None:
        self.folder = folder
        self.config = folder / "config.yml"
        save(folder / "credentials.json", made)
        self.write(config)
        self.process: asyncio.subprocess.Process | None = None

    def write(self, config: str) -> None:
        """Replace the configuration file in one step."""
        fresh = self.folder / "config.new"
        fresh.write_text(f"credentials-file: credentials.json\n{config}")
        fresh.rename(self.config)

    async def start(self, **environ: str) -> "ConnectorProcess":
        code = "import sys; from edge.cli.main import main; sys.exit(main())"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, "tunnel", "--config", str(self.config), "run",
            env={**os.environ, **environ}, stderr=(self.folder / "log").open("ab"),
        )  # fmt: skip
        return self

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.process.wait()


class Origin:
    """A tiny HTTP origin in this process: says its name and the request line; keeps connections."""

    def __init__(self, name: str, path: str | None = None) -> None:
        self.name, self.path = name, path
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.AbstractServer | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Origin":
        if self.path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self.path)
        else:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._server = server
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()

    @property
    def url(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line = head.split(b"\r\n", 1)[0].decode()
                self.requests.append(line)
                body = f"{self.name} {line}\n".encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
