"""Refusals of one worker, added up until they go to control: a flood makes numbers only."""

import ipaddress
from typing import Any

MAX_KEYS = 10_000  # different refusals between two batches; the rest is counted in one
Key = tuple[bytes, bytes, bytes, bytes]


class Refusals:
    """Counts by (client, application, person, reason)."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._others = 0
        self.lost = 0  # counted together because there were too many kinds

    def add(self, client: bytes, application: bytes, email: bytes, reason: bytes) -> None:
        key = (client, application, email, reason)
        count = self._counts.get(key, 0)
        if count or len(self._counts) < MAX_KEYS:
            self._counts[key] = count + 1
        else:
            self._others += 1
            self.lost += 1

    def take(self) -> list[dict[str, Any]]:
        """Return what came since the last call, and begin anew."""
        if not self._counts:
            return []
        events = [
            _event(address_text(client), application, email, reason, count)
            for (client, application, email, reason), count in self._counts.items()
        ]
        if self._others:
            events.append(_event("", b"", b"", b"too-many-to-tell-apart", self._others))
        self._counts, self._others = {}, 0
        return events


def _event(
    address: str, application: bytes, email: bytes, reason: bytes, count: int
) -> dict[str, Any]:
    return {
        "kind": "refused", "address": address, "application": application.decode(),
        "who": email.decode("utf-8", "replace"), "reason": reason.decode(), "count": count,
    }


def address_text(client: bytes) -> str:
    """Return an address of 16 bytes (IPv4 as mapped) as text."""
    address = ipaddress.IPv6Address(client)
    return str(address.ipv4_mapped or address)
