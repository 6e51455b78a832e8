"""A provider's discovery document and keys, cached; a stranger's tokens can't make us ask often."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from edge.identity.providers.failed import ProviderFailed
from edge.identity.providers.fetch import check_url, fetch_json
from edge.identity.world import Provider

DISCOVERY_AGE = 3600.0  # seconds before discovery is read again
MAX_AGE = 86400.0  # seconds: keys or discovery older than this are not used, whatever is down
FAILED_PAUSE = 5.0  # seconds after a failure in which nobody asks again: all get the same answer
UNKNOWN_KID_PAUSE = 60.0  # seconds between two fetches that an unknown key id causes
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class Discovered:
    document: dict[str, Any]
    at: float

    def url(self, name: str) -> str:
        return str(self.document[name])


class Metadata:
    """What one provider says about itself."""

    def __init__(
        self, provider: Provider, client: httpx2.AsyncClient, clock: Callable[[], float]
    ) -> None:
        self._provider = provider
        self._client = client
        self._clock = clock
        self._discovered: Discovered | None = None
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._asked_at = float("-inf")  # when keys were last fetched, well or not
        self._lock = asyncio.Lock()
        self._failed: ProviderFailed | None = None
        self._failed_at = float("-inf")

    async def discover(self) -> Discovered:
        """Return the discovery document, at most an hour old, or a day when the provider is
        down."""
        async with self._lock:
            now = self._clock()
            held = self._discovered
            if held is not None and now - held.at < DISCOVERY_AGE:
                return held
            usable = held is not None and now - held.at < MAX_AGE
            self._breaker(now, usable)
            if held is not None and usable and now - self._failed_at < FAILED_PAUSE:
                return held
            try:
                self._discovered = Discovered(await self._read(), now)
            except ProviderFailed as error:
                self._fail(error)
                if held is None or not usable:
                    raise
                return held
            return self._discovered

    def _breaker(self, now: float, usable: bool) -> None:
        """Raise the last failure while it is fresh: a crowd must not wait for a dead provider in
        turn."""
        if not usable and self._failed is not None and now - self._failed_at < FAILED_PAUSE:
            raise ProviderFailed(self._failed.reason, str(self._failed))

    def _fail(self, error: ProviderFailed) -> None:
        self._failed, self._failed_at = error, self._clock()

    async def _read(self) -> dict[str, Any]:
        issuer = self._provider.issuer
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = await fetch_json(self._client, url)
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            found = document.get("issuer") if isinstance(document, dict) else None
            raise ProviderFailed(
                "provider-issuer-mismatch",
                f"{url} names issuer {found!r}, configured is {issuer!r}",
            )
        for name in ENDPOINTS:
            if not isinstance(document.get(name), str):
                raise ProviderFailed("provider-answer-invalid", f"{url}: no {name}")
            check_url(document[name], allow_local=self._provider.allow_local)
        return document

    async def key(self, kid: str | None) -> KeySet:
        """Return the keys, fetched once more when this key id is unknown and the last fetch was
        a minute ago. The caller picks the key; it may still be unknown then."""
        discovered = await self.discover()
        async with self._lock:
            now = self._clock()
            stale = now - self._keys_at >= MAX_AGE
            known = self._keys is not None and not stale and _has(self._keys, kid)
            if known and now - self._keys_at < DISCOVERY_AGE and self._keys is not None:
                return self._keys
            if self._keys is None or stale or now - self._asked_at >= UNKNOWN_KID_PAUSE:
                self._breaker(now, usable=self._keys is not None and not stale)
                self._asked_at = now
                try:
                    self._keys = await self._fetch_keys(discovered.url("jwks_uri"))
                    self._keys_at = now
                except ProviderFailed as error:
                    if self._keys is None or stale:
                        self._keys = None
                        self._fail(error)
                        raise
            if self._keys is None:
                raise ProviderFailed("provider-unreachable", "no keys")
            return self._keys

    async def _fetch_keys(self, url: str) -> KeySet:
        document = await fetch_json(self._client, url)
        try:
            usable = [
                key
                for key in document["keys"]
                if key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC", "OKP")
            ]
            return KeySet.import_key_set({"keys": usable})
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProviderFailed("provider-answer-invalid", f"{url}: not a key set") from error


def _has(keys: KeySet, kid: str | None) -> bool:
    if kid is None:
        return len(keys.keys) == 1
    return any(key.kid == kid for key in keys.keys)
