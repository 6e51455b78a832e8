"""Rows of the `keys` table, still encrypted: edge.identity.keys opens them."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from edge.store.engine import Database
from edge.store.tables import accounts, events, keys, objects


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

    async def seal_anew(
        self,
        key: Callable[[KeyRow], KeyRow],
        thing: Callable[[str, bytes], bytes],
        bridge: KeyRow,
    ) -> None:
        """Seal every secret of the store anew, in one transaction: all of it, or nothing.

        `key` returns a row of this table under the new master key, `thing` the secret of the object
        with that id. `bridge` takes the place of the row of its kind."""
        async with self._database.write() as connection:
            await connection.execute(delete(keys).where(keys.c.kind == bridge.kind))
            for row in (await connection.execute(select(keys).with_for_update())).all():
                fresh = key(KeyRow(**row._mapping))
                await connection.execute(
                    update(keys)
                    .where(keys.c.name == fresh.name)
                    .values(secret=fresh.secret, master_id=fresh.master_id)
                )
            sealed = select(objects.c.id, objects.c.secret).where(objects.c.secret.is_not(None))
            for ident, secret in (await connection.execute(sealed.with_for_update())).all():
                await connection.execute(
                    update(objects)
                    .where(objects.c.id == ident)
                    .values(secret=thing(ident, secret))
                )
            await connection.execute(
                insert(keys).values(**{f: getattr(bridge, f) for f in bridge.__slots__})
            )

    async def remove(self, name: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(keys).where(keys.c.name == name))

    async def forget_removed(self, tries: int) -> bool:
        """Let nothing that was removed or sealed anew stay in the database's files; False when
        somebody who reads kept some of it there."""
        return await self._database.forget_deleted(tries)

    async def unused_store(self) -> bool:
        """Say whether nobody ever signed in or administered here: the only time when keys may be
        made."""
        async with self._database.read() as connection:
            for table in (keys, accounts, events):
                if (await connection.execute(select(table).limit(1))).first() is not None:
                    return False
            return True
