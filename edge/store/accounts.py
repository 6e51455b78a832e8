"""People: one account per (issuer, subject), with the epoch that voids older tokens."""

import uuid
from dataclasses import dataclass

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from edge.store.engine import Database
from edge.store.tables import accounts, subjects


@dataclass(frozen=True, slots=True)
class Account:
    id: str  # random UUID, the token's `sub`
    email: str
    name: str
    epoch: int
    disabled: bool
    created: int
    last_seen: int


class Accounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def signed_in(
        self, issuer: str, subject: str, email: str, name: str, now: int
    ) -> Account:
        """Return the account of (issuer, subject), made on the first visit, with its newest
        address."""
        try:
            return await self._signed_in(issuer, subject, email, name, now)
        except IntegrityError:  # two first visits at once: the other one has made it
            return await self._signed_in(issuer, subject, email, name, now)

    async def _signed_in(
        self, issuer: str, subject: str, email: str, name: str, now: int
    ) -> Account:
        async with self._database.write() as connection:
            found = (
                await connection.execute(
                    select(subjects.c.account).where(
                        subjects.c.issuer == issuer, subjects.c.subject == subject
                    )
                )
            ).scalar()
            if found is None:
                found = str(uuid.uuid4())
                await connection.execute(
                    insert(accounts).values(
                        id=found,
                        email=email,
                        name=name,
                        epoch=0,
                        disabled=False,
                        created=now,
                        last_seen=now,
                    )
                )
                await connection.execute(
                    insert(subjects).values(issuer=issuer, subject=subject, account=found)
                )
            else:
                await connection.execute(
                    update(accounts)
                    .where(accounts.c.id == found)
                    .values(email=email, name=name, last_seen=now)
                )
            row = (await connection.execute(select(accounts).where(accounts.c.id == found))).one()
            return Account(**row._mapping)

    async def get(self, account: str) -> Account | None:
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(accounts).where(accounts.c.id == account))
            ).first()
            return None if row is None else Account(**row._mapping)

    async def named(self, who: str) -> list[Account]:
        """Return every account with this id or e-mail address (one address may have several
        accounts)."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(accounts).where(or_(accounts.c.id == who, accounts.c.email == who.lower()))
            )
            return [Account(**row._mapping) for row in rows]

    async def raise_epoch(self, account: str) -> int:
        """Void every token of this account so far; return the new epoch."""
        async with self._database.write() as connection:
            return await raise_epoch(connection, account)

    async def disable(self, account: str, disabled: bool) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(accounts).where(accounts.c.id == account).values(disabled=disabled)
            )


async def raise_epoch(connection: AsyncConnection, account: str) -> int:
    """The same in the caller's transaction, together with why."""
    await connection.execute(
        update(accounts).where(accounts.c.id == account).values(epoch=accounts.c.epoch + 1)
    )
    found = await connection.execute(select(accounts.c.epoch).where(accounts.c.id == account))
    return int(found.scalar_one())
