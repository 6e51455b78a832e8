"""What a worker knows about one link besides its bytes, and how `tunnel info` shows it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from _fastpath.tunnel import Link
from edge.identity.authority import Role
from edge.wire import messages as wire

MESSAGES_PER_MINUTE = 120  # control messages of one link, of whatever kind; over it: link closed
TABLES_PER_MINUTE = 30  # table announcements of one link; over it: link closed
CERTIFICATES_PER_MINUTE = 3  # certificate requests of one link; over it: link closed


@dataclass(slots=True)
class Peer:
    """What this worker knows about one link besides its bytes."""

    role: Role | None
    since: float  # unix seconds
    source: str  # address of the connector
    replica: str = ""
    software: str = ""
    accepted: bool = False
    entries: tuple[dict[str, Any], ...] = ()  # of the current table, as announced
    unrouted: tuple[str, ...] = ()
    statistics: dict[str, Any] = field(default_factory=dict)
    configured: dict[int, asyncio.Future[wire.Configured]] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    minute: float = 0.0  # when the counts below began, monotonic
    messages: int = 0
    tables: int = 0
    certificates: int = 0
    refused: bool = False  # told so; nothing that it says counts any more

    def floods(self, now: float) -> bool:
        """Count a message before it is looked at; True when it is one too many for one minute."""
        if now - self.minute >= 60.0:
            self.minute, self.messages, self.tables, self.certificates = now, 0, 0, 0
        self.messages += 1
        return self.messages > MESSAGES_PER_MINUTE

    def over_rate(self, message: wire.Message) -> bool:
        """Count what costs the edge more; True when it is too much for one minute."""
        self.tables += isinstance(message, wire.Table)
        self.certificates += isinstance(message, wire.CertificateRequest)
        return self.tables > TABLES_PER_MINUTE or self.certificates > CERTIFICATES_PER_MINUTE


def state_of(link: Link, slot: int) -> dict[str, Any]:
    """Return an accepted link as others see it: numbers and names, at most 100 of each."""
    peer: Peer = link.user
    return {
        "tunnel": link.tunnel.decode(),
        "replica": peer.replica,
        "link": link.number,
        "slot": slot,
        "state": "draining" if link.draining else "up" if link.table else "no table",
        "since": peer.since,
        "source": peer.source,
        "software": peer.software,
        "round_trip": link.round_trip,
        "streams": link.streams,
        "total": link.total,
        "table": link.table.version if link.table else None,
        "unrouted": list(peer.unrouted[:100]),
        "entries": [
            {
                "hostname": str(one.get("hostname", "")),
                "path": str(one.get("path", "")),
                "service": str(one.get("service", "")),
            }
            for one in peer.entries[:100]
        ],
        "statistics": peer.statistics,
    }
