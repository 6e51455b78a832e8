"""Revocations, numbered in the order in which they were made."""

from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from edge.store.engine import Database
from edge.store.tables import revocations


@dataclass(frozen=True, slots=True)
class RevocationRow:
    seq: int
    kind: str
    id: str
    epoch: int | None
    until: int
    created: int


class Revocations:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, kind: str, target: str, epoch: int | None, until: int, now: int
    ) -> RevocationRow:
        """Store one; when this returns it survives a crash."""
        async with self._database.write() as connection:
            return await insert_revocation(connection, kind, target, epoch, until, now)

    async def known(self, targets: list[tuple[str, str]], now: int) -> bool:
        """Say whether one of these (kind, id) is revoked already."""
        query = select(revocations.c.seq).where(
            tuple_(revocations.c.kind, revocations.c.id).in_(targets), revocations.c.until > now
        )
        async with self._database.read() as connection:
            return (await connection.execute(query.limit(1))).first() is not None

    async def live(self, now: int) -> tuple[int, list[RevocationRow]]:
        """Return (newest number ever given, every row that is still needed)."""
        async with self._database.read() as connection:
            newest = (await connection.execute(select(func.max(revocations.c.seq)))).scalar()
            rows = (
                await connection.execute(
                    select(revocations).where(revocations.c.until > now).order_by(revocations.c.seq)
                )
            ).all()
        return int(newest or 0), [RevocationRow(**row._mapping) for row in rows]

    async def clean(self, now: int) -> None:
        """Delete rows that nothing needs any more, except the newest: it keeps the number."""
        async with self._database.write() as connection:
            newest = select(func.max(revocations.c.seq)).scalar_subquery()
            await connection.execute(
                delete(revocations).where(revocations.c.until <= now, revocations.c.seq < newest)
            )


async def insert_revocation(
    connection: AsyncConnection, kind: str, target: str, epoch: int | None, until: int, now: int
) -> RevocationRow:
    """Store one in the caller's transaction, together with what it follows from."""
    row = (
        await connection.execute(
            insert(revocations)
            .values(kind=kind, id=target, epoch=epoch, until=until, created=now)
            .returning(revocations)
        )
    ).one()
    return RevocationRow(**row._mapping)
