"""OpenID Connect: authorization code with PKCE (S256), state and nonce; who somebody is, from
the ID token.

The state is the flow's id: random, used once, bound to the browser that began. Nothing of the
provider's tokens is kept: claims that policies name go into the session, the rest is forgotten."""

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import (  # type: ignore[import-untyped]
    AsyncOAuth2Client,
)
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key as JoseKey
from joserfc.jws import JWSRegistry, extract_compact

from edge.identity.address import canonical
from edge.identity.providers.failed import ProviderFailed
from edge.identity.providers.fetch import MAX_BODY, TIMEOUT, GuardedTransport, fetch_json
from edge.identity.providers.metadata import ALGORITHMS, Discovered, Metadata
from edge.identity.sessions import Person
from edge.identity.world import Provider

LEEWAY = 60  # seconds that clocks may differ
MAX_ID_TOKEN_AGE = 600  # seconds since `iat`
MAX_GROUPS = 10_000
MAX_TEXT = 1024  # characters of one group or claim value
MAX_SUBJECT = 255  # characters (OpenID Connect Core §2)


class _Roomy(JWSRegistry):
    """Takes ID tokens with thousands of groups; the answer that carries one is bounded already."""

    max_header_length = 8192  # bytes; some providers send their certificate along
    max_payload_length = MAX_BODY


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and what to remember until it is back."""

    url: str
    secret: dict[str, str]


class OpenIdProvider:
    """One configured provider."""

    def __init__(
        self,
        provider: Provider,
        redirect_uri: str,
        clock: Callable[[], float],
    ) -> None:
        self.provider = provider
        self.redirect_uri = redirect_uri
        self._clock = clock
        self._client = AsyncOAuth2Client(
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            redirect_uri=redirect_uri,
            scope=" ".join(provider.scopes),
            code_challenge_method="S256",
            transport=GuardedTransport(allow_local=provider.allow_local, ca_file=provider.ca_file),
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
        )
        self.metadata = Metadata(provider, self._client, clock)

    async def close(self) -> None:
        await self._client.aclose()

    async def begin(self, state: str) -> Begun:
        """Return the provider's address for this sign-in; ProviderFailed when it can't be found
        out."""
        discovered = await self.metadata.discover()
        nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        more = {"prompt": self.provider.prompt} if self.provider.prompt else {}
        url, _ = self._client.create_authorization_url(
            discovered.url("authorization_endpoint"),
            state=state,
            nonce=nonce,
            code_verifier=verifier,
            response_type="code",
            **more,
        )
        return Begun(str(url), {"nonce": nonce, "verifier": verifier})

    async def finish(self, code: str, issuer: str | None, secret: Mapping[str, str]) -> Person:
        """Exchange the code and return who signed in; ProviderFailed when anything isn't as it
        must be."""
        discovered = await self.metadata.discover()
        self._check_issuer(discovered, issuer)
        answer = await self._exchange(discovered, code, secret["verifier"])
        claims = await self._identity(answer, secret["nonce"])
        claims = await self._with_userinfo(discovered, answer, claims)
        return self._person(claims)

    def _check_issuer(self, discovered: Discovered, issuer: str | None) -> None:
        """RFC 9207: an answer that came from another provider must not be taken for this one's."""
        promised = discovered.document.get("authorization_response_iss_parameter_supported") is True
        if issuer is None and not promised:
            return
        if issuer != self.provider.issuer:
            raise ProviderFailed("provider-issuer-mismatch", "the answer names another issuer")

    async def _exchange(
        self, discovered: Discovered, code: str, verifier: str
    ) -> Mapping[str, Any]:
        methods = discovered.document.get("token_endpoint_auth_methods_supported")
        method = "client_secret_basic"
        if isinstance(methods, list) and method not in methods and "client_secret_post" in methods:
            method = "client_secret_post"
        if not self.provider.client_secret:
            method = "none"
        try:
            async with asyncio.timeout(TIMEOUT):
                answer: Mapping[str, Any] = await self._client._fetch_token(
                    discovered.url("token_endpoint"),
                    body=self._token_body(code, verifier),
                    headers={
                        "Accept": "application/json",
                        "Content-Type": "application/x-www-form-urlencoded",
                    },
                    auth=self._client.client_auth(method),
                )
        except OAuthError as error:
            raise ProviderFailed("provider-refused", f"token endpoint: {error.error}") from error
        except (httpx2.HTTPError, OSError, TimeoutError) as error:
            raise ProviderFailed(
                "provider-unreachable", f"token endpoint: {type(error).__name__}"
            ) from error
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ProviderFailed("provider-answer-invalid", "token endpoint: not JSON") from error
        finally:
            self._client.token = None  # the library keeps the last one; nobody's may stay (M17)
        if not isinstance(answer, Mapping) or not isinstance(answer.get("id_token"), str):
            raise ProviderFailed("provider-answer-invalid", "token endpoint: no id_token")
        return answer

    def _token_body(self, code: str, verifier: str) -> str:
        return str(
            httpx2.QueryParams(
                {
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": self.redirect_uri,
                    "code_verifier": verifier,
                    "client_id": self.provider.client_id,
                }
            )
        )

    async def _identity(self, answer: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the ID token's claims after every check of OpenID Connect Core §3.1.3.7."""
        token = answer["id_token"]
        keys = await self.metadata.key(_kid_of(token))

        def choose(signed: Any) -> JoseKey:
            kid = signed.headers().get("kid")
            if kid is None and len(keys.keys) != 1:
                raise ValueError("no key id, and several keys")
            for key in keys.keys:
                if kid is None or key.kid == kid:
                    return key
            raise ValueError("unknown key id")

        try:
            claims = jwt.decode(token, choose, registry=_Roomy(algorithms=list(ALGORITHMS))).claims
        except (JoseError, ValueError, TypeError) as error:
            raise ProviderFailed("id-token-invalid", f"{type(error).__name__}: {error}") from error
        problem = self._problem(claims, nonce)
        if problem:
            raise ProviderFailed("id-token-invalid", problem)
        return dict(claims)

    def _problem(self, claims: Mapping[str, Any], nonce: str) -> str:
        now = self._clock()
        audience = claims.get("aud")
        several = isinstance(audience, list)
        audiences = audience if isinstance(audience, list) else [audience]
        subject = claims.get("sub")
        exp: Any = claims.get("exp")
        iat: Any = claims.get("iat")
        client = self.provider.client_id
        checks = (
            (claims.get("iss") != self.provider.issuer, "iss"),
            (client not in audiences, "aud"),
            (several and len(audiences) > 1 and claims.get("azp") != client, "azp"),
            ("azp" in claims and claims["azp"] != client, "azp"),
            (not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT, "sub"),
            (isinstance(subject, str) and not subject.isprintable(), "sub"),
            (not _number(exp) or now >= exp + LEEWAY, "exp"),
            (not _number(iat) or not now - MAX_ID_TOKEN_AGE <= iat <= now + LEEWAY, "iat"),
            (_number(claims.get("nbf")) and claims["nbf"] > now + LEEWAY, "nbf"),
            (claims.get("nonce") != nonce, "nonce"),
        )
        return next((f"claim {name}" for wrong, name in checks if wrong), "")

    async def _with_userinfo(
        self, discovered: Discovered, answer: Mapping[str, Any], claims: dict[str, Any]
    ) -> dict[str, Any]:
        """Add what only the userinfo endpoint tells, when something that we need is missing."""
        wanted = {self.provider.email_claim, *self.provider.claims}
        if not self.provider.trust_email:
            wanted.add("email_verified")
        if self.provider.groups_claim:
            wanted.add(self.provider.groups_claim)
        endpoint, access = discovered.document.get("userinfo_endpoint"), answer.get("access_token")
        if wanted <= claims.keys() or not isinstance(endpoint, str) or not isinstance(access, str):
            return claims
        told = await fetch_json(self._client, endpoint, authorization=f"Bearer {access}")
        if not isinstance(told, dict) or told.get("sub") != claims["sub"]:
            raise ProviderFailed("userinfo-subject-mismatch", "userinfo is about somebody else")
        merged = {**told, **claims}
        if "email_verified" not in claims and told.get("email") != merged.get("email"):
            merged.pop("email_verified", None)  # it speaks of another address
        return merged

    def _person(self, claims: Mapping[str, Any]) -> Person:
        email = claims.get(self.provider.email_claim)
        address = canonical(email) if isinstance(email, str) else None
        if address is None or address != str(email).lower():
            raise ProviderFailed("email-missing", "no usable e-mail address in the claims")
        # `email_verified` speaks of the claim `email` and of no other.
        verified = self.provider.email_claim == "email" and claims.get("email_verified") is True
        if not self.provider.trust_email and not verified:
            raise ProviderFailed("email-not-verified", "the provider has not verified the address")
        groups: Any = claims.get(self.provider.groups_claim) if self.provider.groups_claim else None
        groups = [groups] if isinstance(groups, str) else (groups or [])
        amr = claims.get("amr") or []
        name = claims.get("name")
        return Person(
            issuer=self.provider.issuer,
            subject=str(claims["sub"]),
            email=address,
            name=clean(name) if isinstance(name, str) else "",
            groups=texts(groups, "groups"),
            amr=texts(amr, "amr"),
            claims=tuple((n, plain(claims[n])) for n in self.provider.claims if n in claims),
        )


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Return the list's texts; ProviderFailed when it isn't a list of short, printable ones
    (C15)."""
    if not isinstance(value, list) or len(value) > MAX_GROUPS:
        raise ProviderFailed("claims-invalid", f"{what}: not a list, or too long")
    for item in value:
        if not isinstance(item, str) or len(item) > MAX_TEXT or not _printable(item):
            raise ProviderFailed("claims-invalid", f"{what}: a value that isn't a short text")
    return tuple(value)


def plain(value: Any) -> Any:
    """Return a claim's value when it is a text, number, truth value or list of those, else None."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not _printable(value):
            raise ProviderFailed("claims-invalid", "a claim with control characters, or too long")
        return value
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list) and len(value) <= MAX_GROUPS:
        return [plain(item) for item in value if not isinstance(item, list | dict)]
    return None


def clean(name: str) -> str:
    """Return a name for showing: without control characters, at most 100 characters."""
    return "".join(c for c in name if c.isprintable())[:100].strip()


def _printable(text: str) -> bool:
    return all(c.isprintable() for c in text)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kid_of(token: str) -> str | None:
    """Return the key id that the token claims; only to decide whether keys are fetched anew."""
    try:
        kid = extract_compact(token.encode(), registry=_Roomy()).headers().get("kid")
    except (JoseError, ValueError, UnicodeEncodeError) as error:
        raise ProviderFailed("id-token-invalid", "not a signed token") from error
    return kid if isinstance(kid, str) else None
