"""What the command line and the API own, as (kind, name) with a JSON body: tunnels, credentials,
routes."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from edge.store.engine import Database
from edge.store.errors import NameTaken
from edge.store.tables import objects


@dataclass(frozen=True, slots=True)
class Thing:
    id: str
    kind: str
    name: str
    body: dict[str, Any]
    secret: bytes | None  # encrypted by the caller: KeyStore.seal(id, …)
    created: int
    changed: int


Things = list[Thing]  # Objects has a method called list


class Objects:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, kind: str, id: str, name: str, body: dict[str, Any], secret: bytes | None, now: int
    ) -> Thing:
        """Store a new one; NameTaken when another of this kind has the name."""
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    insert(objects).values(
                        id=id,
                        kind=kind,
                        name=name,
                        body=json.dumps(body),
                        secret=secret,
                        created=now,
                        changed=now,
                    )
                )
        except IntegrityError as error:
            raise NameTaken(name) from error
        return Thing(id, kind, name, body, secret, now, now)

    async def get(self, id: str) -> Thing | None:
        return await self._one(objects.c.id == id)

    async def find(self, kind: str, name: str) -> Thing | None:
        return await self._one((objects.c.kind == kind) & (objects.c.name == name))

    async def list(self, kind: str | None = None) -> Things:
        query = select(objects).order_by(objects.c.kind, objects.c.name)
        if kind is not None:
            query = query.where(objects.c.kind == kind)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [_thing(row._mapping) for row in rows]

    async def put(self, id: str, body: dict[str, Any], now: int) -> bool:
        """Replace the body; say whether there was such an object."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(objects).where(objects.c.id == id).values(body=json.dumps(body), changed=now)
            )
            return changed.rowcount == 1

    async def remove(self, id: str) -> bool:
        async with self._database.write() as connection:
            changed = await connection.execute(delete(objects).where(objects.c.id == id))
            return changed.rowcount == 1

    async def _one(self, where: Any) -> Thing | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(objects).where(where))).first()
        return None if row is None else _thing(row._mapping)


def _thing(columns: Any) -> Thing:
    return Thing(**{**columns, "body": json.loads(columns["body"])})
