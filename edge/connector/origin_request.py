"""`originRequest`: how a connector dials, and what the edge does for it (design §7).

| key | who |
|---|---|
| connectTimeout, tlsTimeout, tcpKeepAlive, noHappyEyeballs | the connector, when it dials |
| originServerName, matchSNItoHost, caPool, noTLSVerify | the connector, when it speaks TLS |
| httpHostHeader, disableChunkedEncoding | the edge, told with the table |
| keepAliveConnections, keepAliveTimeout, http2Origin | harmless: warned about, not done |
| access, ipRules, bastionMode, proxyType | would weaken a check: an error |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.config.problem import did_you_mean
from edge.config.source import Map, RawMark
from edge.connector.scalars import read_boolean, read_duration, read_number, read_text

Complain = Callable[[RawMark, str, str], None]

ORIGIN_KEYS = (
    "connectTimeout", "tlsTimeout", "tcpKeepAlive", "noHappyEyeballs", "keepAliveConnections",
    "keepAliveTimeout", "httpHostHeader", "originServerName", "matchSNItoHost", "caPool",
    "noTLSVerify", "disableChunkedEncoding", "http2Origin", "bastionMode", "proxyAddress",
    "proxyPort", "proxyType", "ipRules", "access",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """Options of one rule, defaults filled in. Times in seconds."""

    connect_timeout: float = 30.0
    tls_timeout: float = 10.0
    tcp_keep_alive: float = 30.0
    happy_eyeballs: bool = True
    host_header: str = ""
    server_name: str = ""
    match_sni: bool = False
    ca_pool: bytes = b""  # PEM; empty = the system's anchors
    verify: bool = True
    disable_chunked: bool = False

    def edge_side(self) -> dict[str, Any]:
        """Return what the edge has to know, under cloudflared's names."""
        options: dict[str, Any] = {}
        if self.host_header:
            options["httpHostHeader"] = self.host_header
        if self.disable_chunked:
            options["disableChunkedEncoding"] = True
        if self.match_sni:
            options["matchSNItoHost"] = True
        return options


def read_origin_request(
    values: Any, mark: RawMark, base: OriginRequest, folder: Path, complain: Complain
) -> OriginRequest:
    """Return the options of one `originRequest` mapping over those of the file's top level."""
    if not isinstance(values, Map):
        complain(mark, "“originRequest” is a mapping", "error")
        return base
    for key, at in values.keys_at.items():
        if key not in ORIGIN_KEYS:
            complain(
                at, f"there is no origin option “{key}”{did_you_mean(key, ORIGIN_KEYS)}", "error"
            )
    _refuse_weakening(values, complain)
    verify = not read_boolean(values, "noTLSVerify", not base.verify, complain)
    if not verify and base.verify:
        complain(
            values.values_at["noTLSVerify"],
            "noTLSVerify: anybody between connector and origin can read and change the traffic",
            "warning",
        )
    host_header = read_text(values, "httpHostHeader", base.host_header, complain)
    if any(ord(letter) <= 32 or ord(letter) > 126 for letter in host_header):
        complain(values.values_at["httpHostHeader"], "httpHostHeader is a host name", "error")
        host_header = ""
    return replace(
        base,
        connect_timeout=read_duration(
            values, "connectTimeout", base.connect_timeout, 600, complain
        ),
        tls_timeout=read_duration(values, "tlsTimeout", base.tls_timeout, 600, complain),
        tcp_keep_alive=read_duration(values, "tcpKeepAlive", base.tcp_keep_alive, 7200, complain),
        happy_eyeballs=not read_boolean(
            values, "noHappyEyeballs", not base.happy_eyeballs, complain
        ),
        host_header=host_header,
        server_name=read_text(values, "originServerName", base.server_name, complain),
        match_sni=read_boolean(values, "matchSNItoHost", base.match_sni, complain),
        ca_pool=_pool(values, base.ca_pool, folder, complain),
        verify=verify,
        disable_chunked=read_boolean(
            values, "disableChunkedEncoding", base.disable_chunked, complain
        ),
    )


def _refuse_weakening(values: Map, complain: Complain) -> None:
    """Tell which keys are not done: an error where that would weaken a check."""
    at = values.keys_at
    access = values.get("access")
    if access is not None:
        required = access.get("required") if isinstance(access, Map) else "true"
        if required not in (None, "false"):
            complain(
                at["access"],
                "access is not checked by the connector: write policies for the application at "
                "the edge, and verify Cf-Access-Jwt-Assertion in the origin",
                "error",
            )
    if values.get("ipRules") is not None:
        complain(at["ipRules"], "ipRules is for socks-proxy, which is not supported", "error")
    if read_boolean(values, "bastionMode", False, complain):
        complain(at["bastionMode"], "bastionMode lets users choose what is dialled", "error")
    if read_text(values, "proxyType", "", complain):
        complain(at["proxyType"], "a proxy in front of the origin is not supported", "error")
    for key in ("proxyAddress", "proxyPort"):
        if values.get(key) is not None:
            complain(at[key], f"“{key}” is not used: proxyType is not supported", "warning")
    if read_boolean(values, "http2Origin", False, complain):
        complain(at["http2Origin"], "the origin is spoken to in HTTP/1.1", "warning")
    read_number(values, "keepAliveConnections", 100, 0, 1_000_000, complain)
    read_duration(values, "keepAliveTimeout", 90.0, 86400, complain)
    for key in ("keepAliveConnections", "keepAliveTimeout"):
        if values.get(key) is not None:
            complain(at[key], f"“{key}” is decided by the edge and ignored here", "warning")


def _pool(values: Map, base: bytes, folder: Path, complain: Complain) -> bytes:
    name = read_text(values, "caPool", "", complain)
    if not name:
        return base
    path = folder / Path(name).expanduser()
    try:
        pem = path.read_bytes()
    except OSError as error:
        complain(values.values_at["caPool"], f"{path}: {error.strerror or error}", "error")
        return base
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        complain(values.values_at["caPool"], f"{path}: holds no PEM certificate", "error")
        return base
    return pem
