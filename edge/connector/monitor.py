"""The connector's own page on loopback: /ready and /metrics, for probes and Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.connector.daemon import Daemon

log = logging.getLogger("sekisho.connector")

PORTS = range(20241, 20246)  # tried in order when none is configured, as cloudflared does
MAX_HEAD = 8192  # bytes of a request; over it: closed
TIMEOUT = 5.0  # seconds for a whole request


class Monitor:
    """Answers two paths, one request per connection; anything else is 404."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.address: tuple[str, int] | None = None
        self._server: asyncio.Server | None = None

    async def start(self, address: tuple[str, int] | None) -> None:
        """Listen on the configured address, or on the first free one of PORTS, or nowhere."""
        choices = [address] if address is not None else [("127.0.0.1", port) for port in PORTS]
        for host, port in choices:
            try:
                self._server = await asyncio.start_server(
                    self._answer, host, port, limit=MAX_HEAD
                )
            except OSError as error:
                if address is not None:
                    raise
                log.debug("monitor: %s:%d: %s", host, port, error)
                continue
            self.address = self._server.sockets[0].getsockname()[:2]
            log.info("monitor on http://%s:%d/ready", *self.address)
            return
        log.warning("monitor: no free port on loopback; /ready and /metrics are off")

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, *_ = [*head.split(b"\r\n", 1)[0].split(b" "), b"", b""]
                if _known_host(head):
                    status, kind, body = self.page(
                        method.decode("latin-1"), target.decode("latin-1").partition("?")[0]
                    )
                else:
                    status, kind, body = "421 Misdirected Request", "text/plain", b""
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                    + (b"" if method == b"HEAD" else body)
                )
                await writer.drain()
        writer.close()

    def page(self, method: str, path: str) -> tuple[str, str, bytes]:
        """Return (status line, content type, body) of one request."""
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", "text/plain", b"GET or HEAD\n"
        if path == "/ready":
            count = self.daemon.ready_links()
            body = {
                "status": 200 if count else 503,
                "readyConnections": count,
                "connectorId": self.daemon.replica,
            }
            line = "200 OK" if count else "503 Service Unavailable"
            return line, "application/json", json.dumps(body).encode() + b"\n"
        if path == "/metrics":
            return "200 OK", "text/plain; version=0.0.4", self.metrics().encode()
        if path == "/healthcheck":
            return "200 OK", "text/plain", b"OK\n"
        return "404 Not Found", "text/plain", b"/ready /metrics /healthcheck\n"

    def metrics(self) -> str:
        """Return Prometheus's text format; names of hosts or people are in none of it."""
        daemon = self.daemon
        table = daemon.tables.current
        lines = [
            *_metric("links_ready", "gauge", "Links that the edge acknowledged with the newest "
                     "table.", daemon.ready_links()),
            *_metric("links_wanted", "gauge", "Links that the connector keeps up.",
                     len(daemon.lanes)),
            *_metric("table_version", "gauge", "Version of the current service table.",
                     table.version if table is not None else 0),
            *_metric("streams_total", "counter", "Streams that the edge opened.",
                     daemon.counters["streams"]),
            *_metric("streams_refused_total", "counter", "Streams refused without a dial.",
                     daemon.counters["refused"]),
            *_metric("reloads_total", "counter", "Reloads of the configuration file.",
                     daemon.counters["reloads"]),
            *_metric("reload_errors_total", "counter", "Reloads that changed nothing.",
                     daemon.counters["reload_errors"]),
        ]  # fmt: skip
        for name, kind, text in (
            ("link_round_trip_seconds", "gauge", "Smoothed round trip of a link."),
            ("link_streams", "gauge", "Streams open on a link."),
        ):
            lines += [f"# HELP sekisho_connector_{name} {text}"]
            lines += [f"# TYPE sekisho_connector_{name} {kind}"]
            for lane in daemon.lanes:
                if lane.link is not None:
                    value = (
                        lane.link.streams if name == "link_streams" else lane.link.round_trip / 1e6
                    )
                    lines.append(f'sekisho_connector_{name}{{link="{lane.number}"}} {value:g}')
        return "\n".join(lines) + "\n"


def _known_host(head: bytes) -> bool:
    """Return True for one Host that is an address or localhost.

    A page on a stranger's name that was rebound to 127.0.0.1 sends that name (Z01, Z09)."""
    hosts = re.findall(rb"(?im)^host[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", head)
    if len(hosts) != 1:
        return False
    text = hosts[0].decode("latin-1").lower()
    name = text[1 : text.find("]")] if text.startswith("[") else text.partition(":")[0]
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _metric(name: str, kind: str, text: str, value: float) -> list[str]:
    full = f"sekisho_connector_{name}"
    return [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value:g}"]
