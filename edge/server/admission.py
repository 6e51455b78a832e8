"""Who may register a link, and what its table may announce: decisions, nothing is sent here."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from edge.identity.authority import Role, covers
from edge.wire import messages as wire

CLOCK_SKEW = 300.0  # seconds between connector and edge; over it: register refused, final
MAX_LINKS_PER_TUNNEL = 200  # links of one tunnel in one worker; over it: register refused

_REPLICA = re.compile(r"[0-9a-f]{1,64}")


def judge(
    role: Role | None,
    asked: wire.Register,
    *,
    tunnels: Container[str],
    revoked: Callable[[str, str], bool],
    now: float,
    links: int,
) -> tuple[wire.Refused | None, int]:
    """Return (why this connector may not register, 0) or (None, protocol version).

    `links` are those that its tunnel has in this worker already."""
    if role is None or role.role != "connector":
        return wire.Refused("link-role", "not a connector's certificate", final=True), 0
    if asked.tunnel != role.id:
        text = "the certificate is for another tunnel"
        return wire.Refused("link-role", text, final=True), 0
    if _REPLICA.fullmatch(asked.replica) is None:
        return wire.Refused("link-protocol", "a replica is named by hex digits"), 0
    common = set(asked.versions) & set(wire.VERSIONS)
    if not common:
        text = f"this edge speaks {list(wire.VERSIONS)}, the connector {list(asked.versions)}"
        return wire.Refused("link-version", text, final=True), 0
    if revoked("credential", role.credential):
        return wire.Refused("link-revoked", "the credential was revoked", final=True), 0
    if asked.tunnel not in tunnels:
        return wire.Refused("tunnel-unknown", "no such tunnel", retry_after=5.0), 0
    skew = asked.clock - now if asked.clock else 0.0
    if abs(skew) > CLOCK_SKEW:
        way = "ahead of" if skew > 0 else "behind"
        text = f"the connector's clock is {abs(skew):.0f} s {way} the edge's"
        return wire.Refused("link-clock", text, final=True), 0
    if links >= MAX_LINKS_PER_TUNNEL:
        return wire.Refused("link-refused", "too many links of this tunnel", retry_after=8), 0
    return None, max(common)


def outside(role: Role | None, entries: tuple[dict[str, Any], ...]) -> str:
    """Return what is announced and not covered by the credential, fit to be shown, or "".

    A rule without a hostname is one for every host that the edge routes to this tunnel. Under a
    limited credential that would be the other credentials' hosts too, so it may only name what the
    edge answers itself and nobody's origin is asked for.
    """
    limit = role.hostnames if role is not None else ()
    if not limit:
        return ""
    for entry in entries:
        name = str(entry.get("hostname") or "").lower()
        if not covers(limit, name) and (name or not _by_the_edge(entry)):
            return repr(name) if name else "every hostname"
    return ""


def _by_the_edge(entry: dict[str, Any]) -> bool:
    """Return True for a service that the edge answers without a stream: see _fastpath.table."""
    service = entry.get("service")
    return isinstance(service, str) and (
        service == "hello_world" or service.startswith("http_status:")
    )


def unrouted(tunnel: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the announced hostnames that no route sends to this tunnel (of the snapshot)."""
    hosts = tunnel.get("hosts")
    if hosts is None:
        return ()
    names = dict.fromkeys(str(entry.get("hostname") or "").lower() for entry in entries)
    return tuple(
        name for name in names if name and not any(_meet(name, host) for host in hosts)
    )


def shown(text: str) -> str:
    """Return what may be shown of a text that a connector sent about itself."""
    return "".join(letter for letter in text[:100] if letter.isprintable())


def _meet(one: str, other: str) -> bool:
    """Return True when some name fits both patterns."""
    if one == other:
        return True
    if one.startswith("*.") and other.startswith("*."):
        return one.endswith(other[1:]) or other.endswith(one[1:])
    if one.startswith("*."):
        return other.endswith(one[1:])
    return other.startswith("*.") and one.endswith(other[1:])
