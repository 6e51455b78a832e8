"""Revoking: stored first, then published to every worker. What is revoked never comes back.

An entry is what workers read: {kind, id, epoch?, until, seq}. `until` is when no token that it
voids could still be alive, so that the list stays short."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from edge.store import RevocationRow, Store

MONTH = 31 * 86400  # the longest that any token lives; leeway included
# visits of single applications that one sign-in signed out of; over it: the next ends all of it
MAX_ENDED = 16
FOREVER = 2**53  # for what has no end of its own: credentials

Entry = dict[str, Any]
Publish = Callable[[Entry], Awaitable[None] | None]


class NobodyFound(LookupError):
    """There is no such person, session or token."""


class Revocations:
    def __init__(self, store: Store, publish: Publish, clock: Callable[[], float]) -> None:
        self._store = store
        self._publish = publish
        self._clock = clock

    async def session(self, session: str) -> Entry:
        """End a global session and every token that came from it."""
        await self._store.sessions.end(session, self._now())
        return await self._add("session", session)

    async def nonce(self, nonce: str) -> Entry:
        """End one application session."""
        await self._store.sessions.end_application(nonce, self._now())
        return await self._add("nonce", nonce)

    async def one_application(self, nonce: str, session: str, aud: str) -> None:
        """End every visit of this sign-in to one application, earlier copies of its cookie, too;
        or, where MAX_ENDED went before it, the whole sign-in."""
        sessions, now = self._store.sessions, self._now()
        if await sessions.ended_of(session) >= MAX_ENDED:
            await self.session(session)
            return
        for row in await sessions.end_entries(session, aud, nonce, now, now + MONTH):
            await self.announce(row)

    async def known(self, nonce: str, session: str) -> bool:
        """Say whether this token is revoked, by itself or with its sign-in: to do it again would
        only add to what every worker holds."""
        return await self._store.revocations.known(
            [("nonce", nonce), ("session", session)], self._now()
        )

    async def user(self, who: str) -> list[Entry]:
        """End everything of a person, by account id or e-mail address; NobodyFound when there is
        none."""
        accounts = await self._store.accounts.named(who)
        if not accounts:
            raise NobodyFound(who)
        return [await self._account(account.id) for account in accounts]

    async def disable(self, who: str, disabled: bool = True) -> list[Entry]:
        """Keep a person from signing in (or let them again); disabling also ends everything of
        theirs."""
        accounts = await self._store.accounts.named(who)
        if not accounts:
            raise NobodyFound(who)
        for account in accounts:
            await self._store.accounts.disable(account.id, disabled)
        return [await self._account(account.id) for account in accounts] if disabled else []

    async def _account(self, account: str) -> Entry:
        # In this order: who reads the raised epoch must already find every session ended.
        await self._store.sessions.end_account(account, self._now())
        epoch = await self._store.accounts.raise_epoch(account)
        return await self._add("user", account, epoch=epoch)

    async def application(self, aud: str) -> Entry:
        """Void every token of one application; people with a global session get a new one
        silently."""
        epoch = await self._store.sessions.raise_application_epoch(aud)
        return await self._add("application", aud, epoch=epoch)

    async def service_token(self, client_id: str) -> Entry:
        return await self._add("service_token", client_id, until=FOREVER)

    async def credential(self, credential: str) -> Entry:
        """End a tunnel credential: its row says so too, whatever becomes of the entry."""
        row = await self._store.objects.get(credential)
        if row is not None and row.kind == "credential":
            body = {**row.body, "revoked": True}
            await self._store.objects.put(credential, body, self._now())
        return await self._add("credential", credential, until=FOREVER)

    async def administrator(self, administrator: str) -> Entry:
        return await self._add("administrator", administrator, until=FOREVER)

    async def live(self, now: float | None = None) -> tuple[int, list[Entry]]:
        """Return (newest sequence number, every entry that workers still need)."""
        seq, rows = await self._store.revocations.live(self._now() if now is None else int(now))
        return seq, [entry_of(row) for row in rows]

    async def _add(
        self, kind: str, target: str, *, epoch: int | None = None, until: int | None = None
    ) -> Entry:
        now = self._now()
        return await self.announce(
            await self._store.revocations.add(kind, target, epoch, until or now + MONTH, now)
        )

    async def announce(self, row: RevocationRow) -> Entry:
        """Publish one that the store has already."""
        entry = entry_of(row)
        published = self._publish(entry)
        if inspect.isawaitable(published):
            await published
        return entry

    def _now(self) -> int:
        return int(self._clock())


def entry_of(row: RevocationRow) -> Entry:
    entry: Entry = {"kind": row.kind, "id": row.id, "until": row.until, "seq": row.seq}
    if row.epoch is not None:
        entry["epoch"] = row.epoch
    return entry
