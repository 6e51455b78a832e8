"""Global sessions (one per sign-in), application sessions, hand-off codes, application epochs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

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

# visits of one sign-in at one application; over it: expired ones go, else the newest is shared
MAX_ENTRIES = 32
# hand-off codes of one sign-in that are out; over it: the oldest is void
MAX_CODES = 128

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

    async def begin_application(self, row: ApplicationSessionRow) -> str:
        """Store a new one and return the nonce that the token gets: this one's, or the newest
        one's where MAX_ENTRIES of this sign-in are there and hold."""
        async with self._database.write() as connection:
            await connection.execute(
                select(sessions.c.id).where(sessions.c.id == row.session).with_for_update()
            )
            shared = await _share(connection, row)
            if shared is not None:
                return shared
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
            return row.nonce

    async def ended_of(self, session: str) -> int:
        """Return how many application sessions of this sign-in ended before their time."""
        query = select(func.count()).where(
            application_sessions.c.session == session, application_sessions.c.ended.is_not(None)
        )
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

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

    async def end_entries(
        self, session: str, aud: str, nonce: str, now: int, until: int
    ) -> list[RevocationRow]:
        """End all that one sign-in has at one application, the entry `nonce` and hand-off codes
        among it; return the revocations to publish, stored in the same transaction."""
        table = application_sessions
        live = (
            (table.c.session == session)
            & (table.c.aud == aud)
            & table.c.ended.is_(None)
            & (table.c.expires > now)
        )
        async with self._database.write() as connection:
            # as begin_application does: no entry comes in between
            await connection.execute(
                select(sessions.c.id).where(sessions.c.id == session).with_for_update()
            )
            ended = (
                await connection.execute(
                    update(table).where(live).values(ended=now).returning(table.c.nonce)
                )
            ).scalars()
            nonces = {nonce, *ended}
            await connection.execute(
                delete(handoffs).where(handoffs.c.session == session, handoffs.c.aud == aud)
            )
            return [
                await insert_revocation(connection, "nonce", one, None, until, now)
                for one in sorted(nonces)
            ]

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
            kept = (
                select(handoffs.c.digest)
                .where(handoffs.c.session == row.session)
                .order_by(handoffs.c.expires.desc(), handoffs.c.digest)
                .limit(MAX_CODES)
            )
            await connection.execute(
                delete(handoffs).where(
                    handoffs.c.session == row.session,
                    handoffs.c.digest != row.digest,
                    handoffs.c.digest.not_in(kept),
                )
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


async def _share(connection: AsyncConnection, row: ApplicationSessionRow) -> str | None:
    """Make room for one more row of this sign-in at this application, or return whose nonce it
    shares, with the longer of both lives."""
    table = application_sessions
    mine = (table.c.session == row.session) & (table.c.aud == row.aud)
    counted = select(func.count()).select_from(table).where(mine)
    if (await connection.execute(counted)).scalar_one() < MAX_ENTRIES:
        return None
    over = table.c.ended.is_(None) & (table.c.expires <= row.created)
    await connection.execute(delete(table).where(mine, over))
    if (await connection.execute(counted)).scalar_one() < MAX_ENTRIES:
        return None
    newest = select(table.c.nonce, table.c.expires).where(mine, table.c.ended.is_(None))
    found = (
        await connection.execute(newest.order_by(table.c.created.desc(), table.c.nonce).limit(1))
    ).first()
    if found is None:  # an administrator ended them one by one
        return None
    await connection.execute(
        update(table)
        .where(table.c.nonce == found.nonce)
        .values(expires=max(found.expires, row.expires))
    )
    return str(found.nonce)


def _text(facts: Facts) -> str:
    return json.dumps(facts, separators=(",", ":"))
