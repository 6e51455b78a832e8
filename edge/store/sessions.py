"""Global sessions (one per sign-in), application sessions, hand-off codes, application epochs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, insert, select, update

from edge.store.accounts import raise_epoch
from edge.store.engine import Database
from edge.store.revocations import RevocationRow, insert_revocation
from edge.store.tables import (
    accounts,
    application_epochs,
    application_sessions,
    handoffs,
    sessions,
)

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: str
    account: str
    provider: str
    created: int
    expires: int
    ended: int | None
    address: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class ApplicationSessionRow:
    nonce: str
    session: str
    aud: str
    account: str
    created: int
    expires: int
    ended: int | None


@dataclass(frozen=True, slots=True)
class Handoff:
    digest: str
    session: str
    aud: str
    host: str
    meta: str
    redirect: str
    lifetime: int
    expires: int


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        row: SessionRow,
        *,
        replaces: str | None,
        now: int,
        differ: Callable[[Facts, Facts], bool],
        renew: Callable[[Facts, Facts], Facts],
        until: int,
    ) -> RevocationRow | None:
        """Store a new session; the one that the browser brought along ends in the same
        transaction.

        Where another session of this person at this provider swore what is no longer so (`differ`
        of old and new facts), it swears renew(old, new) from now on, the account's epoch is raised,
        and the revocation to publish is returned. Expired sessions count: the tokens that came from
        them may live longer."""
        async with self._database.write() as connection:
            # Two sign-ins of one person at once: the second sees what the first one swore.
            await connection.execute(
                select(accounts.c.id).where(accounts.c.id == row.account).with_for_update()
            )
            if replaces is not None:
                await connection.execute(
                    update(sessions)
                    .where(sessions.c.id == replaces, sessions.c.ended.is_(None))
                    .values(ended=now)
                )
            others = (
                await connection.execute(
                    select(sessions.c.id, sessions.c.facts).where(
                        sessions.c.account == row.account,
                        sessions.c.provider == row.provider,
                        sessions.c.ended.is_(None),
                    )
                )
            ).all()
            await connection.execute(
                insert(sessions).values(
                    id=row.id,
                    account=row.account,
                    provider=row.provider,
                    created=row.created,
                    expires=row.expires,
                    ended=None,
                    address=row.address,
                    facts=_text(row.facts),
                )
            )
            changed = [
                (other.id, old)
                for other in others
                if differ(old := json.loads(other.facts), row.facts)
            ]
            if not changed:
                return None
            for session, old in changed:
                await connection.execute(
                    update(sessions)
                    .where(sessions.c.id == session)
                    .values(facts=_text(renew(old, row.facts)))
                )
            epoch = await raise_epoch(connection, row.account)
            return await insert_revocation(connection, "user", row.account, epoch, until, now)

    async def get(self, session: str) -> SessionRow | None:
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(sessions).where(sessions.c.id == session))
            ).first()
        if row is None:
            return None
        return SessionRow(**{**row._mapping, "facts": json.loads(row.facts)})

    async def of_account(self, account: str, now: int) -> list[SessionRow]:
        """Return the account's sessions that have neither ended nor expired."""
        async with self._database.read() as connection:
            rows = (
                await connection.execute(
                    select(sessions)
                    .where(
                        sessions.c.account == account,
                        sessions.c.ended.is_(None),
                        sessions.c.expires > now,
                    )
                    .order_by(sessions.c.created)
                )
            ).all()
        return [SessionRow(**{**row._mapping, "facts": json.loads(row.facts)}) for row in rows]

    async def end(self, session: str, now: int) -> None:
        """End a session and the application sessions that came from it."""
        async with self._database.write() as connection:
            await connection.execute(
                update(sessions)
                .where(sessions.c.id == session, sessions.c.ended.is_(None))
                .values(ended=now)
            )
            await connection.execute(
                update(application_sessions)
                .where(
                    application_sessions.c.session == session,
                    application_sessions.c.ended.is_(None),
                )
                .values(ended=now)
            )
            await connection.execute(delete(handoffs).where(handoffs.c.session == session))

    async def end_account(self, account: str, now: int) -> None:
        async with self._database.write() as connection:
            for table in (sessions, application_sessions):
                await connection.execute(
                    update(table)
                    .where(table.c.account == account, table.c.ended.is_(None))
                    .values(ended=now)
                )

    async def begin_application(self, row: ApplicationSessionRow) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                insert(application_sessions).values(
                    nonce=row.nonce,
                    session=row.session,
                    aud=row.aud,
                    account=row.account,
                    created=row.created,
                    expires=row.expires,
                    ended=None,
                )
            )

    async def application(self, nonce: str) -> ApplicationSessionRow | None:
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    select(application_sessions).where(application_sessions.c.nonce == nonce)
                )
            ).first()
        return None if row is None else ApplicationSessionRow(**row._mapping)

    async def end_application(self, nonce: str, now: int) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(application_sessions)
                .where(
                    application_sessions.c.nonce == nonce, application_sessions.c.ended.is_(None)
                )
                .values(ended=now)
            )

    async def application_epoch(self, aud: str) -> int:
        async with self._database.read() as connection:
            found = (
                await connection.execute(
                    select(application_epochs.c.epoch).where(application_epochs.c.aud == aud)
                )
            ).scalar()
            return int(found or 0)

    async def raise_application_epoch(self, aud: str) -> int:
        """Void every token of this application so far; return the new epoch."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(application_epochs)
                .where(application_epochs.c.aud == aud)
                .values(epoch=application_epochs.c.epoch + 1)
            )
            if changed.rowcount == 0:
                await connection.execute(insert(application_epochs).values(aud=aud, epoch=1))
            found = (
                await connection.execute(
                    select(application_epochs.c.epoch).where(application_epochs.c.aud == aud)
                )
            ).scalar_one()
            return int(found)

    async def hand_off(self, row: Handoff) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                insert(handoffs).values(**{field: getattr(row, field) for field in row.__slots__})
            )

    async def redeem(self, digest: str, now: int) -> Handoff | None:
        """Take a hand-off code: the first caller gets it, every later one None."""
        async with self._database.write() as connection:
            row = (
                await connection.execute(
                    delete(handoffs).where(handoffs.c.digest == digest).returning(handoffs)
                )
            ).first()
        if row is None or row.expires <= now:
            return None
        return Handoff(**row._mapping)

    async def clean(self, now: int, keep: int = 7 * 86400) -> None:
        """Delete what expired: codes at once, sessions after a week (they explain audit rows)."""
        async with self._database.write() as connection:
            await connection.execute(delete(handoffs).where(handoffs.c.expires <= now))
            await connection.execute(
                delete(application_sessions).where(application_sessions.c.expires <= now - keep)
            )
            # What a token that still lives swears must be there to compare with.
            living = select(application_sessions.c.session).where(
                application_sessions.c.session == sessions.c.id,
                application_sessions.c.ended.is_(None),
            )
            await connection.execute(
                delete(sessions).where(sessions.c.expires <= now - keep, ~exists(living))
            )


def _text(facts: Facts) -> str:
    return json.dumps(facts, separators=(",", ":"))
