"""Sessions: a global one per sign-in, and one per application that it leads to.

The step from the auth domain to an application is a code of one use: it names the session, is good
for 60 s, and only in the browser that began this sign-in at the application (K08)."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge.identity.destination import NONCE, Destination, meta_of
from edge.identity.revocations import MONTH, Revocations
from edge.identity.tokens import Tokens
from edge.identity.world import Application, Judgement, World
from edge.store import Account, ApplicationSessionRow, Handoff, SessionRow, Store

CODE_LIFE = 60  # seconds
SHORTEST = 60  # seconds: what a duration of 0 means, just long enough to be used once


def new_id() -> str:
    """Return 128 random bits as 22 characters."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as a provider has just proved them to be."""

    issuer: str  # with `subject` the identity; the e-mail alone never is (M10)
    subject: str
    email: str
    name: str = ""
    groups: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    claims: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Current:
    """A global session that holds now, and whose it is."""

    session: SessionRow
    account: Account


@dataclass(frozen=True, slots=True)
class Issued:
    code: str


@dataclass(frozen=True, slots=True)
class Refused:
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Redeemed:
    application: Application
    token: str
    lifetime: int  # seconds
    redirect: str
    who: str


class Sessions:
    def __init__(
        self, store: Store, tokens: Tokens, revocations: Revocations, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._revocations = revocations
        self._clock = clock

    async def begin(
        self, world: World, provider: str, person: Person, address: str, *, replaces: str | None
    ) -> Current | None:
        """Begin a global session under a new id; None when the account is disabled.

        The session that the browser came with ends, whoever planted it (K07). What was sworn
        earlier and is no longer so (a group lost, a claim changed) is void everywhere before this
        returns (K11)."""
        now = int(self._clock())
        account = await self._store.accounts.signed_in(
            person.issuer, person.subject, person.email, person.name, now
        )
        if account.disabled:
            return None
        facts = {
            "email": person.email,
            "name": person.name,
            "groups": list(person.groups),
            "amr": list(person.amr),
            "claims": dict(person.claims),
        }
        session = SessionRow(
            id=new_id(),
            account=account.id,
            provider=provider,
            created=now,
            expires=now + world.global_session,
            ended=None,
            address=address,
            facts=facts,
        )
        changed = await self._store.sessions.begin(
            session, replaces=replaces, now=now, differ=_differ, renew=_renew, until=now + MONTH
        )
        if changed is not None and changed.epoch is not None:
            await self._revocations.announce(changed)
            account = replace(account, epoch=changed.epoch)
        return Current(session, account)

    def global_token(self, world: World, current: Current) -> str:
        return self._tokens.organisation(world, current.session, current.account)

    def companion(self, current: Current) -> str:
        return self._tokens.companion(current.session.id)

    async def of_browser(
        self, world: World, token: str | None, companion: str | None
    ) -> Current | None:
        """Return whose global session this browser has; None without the proof that it got it from
        us: a sibling site can plant its own person's token, not what goes beside it. A provider
        that is gone from the configuration takes its sessions along."""
        current = await self.current(world, token)
        if current is None or companion is None:
            return None
        if current.session.provider not in world.providers:
            return None
        return current if hmac.compare_digest(companion, self.companion(current)) else None

    async def current(self, world: World, token: str | None) -> Current | None:
        """Return whose global session this token is, or None when it doesn't hold now.

        Enough for ending it, whoever planted it (K07); `of_browser` says who somebody is."""
        if not token:
            return None
        claims = self._tokens.read(world, token, kind="org", aud=world.auth_aud)
        if claims is None:
            return None
        found = await self.live(str(claims["sekisho"]["sid"]))
        if found is None or found.account.id != claims.get("sub"):
            return None
        return found

    async def live(self, session: str) -> Current | None:
        """Return the session with this id unless it ended, expired, or its account is disabled."""
        row = await self._store.sessions.get(session)
        now = self._clock()
        # `created` bounds it from below: a clock set back must not make an old session young again.
        if row is None or row.ended is not None or not row.created - 300 <= now < row.expires:
            return None
        account = await self._store.accounts.get(row.account)
        if account is None or account.disabled:
            return None
        # Again, after the account: an epoch that was raised in between belongs to an ended session.
        row = await self._store.sessions.get(session)
        return None if row is None or row.ended is not None else Current(row, account)

    async def issue(
        self, world: World, destination: Destination, current: Current, address: str
    ) -> Issued | Refused:
        """Judge this person at this application; return a hand-off code, or why not."""
        application, host = destination.application, destination.host
        judgement = world.judge.decide(host, application.path(host), facts_of(current, address))
        if judgement.allowed and not world.takes(application, current.session.provider):
            judgement = Judgement("deny", "login-method-not-allowed")
        if judgement.allowed and judgement.aud != application.aud:
            # A more specific application decides alone at this host; its verdict makes no token
            # of the one that was asked for.
            judgement = Judgement("deny", "policy-no-match")
        if not judgement.allowed:
            return Refused(judgement)
        lifetime = judgement.session_duration
        if lifetime is None:
            lifetime = application.session_duration
        now = int(self._clock())
        if lifetime == 0 and now - current.session.created > SHORTEST:
            return Refused(Judgement("login", "sign-in-again"))
        code = new_id() + new_id()
        await self._store.sessions.hand_off(
            Handoff(
                digest=_digest(code),
                session=current.session.id,
                aud=application.aud,
                host=host,
                meta=destination.meta,
                redirect=destination.redirect,
                lifetime=lifetime or SHORTEST,
                expires=now + CODE_LIFE,
            )
        )
        return Issued(code)

    async def redeem(
        self, world: World, host: str, code: str, start: str | None, country: str = ""
    ) -> Redeemed | None:
        """Turn a hand-off code into an application token; None for any code that isn't this
        browser's.

        The code is used up either way: whoever stole one can't try browsers."""
        now = int(self._clock())
        row = await self._store.sessions.redeem(_digest(code), now)
        if row is None or row.host != host or start is None or NONCE.fullmatch(start) is None:
            return None
        if not hmac.compare_digest(meta_of(start), row.meta):
            return None
        application = world.applications.get(row.aud)
        current = await self.live(row.session)
        if application is None or current is None:
            return None
        if not world.takes(application, current.session.provider):
            return None
        epoch = await self._store.sessions.application_epoch(row.aud)
        nonce = await self._store.sessions.begin_application(
            ApplicationSessionRow(
                new_id(), row.session, row.aud, current.account.id, now, now + row.lifetime, None
            )
        )
        token = self._tokens.application(
            world,
            application,
            current.session,
            current.account,
            nonce=nonce,
            lifetime=row.lifetime,
            epoch=epoch,
            country=country,
        )
        return Redeemed(application, token, row.lifetime, row.redirect, current.account.email)

    async def at_application(
        self, world: World, host: str, cookies: Mapping[str, list[str]]
    ) -> list[tuple[Application, dict[str, Any], Current]]:
        """Return the application sessions of this host that the cookies prove, with their
        claims."""
        found = []
        for application in world.at(host):
            values = cookies.get(application.cookie, [])
            if len(values) != 1:
                continue
            claims = self._tokens.read(world, values[0], kind="app", aud=application.aud)
            if claims is None or not claims.get("sub"):
                continue
            row = await self._store.sessions.application(str(claims["identity_nonce"]))
            if row is None or row.ended is not None:
                continue
            current = await self.live(str(claims["sekisho"]["sid"]))
            if current is None or not world.takes(application, current.session.provider):
                continue
            if claims["sekisho"].get("epoch") == current.account.epoch:
                found.append((application, claims, current))
        return found

    def proven(
        self, world: World, host: str, cookies: Mapping[str, list[str]]
    ) -> list[dict[str, Any]]:
        """Return the claims of every application token of this host, for ending them.

        By the signature alone, whether or not the sign-in behind it still holds: an application
        token may outlive it, and must be possible to end for as long as it works."""
        return [
            claims
            for application in world.at(host)
            for value in cookies.get(application.cookie, [])
            if (claims := self._tokens.read(world, value, kind="app", aud=application.aud))
            and claims.get("sub")
        ]


def facts_of(current: Current, address: str) -> dict[str, Any]:
    """Return everything that is known about a signed-in person, as the policy program takes it."""
    sworn = current.session.facts
    return {
        "email": current.account.email,
        "idp": current.session.provider,
        "groups": sworn.get("groups", []),
        "amr": sworn.get("amr", []),
        "claims": sworn.get("claims", {}),
        "ip": address,
    }


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether a token with the old facts would be wrong about this person now.

    The methods aren't compared: they tell how one sign-in went, not who somebody is. A provider may
    list groups in any order."""
    return old.get("email") != new.get("email") or any(
        _plain(old.get(kind)) != _plain(new.get(kind)) for kind in ("groups", "claims")
    )


def _renew(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {**new, "amr": old.get("amr", [])}


def _plain(value: Any) -> Any:
    """Return a value in which the order of a list makes no difference."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return sorted(map(repr, value)) if isinstance(value, list) else value


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
