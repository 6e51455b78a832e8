"""Section M against a provider that lies: whatever it answers, the wrong person is never let in."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from edge.identity.providers import fetch, metadata
from edge.identity.providers.failed import ProviderFailed
from edge.identity.providers.oidc import OpenIdProvider
from edge.identity.sessions import Person
from edge.identity.world import OIDC, Provider
from tests.kit.hostile_provider import HostileProvider
from tests.kit.sign_in import ManualClock

CALLBACK = "https://login.example.com/cdn-cgi/access/callback"


class Pair:
    """A hostile provider and our client of it."""

    def __init__(self, server: HostileProvider, clock: ManualClock, **options: Any) -> None:
        self.server, self.clock = server, clock
        self.client = OpenIdProvider(
            Provider(
                "sso",
                "SSO",
                OIDC,
                issuer=server.issuer,
                client_id="edge",
                client_secret="s",
                allow_local=True,
                **options,
            ),
            CALLBACK,
            clock,
        )

    async def sign_in(self, iss: str | None = None) -> Person:
        begun = await self.client.begin("state")
        self.server.nonce = begun.secret["nonce"]
        return await self.client.finish("code", iss, begun.secret)

    async def refused(self, iss: str | None = None) -> str:
        with pytest.raises(ProviderFailed) as caught:
            await self.sign_in(iss)
        return caught.value.reason


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    clock = ManualClock()
    server = HostileProvider(clock=clock)
    await server.start()
    made = Pair(server, clock)
    yield made
    await made.client.close()
    await server.stop()


async def test_an_honest_answer(pair: Pair) -> None:
    """M02 M17: the verifier goes to the token endpoint; what comes back is a person and no
    token."""
    person = await pair.sign_in()
    assert (person.issuer, person.subject, person.email) == (
        pair.server.issuer,
        "taro",
        "taro@example.jp",
    )
    assert (
        "code_verifier=" in pair.server.bodies[0]
        and "grant_type=authorization_code" in pair.server.bodies[0]
    )
    assert "secret-access-token" not in repr(person) and pair.client._client.token is None


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"iss": "https://other.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "somebody-else"}, "aud"),
        ({"aud": ["x", "y"]}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["edge", "x"]}, "azp"),
        ({"azp": "x"}, "azp"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": "a\0b"}, "sub"),
        ({"iat": None}, "iat"),
        ({"iat": "now"}, "iat"),
        ({"iat": 1}, "iat"),
        ({"exp": None}, "exp"),
        ({"exp": 1}, "exp"),
        ({"exp": "9999999999"}, "exp"),
        ({"exp": True}, "exp"),
        ({"nonce": None}, "nonce"),
        ({"nonce": "other"}, "nonce"),
        ({"nbf": 2**40}, "nbf"),
    ],
)
async def test_m04_claims(pair: Pair, claims: dict[str, Any], names: str) -> None:
    """M04: every claim that OpenID Connect Core §3.1.3.7 names is checked."""
    pair.server.claims = claims
    begun = await pair.client.begin("state")
    pair.server.nonce = begun.secret["nonce"]
    with pytest.raises(ProviderFailed, match=f"claim {names}"):
        await pair.client.finish("code", None, begun.secret)


async def test_m04_signatures(pair: Pair) -> None:
    """M04: another key, no algorithm, HMAC with the public key, kid absent with several keys."""
    server = pair.server
    server.sign_with = RSAKey.generate_key(2048, {"kid": "one"})
    assert await pair.refused() == "id-token-invalid"
    server.sign_with = None
    await pair.client.begin("s")
    good = server.signed()
    _, payload, _ = good.split(".")

    def head(**header: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()

    import hashlib
    import hmac

    public = server.keys[0].as_pem(private=False)
    for token in (
        f"{head(alg='none')}.{payload}.",
        f"{head(alg='None', kid='one')}.{payload}.x",
        f"{head(kid='one')}.{payload}.x",
        good + "x",
        good[:-4] + "AAAA",
        "a.b",
        "",
        "." * 5,
    ):
        server.token = token
        assert await pair.refused() == "id-token-invalid", token
    signing = f"{head(alg='HS256', kid='one')}.{payload}"
    mac = hmac.new(public, signing.encode(), hashlib.sha256).digest()
    server.token = f"{signing}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert await pair.refused() == "id-token-invalid"
    server.token = None
    server.keys.append(RSAKey.generate_key(2048, {"kid": "two", "use": "sig"}))
    pair.clock.advance(3601)  # keys are read anew
    server.header = {"kid": None}
    assert await pair.refused() == "id-token-invalid"


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"jwks_uri": 7},
        {"token_endpoint": "http://10.0.0.1/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"token_endpoint": "gopher://127.0.0.1/"},
        {"jwks_uri": "https://user:pw@127.0.0.1/"},
    ],
)
async def test_m05_m16_discovery(pair: Pair, discovery: dict[str, Any]) -> None:
    """M05 M16: another issuer, or an address that a provider has no business at."""
    pair.server.discovery = discovery
    assert await pair.refused() in (
        "provider-issuer-mismatch",
        "provider-answer-invalid",
        "provider-address-refused",
    )


async def test_m05_trailing_slash(pair: Pair) -> None:
    """M05: the issuer is compared as text."""
    pair.server.discovery = {"issuer": pair.server.issuer + "/"}
    assert await pair.refused() == "provider-issuer-mismatch"


@pytest.mark.parametrize("iss", ["https://other.example", "", "http://127.0.0.1"])
async def test_m03_mix_up(pair: Pair, iss: str) -> None:
    """M03: an answer that names another issuer is not this provider's; no code is sent anywhere."""
    assert await pair.refused(iss) == "provider-issuer-mismatch"
    assert "/token" not in pair.server.asked


