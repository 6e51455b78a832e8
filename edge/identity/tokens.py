"""Tokens: RS256 JWTs that workers and origins verify. Made here, and global ones read here.

An application token carries the facts that its application's policies name, at most 2 KiB of them;
the kinds that are left out are named in `partial`, and the worker asks for those."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from edge.identity.keys import KeyStore, SigningKey
from edge.identity.world import Application, World
from edge.store import Account, SessionRow

MAX_FACTS = 2048  # bytes of groups, methods and claims in one token
MAX_TOKEN = 4096 - 256  # bytes; a cookie of 4 KiB holds it with its name and attributes
LEEWAY = 60  # seconds that clocks may differ


class Tokens:
    def __init__(self, keys: KeyStore, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._clock = clock

    def application(
        self,
        world: World,
        application: Application,
        session: SessionRow,
        account: Account,
        *,
        nonce: str,
        lifetime: int,
        epoch: int,
        country: str = "",
    ) -> str:
        """Return an application token of this session."""
        now = int(self._clock())
        facts, custom, partial = carried(application, session.facts)
        private: dict[str, Any] = {
            "sid": session.id,
            "epoch": account.epoch,
            "app_epoch": epoch,
            "idp": session.provider,
            **facts,
        }
        if account.name:
            private["name"] = account.name
        if partial:
            private["partial"] = partial
        claims: dict[str, Any] = {
            "aud": [application.aud],
            "email": account.email,
            "exp": now + lifetime,
            "iat": now,
            "nbf": now,
            "iss": world.issuer,
            "type": "app",
            "identity_nonce": nonce,
            "sub": account.id,
            "custom": custom,
            "sekisho": private,
        }
        if country:
            claims["country"] = country
        return self._sign(claims)

    def service(
        self, world: World, aud: str, client_id: str, *, lifetime: int, epoch: int, nonce: str
    ) -> str:
        """Return the assertion that an origin gets for a service token."""
        now = int(self._clock())
        return self._sign(
            {
                "aud": [aud],
                "common_name": client_id,
                "exp": now + lifetime,
                "iat": now,
                "nbf": now,
                "iss": world.issuer,
                "type": "app",
                "identity_nonce": nonce,
                "sub": "",
                "sekisho": {"app_epoch": epoch},
            }
        )

    def organisation(self, world: World, session: SessionRow, account: Account) -> str:
        """Return the global token: the auth domain's cookie, good nowhere else."""
        now = int(self._clock())
        return self._sign(
            {
                "aud": [world.auth_aud],
                "email": account.email,
                "exp": session.expires,
                "iat": now,
                "nbf": now,
                "iss": world.issuer,
                "type": "org",
                "identity_nonce": session.id,
                "sub": account.id,
                "sekisho": {"sid": session.id, "epoch": account.epoch},
            }
        )

    def companion(self, nonce: str) -> str:
        """Return what a browser that got the global token of this nonce from us holds beside it."""
        key = self._keys.secret("form")
        digest = hmac.new(key, b"session\0" + nonce.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def read(self, world: World, token: str, *, kind: str, aud: str) -> dict[str, Any] | None:
        """Return the claims of a token of ours of this kind and audience that holds now, else
        None."""
        if len(token) > MAX_TOKEN or token.count(".") != 2:
            return None
        now = self._clock()
        by_kid = {key.kid: key for key in self._keys.verifying(now)}

        def key_of(signed: Any) -> RSAKey:
            key = by_kid.get(signed.headers().get("kid"))
            if key is None:
                raise ValueError("unknown kid")
            return _public(key)

        try:
            signed = jws.deserialize_compact(token, key_of, algorithms=["RS256"])
            claims = json.loads(signed.payload)
        except (JoseError, ValueError):
            return None
        if not isinstance(claims, dict) or claims.get("type") != kind or claims.get("aud") != [aud]:
            return None
        if claims.get("iss") != world.issuer or not _holds(claims, now):
            return None
        return claims

    def _sign(self, claims: Mapping[str, Any]) -> str:
        key = self._keys.signing(self._clock())
        payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=True).encode()
        private = RSAKey.import_key(key.private)
        return jws.serialize_compact(
            {"alg": "RS256", "kid": key.kid, "typ": "JWT"}, payload, private, algorithms=["RS256"]
        )


def carried(
    application: Application, sworn: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return (private facts, custom claims, kinds left out) for a token of this application."""
    facts: dict[str, Any] = {}
    claims = sworn.get("claims", {})
    custom: dict[str, Any] = {name: claims.get(name) for name in application.claims}
    if application.groups:
        facts["groups"] = sworn.get("groups", [])
    if application.methods:
        facts["amr"] = sworn.get("amr", [])
    sizes = {
        "groups": _size(facts.get("groups")),
        "amr": _size(facts.get("amr")),
        "claims": _size(custom),
    }
    partial: list[str] = []
    while sum(sizes.values()) > MAX_FACTS:
        largest = max(sizes, key=lambda kind: sizes[kind])
        sizes[largest] = 0
        partial.append(largest)
        if largest == "claims":
            custom = {}
        else:
            facts.pop(largest, None)
    return facts, custom, sorted(partial)


def _size(value: Any) -> int:
    return 0 if value is None else len(json.dumps(value, separators=(",", ":")))


def _public(key: SigningKey) -> RSAKey:
    return RSAKey.import_key(key.private.public_key())


def _holds(claims: Mapping[str, Any], now: float) -> bool:
    exp, nbf = claims.get("exp"), claims.get("nbf", 0)
    if type(exp) is not int or type(nbf) is not int:
        return False
    return now < exp and nbf <= now + LEEWAY
