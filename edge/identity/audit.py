"""The audit trail's way in: events are queued, and what anybody can repeat is added up, so that
nobody can fill a disk.

Refusals count per (person or address, application, reason) and minute; what a stranger typed is no
person: his client network stands for him. Visits of who is signed in count per person, application,
client network and minute. Above 10,000 different keys in one minute the rest is counted in one
event. A batch that the database can't take now stays."""

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.store import Event, Store, StoreUnavailable

MAX_KEYS = 10_000  # different refusals in one minute, and visits; over it: they share one event
MAX_WAITING = 100_000  # events that wait for a database that is away; over it: one counting event
BATCH = 500

Key = tuple[str, str, str, str]  # kind, who, application, and what else tells two apart

log = logging.getLogger("sekisho.audit")


@dataclass(slots=True)
class _Sum:
    count: int
    reason: str
    address: str
    detail: dict[str, str]


class _Sums:
    """One minute's counts; what finds no key of its own is counted in one event of `kind`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._sums: dict[Key, _Sum] = {}
        self._others = 0

    def count(
        self, key: Key, reason: str, address: str, count: int, detail: dict[str, str]
    ) -> None:
        entry = self._sums.get(key)
        if entry is not None:
            entry.count += count
        elif len(self._sums) < MAX_KEYS:
            self._sums[key] = _Sum(count, reason, address, detail)
        else:
            self._others += count

    def take(self, at: int) -> list[Event]:
        """Return the events, and begin anew."""
        events = [
            Event(
                str(uuid.uuid4()), at, kind, who, aud, one.reason, one.address, one.count,
                tuple(sorted(one.detail.items())),
            )
            for (kind, who, aud, _), one in self._sums.items()
        ]
        if self._others:
            many = "too-many-to-tell-apart"
            events.append(
                Event(str(uuid.uuid4()), at, self._kind, reason=many, count=self._others)
            )
        self._sums, self._others = {}, 0
        return events


class Audit:
    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._waiting: list[Event] = []
        self._refused, self._entered = _Sums("refused"), _Sums("application-session")
        self._minute = 0
        self.lost = 0  # events that found no room; written as one event with this count

    def record(
        self,
        kind: str,
        *,
        who: str = "",
        aud: str = "",
        reason: str = "",
        address: str = "",
        **detail: Any,
    ) -> None:
        """Queue one event; it is written within a second."""
        self._add(
            Event(
                id=str(uuid.uuid4()),
                at=int(self._clock()),
                kind=kind,
                who=who,
                aud=aud,
                reason=reason,
                address=address,
                detail=tuple(sorted(detail.items())),
            )
        )

    def refused(self, *, who: str, address: str, aud: str, reason: str, count: int = 1) -> None:
        """Count a refusal of this person, or of this address when nobody is signed in."""
        self._count("refused", who or address, aud, reason, address, count, {})

    def stranger(
        self, kind: str, *, network: str, aud: str = "", reason: str = "", **typed: str
    ) -> None:
        """Count something that anybody can cause, under the client's network.

        `typed` is what they said about themselves: the first of a minute stands as an example."""
        self._count(kind, network, aud, reason, network, 1, typed)

    def entered(self, *, who: str, aud: str, address: str, network: str) -> None:
        """Count a person's way into an application, per client network and minute."""
        self._turn()
        self._entered.count(("application-session", who, aud, network), "", address, 1, {})

    def _count(
        self, kind: str, who: str, aud: str, reason: str, address: str, count: int,
        detail: dict[str, str],
    ) -> None:
        self._turn()
        self._refused.count((kind, who, aud, reason), reason, address, count, detail)

    def _turn(self, force: bool = False) -> None:
        """Turn the sums of a minute that is over into events."""
        minute = int(self._clock()) // 60
        if minute == self._minute and not force:
            return
        for sums in (self._refused, self._entered):
            for event in sums.take(self._minute * 60):
                self._add(event)
        self._minute = minute

    def _add(self, event: Event) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.lost += 1
        else:
            self._waiting.append(event)

    async def flush(self, *, everything: bool = False) -> None:
        """Write what waits. What the database can't take now is kept for the next call."""
        self._turn(force=everything)
        while self._waiting:
            batch = self._waiting[:BATCH]
            try:
                await self._store.events.add(batch)
            except StoreUnavailable as error:
                log.error("audit events wait for the database: %d (%s)", len(self._waiting), error)
                return
            del self._waiting[: len(batch)]
        if self.lost:
            lost, self.lost = self.lost, 0
            self.record("audit-overflow", count=lost)


def detail_text(event: Event) -> str:
    return json.dumps(dict(event.detail))