async def test_m03_promised_iss(pair: Pair) -> None:
    """M03: a provider that promises iss and then leaves it out."""
    pair.server.discovery = {"authorization_response_iss_parameter_supported": True}
    assert await pair.refused() == "provider-issuer-mismatch"
    assert (await pair.sign_in(pair.server.issuer)).subject == "taro"


async def test_m06_rotation(pair: Pair) -> None:
    """M06: keys changed just before signing: one fetch more, then well."""
    await pair.sign_in()
    pair.clock.advance(61)
    pair.server.keys = [RSAKey.generate_key(2048, {"kid": "new", "use": "sig"})]
    await pair.sign_in()
    assert pair.server.asked.count("/keys") == 2


async def test_m07_unknown_kids(pair: Pair) -> None:
    """M07: ten thousand unknown key ids within a minute cause one fetch."""
    await pair.sign_in()
    pair.clock.advance(61)
    asked = pair.server.asked.count("/keys")
    for number in range(10_000):
        keys = await pair.client.metadata.key(f"kid-{number}")
        assert len(keys.keys) == 1
    assert pair.server.asked.count("/keys") == asked + 1
    pair.clock.advance(60)
    await pair.client.metadata.key("again")
    assert pair.server.asked.count("/keys") == asked + 2


async def test_keys_outlive_an_outage_by_a_day(pair: Pair) -> None:
    """Faults: keys unreachable → cached ones up to 24 h, then none."""
    await pair.sign_in()
    pair.server.raw["/keys"] = answer("503 no")
    pair.server.raw["/.well-known/openid-configuration"] = pair.server.raw["/keys"]
    pair.clock.advance(metadata.MAX_AGE - 1)
    await pair.sign_in()
    pair.clock.advance(2)
    assert await pair.refused() == "provider-answer-invalid"


async def test_m08_userinfo_about_somebody_else(pair: Pair) -> None:
    """M08: the userinfo endpoint answers for another subject."""
    pair.server.claims = {"email": None, "email_verified": None}
    pair.server.userinfo = {"sub": "hanako", "email": "ceo@example.jp", "email_verified": True}
    assert await pair.refused() == "userinfo-subject-mismatch"
    pair.server.userinfo["sub"] = "taro"
    assert (await pair.sign_in()).email == "ceo@example.jp"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"email_verified": False}, "email-not-verified"),
        ({"email_verified": None}, "email-not-verified"),
        ({"email_verified": "true"}, "email-not-verified"),
        ({"email_verified": 1}, "email-not-verified"),
        ({"email": None}, "email-missing"),
        ({"email": "a@b@corp.com"}, "email-missing"),
        ({"email": '"x@corp.com"@evil'}, "email-missing"),
        ({"email": "x@c\u043erp.com"}, "email-missing"),
        ({"email": " x@corp.com"}, "email-missing"),
        ({"email": ["x@corp.com"]}, "email-missing"),
        ({"amr": ["otp\r\n"]}, "claims-invalid"),
        ({"amr": "x" * 5}, "claims-invalid"),
    ],
)
async def test_m09_c15_addresses_and_texts(pair: Pair, claims: dict[str, Any], reason: str) -> None:
    """M09 C15: only an exact, verified address counts; control characters are refused."""
    pair.server.claims = claims
    pair.server.userinfo = {"sub": "taro"}
    assert await pair.refused() == reason


