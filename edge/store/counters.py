"""How often something happened to somebody within a window of minutes."""

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edge.store.engine import Database
from edge.store.tables import counters

KEEP = 2 * 60  # minutes; twice the longest window, since strangers choose how many rows there are


class Counters:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, now: float, *pairs: tuple[str, str]) -> None:
        """Count one event under each (kind, key), in one transaction."""
        async with self._database.write() as connection:
            for kind, key in pairs:
                await self._add(connection, kind, key, int(now) // 60)

    async def total(self, kind: str, key: str, now: float, minutes: int) -> int:
        """Return how many events there were in the last `minutes` (the current minute included)."""
        async with self._database.read() as connection:
            return await self._total(connection, kind, key, int(now) // 60 - minutes)

    async def take(self, now: float, minutes: int, *budgets: tuple[str, str, int]) -> bool:
        """Count one event under each (kind, key, bound) unless one of them is used up already; say
        whether it was counted."""
        minute = int(now) // 60
        async with self._database.write() as connection:
            for kind, key, bound in budgets:
                if await self._total(connection, kind, key, minute - minutes) >= bound:
                    return False
            for kind, key, _ in budgets:
                await self._add(connection, kind, key, minute)
            return True

    async def forget(self, kind: str, key: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(counters).where(counters.c.kind == kind, counters.c.key == key)
            )

    async def clean(self, now: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(counters).where(counters.c.minute < int(now) // 60 - KEEP)
            )

    async def _total(self, connection: AsyncConnection, kind: str, key: str, after: int) -> int:
        found = await connection.execute(
            select(func.coalesce(func.sum(counters.c.count), 0)).where(
                counters.c.kind == kind, counters.c.key == key, counters.c.minute > after
            )
        )
        return int(found.scalar_one())

    async def _add(self, connection: AsyncConnection, kind: str, key: str, minute: int) -> None:
        await connection.execute(
            self._database.insert(counters)
            .values(kind=kind, key=key, minute=minute, count=1)
            .on_conflict_do_update(
                index_elements=["kind", "key", "minute"], set_={"count": counters.c.count + 1}
            )
        )
