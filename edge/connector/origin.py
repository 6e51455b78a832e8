"""Dial what a stream's table entry names, and join the two; bytes flow in compiled code."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from _fastpath.contexts import TlsClientContext
from _fastpath.inbound import Inbound
from _fastpath.pem import TlsError
from edge.connector.ingress import Rule
from edge.connector.origin_request import OriginRequest
from edge.connector.service import Service, ServiceRefused, is_link_local

ATTEMPT_APART = 0.25  # seconds between two addresses of one name (RFC 8305, Happy Eyeballs)


class OriginRefused(Exception):
    """The origin can't be reached; `reason` is a name that the edge knows."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


@dataclass(frozen=True, slots=True)
class Target:
    """One table entry, ready to be dialled."""

    service: Service
    origin: OriginRequest
    context: TlsClientContext | None
    pushed: bool  # from the edge: never a link-local address, whatever a name resolves to

    def server_name(self, host: str) -> str:
        """Return the name that the origin's certificate must bear; also its SNI."""
        if self.origin.server_name:
            return self.origin.server_name
        if self.origin.match_sni and host:
            return host
        return self.service.host or "localhost"


def build_target(rule: Rule, *, pushed: bool = False) -> Target:
    """Return the entry's target; ServiceRefused when its TLS settings can't be used."""
    context = None
    if rule.service.secure:
        try:
            context = TlsClientContext(
                trust=rule.origin.ca_pool or None,
                verify=rule.origin.verify,
                alpn=("http/1.1",) if rule.service.scheme != "tls" else (),
            )
        except TlsError as error:
            raise ServiceRefused(f"caPool: {error}") from None
    return Target(rule.service, rule.origin, context, pushed)


async def serve(inbound: Inbound, target: Target, host: str) -> None:
    """Connect the stream to its origin, or refuse it with a reason. Never raises."""
    try:
        await _connect(inbound, target, host)
    except OriginRefused as error:
        inbound.refuse(error.reason, error.text)
    except asyncio.CancelledError:
        inbound.refuse("draining")
        raise
    except Exception as error:  # whatever it was, the edge must not wait for an answer
        inbound.refuse("origin-unreachable", f"{type(error).__name__}: {error}")
        raise
    else:
        inbound.accept()


async def _connect(inbound: Inbound, target: Target, host: str) -> None:
    service = target.service
    if service.kind not in ("tcp", "unix"):
        raise OriginRefused("tunnel-service-missing", f"{service.text} is answered by the edge")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(target.origin.connect_timeout):
            sock = await _dial(target)
    except TimeoutError:
        raise OriginRefused("origin-connect-timeout", f"{service.text}: no answer") from None
    protocol, ready = inbound.origin(target.context, target.server_name(host))
    try:
        async with asyncio.timeout(target.origin.tls_timeout):
            await _attach(loop, protocol, sock)
            await ready
    except TimeoutError:
        raise OriginRefused("origin-connect-timeout", f"{service.text}: TLS hangs") from None
    except OSError as error:
        reason = "origin-tls" if target.context is not None else "origin-unreachable"
        raise OriginRefused(reason, f"{service.text}: {error}") from None
    finally:
        if not ready.done():
            ready.cancel()


async def _attach(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, sock: socket.socket
) -> None:
    if sock.family == socket.AF_UNIX:
        await loop.create_unix_connection(lambda: protocol, sock=sock)
    else:
        await loop.create_connection(lambda: protocol, sock=sock)


async def _dial(target: Target) -> socket.socket:
    """Return a connected socket, or raise OriginRefused."""
    service = target.service
    loop = asyncio.get_running_loop()
    if service.kind == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await loop.sock_connect(sock, service.path)
        except OSError as error:
            sock.close()
            raise refused(service, error) from None
        return sock
    addresses = await resolve(service)
    if target.pushed and any(is_link_local(address[4][0]) for address in addresses):
        raise OriginRefused("origin-address-refused", f"{service.text} is a link-local address")
    sock = await _race(service, addresses, target.origin.happy_eyeballs)
    _keep_alive(sock, target.origin.tcp_keep_alive)
    return sock


AddressInfo = tuple[int, int, int, str, Any]


async def resolve(service: Service) -> list[AddressInfo]:
    """Return the addresses of a service's host, families taking turns."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(service.host, service.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OriginRefused("origin-name", f"{service.host}: {error}") from None
    if not found:
        raise OriginRefused("origin-name", f"{service.host}: no address")
    first = found[0][0]
    same = [one for one in found if one[0] == first]
    other = [one for one in found if one[0] != first]
    turns: list[AddressInfo] = []
    while same or other:
        turns += same[:1] + other[:1]
        same, other = same[1:], other[1:]
    return turns


async def _race(
    service: Service, addresses: Sequence[AddressInfo], side_by_side: bool
) -> socket.socket:
    """Return the first socket that connects; the next address starts after ATTEMPT_APART."""
    failure: OSError | None = None
    running: set[asyncio.Task[socket.socket]] = set()
    waiting = list(addresses)
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_connect_one(waiting.pop(0))))
            timeout = ATTEMPT_APART if waiting and side_by_side else None
            done, running = await asyncio.wait(
                running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failure = failure or error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_late)
    raise refused(service, failure or OSError("no address"))


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_one(address: AddressInfo) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket, seconds: float) -> None:
    if seconds <= 0:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds)))


def refused(service: Service, error: OSError) -> OriginRefused:
    """Return what a failed dial means for the edge."""
    text = f"{service.text}: {error.strerror or error}"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return OriginRefused("origin-refused", text)
    if isinstance(error, ssl.SSLError):
        return OriginRefused("origin-tls", text)
    if error.errno == errno.ETIMEDOUT:
        return OriginRefused("origin-connect-timeout", text)
    return OriginRefused("origin-unreachable", text)
