"""Service tokens: names, client ids, and hashes of their secrets."""

import json
from dataclasses import dataclass

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from edge.store.engine import Database
from edge.store.errors import NameTaken
from edge.store.tables import service_tokens


@dataclass(frozen=True, slots=True)
class ServiceTokenRow:
    id: str
    client_id: str
    name: str
    secrets: tuple[tuple[str, int], ...]  # (SHA-256 in hex, expires), newest first
    created: int
    expires: int


class ServiceTokens:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: ServiceTokenRow) -> None:
        """Store a new token; NameTaken when its name is in use."""
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    insert(service_tokens).values(
                        id=row.id,
                        client_id=row.client_id,
                        name=row.name,
                        secrets=json.dumps(row.secrets),
                        created=row.created,
                        expires=row.expires,
                    )
                )
        except IntegrityError as error:
            raise NameTaken(row.name) from error

    async def all(self) -> list[ServiceTokenRow]:
        async with self._database.read() as connection:
            rows = (
                await connection.execute(select(service_tokens).order_by(service_tokens.c.name))
            ).all()
        return [_row(row._mapping) for row in rows]

    async def find(self, which: str) -> ServiceTokenRow | None:
        """Return the token with this id, client id or name."""
        columns = (service_tokens.c.id, service_tokens.c.client_id, service_tokens.c.name)
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    select(service_tokens).where(or_(*(column == which for column in columns)))
                )
            ).first()
        return None if row is None else _row(row._mapping)

    async def change(self, token: str, secrets: tuple[tuple[str, int], ...], expires: int) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(service_tokens)
                .where(service_tokens.c.id == token)
                .values(secrets=json.dumps(secrets), expires=expires)
            )

    async def remove(self, token: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(service_tokens).where(service_tokens.c.id == token))


def _row(columns: object) -> ServiceTokenRow:
    values = dict(columns)  # type: ignore[call-overload]
    values["secrets"] = tuple((digest, until) for digest, until in json.loads(values["secrets"]))
    return ServiceTokenRow(**values)
