"""The audit trail: every sign-in, refusal and administrative change has a row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from edge.store.engine import Database
from edge.store.tables import events


@dataclass(frozen=True, slots=True)
class Event:
    id: str  # random: writing the same event twice stores it once
    at: int
    kind: str
    who: str = ""
    aud: str = ""
    reason: str = ""
    address: str = ""
    count: int = 1
    detail: tuple[tuple[str, Any], ...] = ()


class Events:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, batch: Sequence[Event]) -> None:
        """Store the events; one that is stored already is left as it is."""
        if not batch:
            return
        rows = [
            {
                "id": e.id,
                "at": e.at,
                "kind": e.kind,
                "who": e.who[:320],
                "aud": e.aud,
                "reason": e.reason,
                "address": e.address,
                "count": e.count,
                "detail": json.dumps(dict(e.detail), separators=(",", ":")),
            }
            for e in batch
        ]
        async with self._database.write() as connection:
            await connection.execute(
                self._database.insert(events).on_conflict_do_nothing(index_elements=["id"]), rows
            )

    async def newest(self, limit: int = 100, *, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the newest events, newest first."""
        query = select(events).order_by(events.c.seq.desc()).limit(limit)
        if kind is not None:
            query = query.where(events.c.kind == kind)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [{**row._mapping, "detail": json.loads(row.detail)} for row in rows]

    async def clean(self, before: int) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(events).where(events.c.at < before))
