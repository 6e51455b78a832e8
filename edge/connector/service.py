"""What an ingress rule points at: `http://wiki:8080`, `unix:/run/app.sock`, `http_status:404` …"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

HTTP = {"http": 80, "https": 443, "ws": 80, "wss": 443}
TCP = {"tcp": 0, "ssh": 22, "rdp": 3389, "smb": 445}
SECURE = ("https", "wss", "unix+tls")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")


class ServiceRefused(ValueError):
    """Not a service; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Service:
    """One parsed service. `text` is what the edge is told; there is never a secret in it."""

    kind: str  # tcp | unix | status | hello
    scheme: str
    text: str
    host: str = ""
    port: int = 0
    path: str = ""  # of a Unix socket
    status: int = 0

    @property
    def secure(self) -> bool:
        """True when the origin is spoken to under TLS."""
        return self.scheme in SECURE


def parse(text: str) -> Service:
    """Return the service, or raise ServiceRefused with a sentence."""
    if text == "hello_world" or text == "hello-world":
        return Service("hello", "hello_world", "hello_world")
    scheme, colon, rest = text.partition(":")
    if not colon:
        if text in ("bastion", "socks-proxy"):
            raise ServiceRefused(f"{text} lets users choose what is dialled: not supported")
        raise ServiceRefused(f"“{text}” is not a service; write http://HOST:PORT")
    if scheme == "http_status":
        if not (rest.isascii() and rest.isdigit() and 100 <= int(rest) <= 999):
            raise ServiceRefused("http_status takes a number from 100 to 999")
        return Service("status", scheme, f"http_status:{int(rest)}", status=int(rest))
    if scheme in ("unix", "unix+tls"):
        path = rest.removeprefix("//") if rest.startswith("///") else rest
        if not path.startswith("/"):
            raise ServiceRefused(f"{scheme}: wants the absolute path of a socket")
        if len(path.encode()) > 107:
            raise ServiceRefused("a socket's path is at most 107 bytes long")
        return Service("unix", scheme, f"{scheme}:{path}", path=path)
    return _network(text, scheme)


def _network(text: str, scheme: str) -> Service:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ServiceRefused(f"“{text}” is not a service; write http://HOST:PORT")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        raise ServiceRefused(f"“{text}”: {error}") from None
    if not text.startswith(f"{scheme}://") or not host:
        raise ServiceRefused(f"“{text}” is not a service; write {scheme}://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise ServiceRefused("a service has no user name or password in it")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ServiceRefused("a service has no path: requests keep the path that they came with")
    if not _is_host(host):
        raise ServiceRefused(f"“{host}” is not a host name or address")
    usual = HTTP.get(scheme, TCP.get(scheme, 0))
    if port is None:
        port = usual
    if not port:
        raise ServiceRefused(f"{scheme} has no usual port: write {scheme}://{host}:PORT")
    shown = f"[{host}]" if ":" in host else host
    return Service("tcp", scheme, f"{scheme}://{shown}:{port}", host=host, port=port)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return len(host) <= 253 and _NAME.fullmatch(host) is not None
    return True


def is_link_local(address: str) -> bool:
    """Return True for addresses that a pushed service may never reach (cloud metadata and such)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_link_local or found.is_multicast or found.is_unspecified


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of `allow:`, what a pushed table may point at."""

    scheme: str  # "*" = any
    host: str  # a name, "*.suffix", a network, or "*" for any name or address
    port: int  # 0 = any
    path: str  # of a Unix socket, may end in "*"

    def admits(self, service: Service) -> bool:
        """Return True when the pattern covers the service as written; no name is resolved."""
        if self.scheme not in ("*", service.scheme):
            return False
        if service.kind == "unix":
            if self.path.endswith("*"):
                return service.path.startswith(self.path[:-1]) and ".." not in service.path
            return bool(self.path) and service.path == self.path
        if self.path or service.kind != "tcp":
            return False
        return self.port in (0, service.port) and self.admits_host(service.host)

    def admits_host(self, host: str) -> bool:
        """Return True when the host part covers a name or an address."""
        if is_link_local(host):
            return False
        if self.host == "*" or self.host == host:
            return True
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(self.host)
        except ValueError:
            return False


def parse_pattern(text: str) -> Pattern:
    """Return an `allow:` pattern: `http://10.0.0.0/8:*`, `*://wiki.lan:80`, `unix:/run/app/*`."""
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise ServiceRefused(f"“{text}” is not a pattern; write SCHEME://HOST:PORT")
    if scheme in ("unix", "unix+tls"):
        if not rest.startswith("/"):
            raise ServiceRefused("unix: wants an absolute path")
        return Pattern(scheme, "", 0, rest)
    match = re.fullmatch(r"//(\[[0-9a-fA-F:.]+(?:/\d+)?\]|[^:]+):(\*|\d+)", rest)
    if match is None:
        raise ServiceRefused(f"“{text}” is not a pattern; write SCHEME://HOST:PORT")
    host = match[1].strip("[]").lower()
    port = 0 if match[2] == "*" else int(match[2])
    if "/" in host:
        try:
            ipaddress.ip_network(host)
        except ValueError as error:
            raise ServiceRefused(f"“{text}”: {error}") from None
    elif host != "*" and not _is_host(host.removeprefix("*.")):
        raise ServiceRefused(f"“{host}” is not a host name, address or network")
    return Pattern(scheme, host, port, "")
