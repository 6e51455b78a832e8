"""The sign-in desk: everything that control's applications share, wired once per process."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge.identity.audit import Audit
from edge.identity.clock import SteadyClock
from edge.identity.keys import KeyStore
from edge.identity.mail import Post, Send, send_smtp
from edge.identity.providers.pin import OneTimePin
from edge.identity.revocations import Publish, Revocations
from edge.identity.service_tokens import ServiceTokens
from edge.identity.sessions import Sessions, new_id
from edge.identity.tokens import Tokens
from edge.identity.world import OIDC, Provider, World
from edge.store import Store, StoreError

if TYPE_CHECKING:
    from edge.identity.providers.oidc import OpenIdProvider

CALLBACK = "/cdn-cgi/access/callback"
FLUSH = 0.5  # seconds between two writes of audit events
CLEAN = 300.0  # seconds between two deletions of what expired
SERVICE_ASSERTION = 3600  # seconds that an origin's assertion for a service token is good

log = logging.getLogger("sekisho.identity")


class Desk:
    """Holds the rooms of identity together; whoever builds it passes in store, keys and clock.

    `world` returns the running configuration; `publish_revocation` brings one entry to every
    worker."""

    def __init__(
        self,
        store: Store,
        keys: KeyStore,
        *,
        world: Callable[[], World],
        publish_revocation: Publish,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        send: Send = send_smtp,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.keys = keys
        self.world = world
        self.clock = clock
        self.steady = steady or SteadyClock(clock)
        self.audit = Audit(store, clock)
        self.tokens = Tokens(keys, clock)
        self.revocations = Revocations(store, publish_revocation, clock)
        self.sessions = Sessions(store, self.tokens, self.revocations, self.steady)
        self.service_tokens = ServiceTokens(store, self.revocations, clock)
        self.post = Post(lambda: self.world().mail, self.audit, self.steady, send=send, pause=pause)
        self.pin = OneTimePin(store, keys, self.audit, self.steady, pause=pause)
        self._providers: dict[str, OpenIdProvider] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.post.start()
        self._tasks = [
            asyncio.create_task(self._every(FLUSH, self.audit.flush)),
            asyncio.create_task(self._every(CLEAN, self._clean)),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.post.stop()
        await self.audit.flush(everything=True)
        for provider in self._providers.values():
            await provider.close()

    def provider(self, provider: Provider) -> "OpenIdProvider":
        """Return the client of an OIDC provider; it lives as long as its configuration is the
        same."""
        # Its libraries are a tenth of a start, and only OpenID providers need them.
        from edge.identity.providers.oidc import OpenIdProvider

        assert provider.type == OIDC
        held = self._providers.get(provider.id)
        world = self.world()
        redirect = world.url(world.auth_domain, CALLBACK)
        if held is None or held.provider != provider or held.redirect_uri != redirect:
            if held is not None:
                closing = asyncio.get_running_loop().create_task(held.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            held = OpenIdProvider(provider, redirect, self.clock)
            self._providers[provider.id] = held
        return held

    async def answer(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """Answer a worker: the facts that a token left out, or an assertion for a service token.

        {"token": "…", "aud": "…"} gives claims as a token with all facts would have them;
        {"service_token": client id, "aud": "…"} gives {"token": "…"}. None when nothing can be
        said."""
        world = self.world()
        application = world.applications.get(str(question.get("aud", "")))
        if application is None:
            return None
        if "service_token" in question:
            epoch = await self.store.sessions.application_epoch(application.aud)
            token = self.tokens.service(
                world,
                application.aud,
                str(question["service_token"]),
                lifetime=SERVICE_ASSERTION,
                epoch=epoch,
                nonce=new_id(),
            )
            return {"token": token, "expires": int(self.clock()) + SERVICE_ASSERTION}
        claims = self.tokens.read(
            world, str(question.get("token", "")), kind="app", aud=application.aud
        )
        if claims is None:
            return None
        current = await self.sessions.live(str(claims.get("sekisho", {}).get("sid", "")))
        if current is None or claims["sekisho"].get("epoch") != current.account.epoch:
            return None
        sworn = current.session.facts
        return {
            "email": current.account.email,
            "sub": current.account.id,
            "custom": {name: sworn.get("claims", {}).get(name) for name in application.claims},
            "sekisho": {
                "sid": current.session.id,
                "epoch": current.account.epoch,
                "idp": current.session.provider,
                "groups": sworn.get("groups", []),
                "amr": sworn.get("amr", []),
            },
        }

    async def _clean(self) -> None:
        await self.store.clean(int(self.clock()))
        await self.pin.alarm()  # an alarm ends, too, when nobody tries any more
        await self.keys.drop_retired(self.clock())

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except StoreError as error:
                log.error("%s waits for the database: %s", work.__qualname__, error)
            except Exception:
                log.exception("%s failed", work.__qualname__)