async def test_m09_verified_is_another_address(pair: Pair) -> None:
    """M09: `email_verified` counts for the claim `email` that it came with, and no other."""
    pair.server.claims = {"email": "ceo@example.jp", "email_verified": None}
    pair.server.userinfo = {"sub": "taro", "email": "taro@example.jp", "email_verified": True}
    assert await pair.refused() == "email-not-verified"
    pair.server.userinfo["email"] = "ceo@example.jp"
    assert (await pair.sign_in()).email == "ceo@example.jp"
    pair.server.claims = {"upn": "ceo@example.jp"}
    other = Pair(pair.server, pair.clock, email_claim="upn")
    assert await other.refused() == "email-not-verified"
    await other.client.close()


async def test_m09_domain_and_case(pair: Pair) -> None:
    pair.server.claims = {"email": "A@CORP.com"}
    assert (await pair.sign_in()).email == "a@corp.com"
    pair.server.claims = {"email": "a@corp.com.evil"}
    assert (await pair.sign_in()).email == "a@corp.com.evil"


def answer(status: str, body: bytes = b"", **fields: str) -> bytes:
    """Return one whole HTTP answer; the length is left out when a field says so."""
    lines = {"connection": "close", "content-length": str(len(body)), **fields}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


WRONG = {
    "500": answer("500 no", b"{}"),
    "302": answer("302 away", location="/elsewhere"),
    "307": answer("307 away", location="/elsewhere"),
    "html": answer("200 OK", b"<html>no</html>"),
    "list": answer("200 OK", b"[]"),
    "rubbish": b"rubbish\r\n\r\n",
    "closed": b"",
    "huge": answer("200 OK", b'{"x":"' + b"a" * (2 << 20) + b'"}'),
    "gzip": answer("200 OK", b"abc", content_encoding="gzip"),
    "refused": answer("400 no", b'{"error":"invalid_grant"}'),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("path", ["/token", "/keys", "/.well-known/openid-configuration", "/me"])
async def test_m15_wrong_answers(pair: Pair, path: str, wrong: str) -> None:
    """M15: every endpoint, every wrong answer: a failed sign-in, one request, no redirect
    followed."""
    pair.server.raw[path] = WRONG[wrong]
    pair.server.claims = {"email": None}
    await pair.refused()
    assert pair.server.asked.count(path) == 1 and "/elsewhere" not in pair.server.asked


async def test_m15_no_retry_storm(pair: Pair) -> None:
    """M15: a hundred people at a dead provider cost one request, and all hear at once."""
    pair.server.raw["/.well-known/openid-configuration"] = WRONG["500"]
    told = await asyncio.gather(
        *(pair.client.begin(f"{n}") for n in range(100)), return_exceptions=True
    )
    assert all(isinstance(one, ProviderFailed) for one in told) and len(pair.server.asked) == 1
    pair.server.raw.clear()
    pair.clock.advance(5)
    assert (await pair.sign_in()).subject == "taro"


@pytest.mark.parametrize("path", ["/token", "/keys", "/.well-known/openid-configuration"])
async def test_m15_slow(pair: Pair, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """M15: an endpoint that never answers fails within the bound (10 s; shortened here)."""
    assert fetch.TIMEOUT == 10.0
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    monkeypatch.setattr("edge.identity.providers.oidc.TIMEOUT", 0.2)
    pair.server.stall.add(path)
    began = time.monotonic()
    assert await pair.refused() == "provider-unreachable"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://id.example.com/", True),
        ("http://id.example.com/", False),
        ("ftp://x/", True),
        ("http://127.0.0.1/", False),
        ("http://169.254.169.254/latest", True),
        ("https:///x", True),
        ("https://a:b@id.example.com/", False),
        ("javascript:alert(1)", True),
        ("//x/", True),
    ],
)
def test_m16_addresses(url: str, local: bool) -> None:
    """M16: https only; plain http only to loopback, and only where the operator allows local
    ones."""
    with pytest.raises(ProviderFailed):
        fetch.check_url(url, allow_local=local)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "192.168.1.1",
        "fd00::1",
        "fe80::1%1",
        "224.0.0.1",
        "100.64.0.1",
    ],
)
async def test_m16_addresses_of_our_own_side(host: str) -> None:
    """M16: not without allow_private_address, whatever name it hides behind."""
    with pytest.raises(ProviderFailed):
        await fetch.resolve(host, 443, allow_local=False)


async def test_two_providers_at_once(pair: Pair) -> None:
    """M03: the nonce of one sign-in doesn't fit another."""
    first, second = await asyncio.gather(pair.client.begin("a"), pair.client.begin("b"))
    pair.server.nonce = first.secret["nonce"]
    with pytest.raises(ProviderFailed, match="nonce"):
        await pair.client.finish("code", None, second.secret)
