"""Rows of the `keys` table, still encrypted: edge.identity.keys opens them."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from edge.store.engine import Database
from edge.store.tables import accounts, events, keys


@dataclass(frozen=True, slots=True)
class KeyRow:
    name: str
    kind: str
    created: int
    active_from: int
    retires: int | None
    public: str
    secret: bytes  # ciphertext
    master_id: str


class Keys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[KeyRow]:
        async with self._database.read() as connection:
            rows = await connection.execute(select(keys).order_by(keys.c.active_from, keys.c.name))
            return [KeyRow(**row._mapping) for row in rows]

    async def put(self, row: KeyRow, *, retire: dict[str, int] | None = None) -> None:
        """Insert a row, and give older ones their time to retire, in one transaction."""
        async with self._database.write() as connection:
            for name, when in (retire or {}).items():
                await connection.execute(
                    update(keys).where(keys.c.name == name).values(retires=when)
                )
            await connection.execute(
                insert(keys).values(**{f: getattr(row, f) for f in row.__slots__})
            )

    async def replace(self, rows: list[KeyRow]) -> None:
        """Write the rows over those of the same name (re-encryption under another master key)."""
        async with self._database.write() as connection:
            for row in rows:
                await connection.execute(
                    update(keys)
                    .where(keys.c.name == row.name)
                    .values(secret=row.secret, master_id=row.master_id)
                )

    async def remove(self, name: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(keys).where(keys.c.name == name))

    async def unused_store(self) -> bool:
        """Say whether nobody ever signed in or administered here: the only time when keys may be
        made."""
        async with self._database.read() as connection:
            for table in (keys, accounts, events):
                if (await connection.execute(select(table).limit(1))).first() is not None:
                    return False
            return True
