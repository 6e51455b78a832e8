"""Dial the edge: straight, or through the HTTP proxy that the environment names."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from _fastpath.contexts import TlsClientContext
from _fastpath.dialled import client_pipe
from edge.connector.scalars import split_address

if TYPE_CHECKING:
    from _fastpath.endpoint import Pipe

DIAL_TIMEOUT = 15.0  # seconds to a finished TLS handshake, proxy included
MAX_PROXY_HEAD = 16384  # bytes of a proxy's answer to CONNECT


class DialFailed(Exception):
    """The edge can't be reached; the sentence says how far it got."""


def proxy_for(host: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the proxy to use for `host`, or "" for none."""
    url = environ.get("HTTPS_PROXY") or environ.get("https_proxy") or ""
    if not url:
        return ""
    exempt = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    for one in (part.strip().lower() for part in exempt.split(",")):
        if one == "*" or (one and (host == one or host.endswith("." + one.lstrip(".")))):
            return ""
    return url


async def dial(
    address: str,
    context: TlsClientContext,
    server_name: str,
    environ: Mapping[str, str] = os.environ,
) -> Pipe:
    """Return a pipe to the edge whose handshake is done, or raise DialFailed."""
    where = split_address(address)
    if where is None:
        raise DialFailed(f"“{address}” is not host:port")
    host, port = where
    loop = asyncio.get_running_loop()
    sock = None
    try:
        async with asyncio.timeout(DIAL_TIMEOUT):
            proxy = proxy_for(host, environ)
            sock = await (_through(proxy, host, port) if proxy else _straight(host, port))
            protocol, ready = client_pipe(loop, context, server_name)
            await loop.create_connection(lambda: protocol, sock=sock)
            sock = None  # the transport owns it now
            return await ready
    except TimeoutError:
        raise DialFailed(f"{address}: no answer within {DIAL_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise DialFailed(f"{address}: {error.strerror or error}") from None
    finally:
        if sock is not None:
            sock.close()


async def _straight(host: str, port: int, leads: str = "the edge") -> socket.socket:
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise DialFailed(unresolved(host, error, leads)) from None
    for family, kind, protocol, _, where in found:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            await loop.sock_connect(sock, where)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def unresolved(host: str, error: socket.gaierror, leads: str) -> str:
    """Return the sentence for a name without an address: what to do about it."""
    if error.errno == socket.EAI_AGAIN:
        return f"“{host}” can't be resolved now: no name server answers this machine"
    record = f"the DNS record (A, AAAA or CNAME) that leads to {leads} is missing"
    return f"“{host}” doesn't resolve: {record}"


async def _through(proxy: str, host: str, port: int) -> socket.socket:
    """Ask an HTTP proxy for a tunnel (RFC 9110, 9.3.6); return the socket behind its 2xx."""
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise DialFailed("HTTPS_PROXY must be http://HOST:PORT")
    sock = await _straight(parts.hostname, parts.port or 80, "the proxy")
    try:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            # byte by byte would be exact; a proxy says nothing behind its head before we do
            part = await loop.sock_recv(sock, 4096)
            if not part or len(head) > MAX_PROXY_HEAD:
                raise DialFailed("the proxy closed, or its answer is no head of a response")
            head += part
        status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        if status is None or not status[1].startswith(b"2"):
            line = head.split(b"\r\n", 1)[0][:100].decode(errors="replace")
            raise DialFailed(f"the proxy refused: {line}")
        if not head.endswith(b"\r\n\r\n"):
            raise DialFailed("the proxy sent bytes behind its answer")
    except BaseException:
        sock.close()
        raise
    return sock
