"""Tokens: an independent library verifies them the way that Cloudflare's documentation tells
origins."""

import json
from typing import Any

import jwt
import pytest

from edge.identity.keys import KeyStore
from edge.identity.tokens import MAX_FACTS, Tokens, carried
from edge.identity.world import Application, World
from edge.store import Account, SessionRow
from tests.kit.sign_in import ManualClock

AUD = "a" * 64
WORLD = World(
    auth_domain="login.example.com",
    issuer="https://login.example.com",
    auth_aud="f" * 64,
    applications={},
    providers={},
    judge=None,  # type: ignore[arg-type]
)
ACCOUNT = Account("6a6b", "ann@example.com", "Ann\r\nX-Evil: 1", 3, False, 0, 0)


def session(**facts: Any) -> SessionRow:
    return SessionRow("s" * 22, "6a6b", "sso", 0, 2**40, None, "", facts)


def application(**options: Any) -> Application:
    return Application(AUD, "Wiki", ("wiki.example.com",), **options)


@pytest.fixture
def tokens(keys: KeyStore, clock: ManualClock) -> Tokens:
    import time

    clock.now = float(int(time.time()))  # PyJWT reads the real clock
    return Tokens(keys, clock)


def mint(tokens: Tokens, app: Application, row: SessionRow) -> str:
    return tokens.application(
        WORLD, app, row, ACCOUNT, nonce="n" * 22, lifetime=600, epoch=2, country="JP"
    )


def verify(document: dict[str, Any], token: str) -> dict[str, Any]:
    """Do what an origin does with the keys that /cdn-cgi/access/certs gave it."""
    by_kid = {key["kid"]: jwt.PyJWK(key) for key in document["keys"]}
    key = by_kid[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key=key, audience=AUD, issuer="https://login.example.com", algorithms=["RS256"]
    )
    return claims


async def test_an_origin_can_verify(tokens: Tokens, keys: KeyStore, clock: ManualClock) -> None:
    token = mint(tokens, application(), session())
    claims = verify(json.loads(json.dumps(keys.jwks_document(clock()))), token)
    assert claims == {
        "aud": [AUD],
        "email": "ann@example.com",
        "exp": clock() + 600,
        "iat": clock(),
        "nbf": clock(),
        "iss": "https://login.example.com",
        "type": "app",
        "identity_nonce": "n" * 22,
        "sub": "6a6b",
        "custom": {},
        "country": "JP",
        "sekisho": {
            "sid": "s" * 22,
            "epoch": 3,
            "app_epoch": 2,
            "idp": "sso",
            "name": "Ann\r\nX-Evil: 1",
        },
    }
    assert jwt.get_unverified_header(token)["typ"] == "JWT"
    assert "\n" not in token and "\r" not in token  # C15: what we build is base64url


async def test_certificates_hold_the_same_keys(keys: KeyStore, clock: ManualClock) -> None:
    from cryptography import x509

    document = keys.jwks_document(clock())
    assert document["public_cert"] in document["public_certs"]
    certificate = x509.load_pem_x509_certificate(document["public_cert"]["cert"].encode())
    numbers: Any = certificate.public_key()
    assert numbers.public_numbers() == keys.signing(clock()).private.public_key().public_numbers()


async def test_only_named_facts_are_carried() -> None:
    row = session(groups=["g"], amr=["otp"], claims={"department": "R&D", "secret": "x"})
    assert carried(application(), row.facts) == ({}, {}, [])
    facts, custom, partial = carried(
        application(groups=True, methods=True, claims=("department", "missing")), row.facts
    )
    assert facts == {"groups": ["g"], "amr": ["otp"]} and partial == []
    assert custom == {"department": "R&D", "missing": None}


@pytest.mark.parametrize(
    ("groups", "claim", "partial"),
    [
        (10, 10, []),
        (400, 10, ["groups"]),
        (10, 4000, ["claims"]),
        (400, 4000, ["claims", "groups"]),
    ],
)
async def test_c16_facts_are_capped(
    tokens: Tokens, groups: int, claim: int, partial: list[str]
) -> None:
    """C16: over 2 KiB whole kinds are left out and named; a token always fits its cookie."""
    row = session(groups=[f"group-{n}" for n in range(groups)], claims={"c": "x" * claim})
    app = application(groups=True, claims=("c",))
    facts, custom, left_out = carried(app, row.facts)
    assert left_out == partial
    assert len(json.dumps([facts, custom])) <= MAX_FACTS + 40
    assert len(mint(tokens, app, row)) < 3840


async def test_workers_read_what_is_minted(
    tokens: Tokens, keys: KeyStore, clock: ManualClock
) -> None:
    """The compiled verifier takes our tokens, and takes `partial` as unknown."""
    from _fastpath.facts import FactSet

    token = mint(tokens, application(groups=True), session(groups=["g" * 50] * 100))
    claims = tokens.read(WORLD, token, kind="app", aud=AUD)
    assert claims is not None and claims["sekisho"]["partial"] == ["groups"]
    FactSet.from_claims(claims)


async def test_l07_l09_l10_read_takes_only_its_own(
    tokens: Tokens, keys: KeyStore, clock: ManualClock
) -> None:
    """L04 L07 L09 L10: kind, audience, time, key: each must fit."""
    token = mint(tokens, application(), session())
    assert tokens.read(WORLD, token, kind="app", aud=AUD)
    assert tokens.read(WORLD, token, kind="org", aud=AUD) is None
    assert tokens.read(WORLD, token, kind="app", aud="b" * 64) is None
    for spoilt in (token + "x", token[:-2], token + ".x", "", "a.b.c", token.replace(".", ". ", 1)):
        assert tokens.read(WORLD, spoilt, kind="app", aud=AUD) is None
    clock.advance(599)
    assert tokens.read(WORLD, token, kind="app", aud=AUD)
    clock.advance(1)
    assert tokens.read(WORLD, token, kind="app", aud=AUD) is None
    clock.advance(-600 - 61)
    assert tokens.read(WORLD, token, kind="app", aud=AUD) is None


async def test_l13_tokens_of_a_retired_key(
    tokens: Tokens, keys: KeyStore, clock: ManualClock
) -> None:
    """L13: inside the overlap well, after it not."""
    token = tokens.application(
        WORLD, application(), session(), ACCOUNT, nonce="n" * 22, lifetime=30 * 86400, epoch=0
    )
    await keys.rotate(clock())
    clock.advance(7 * 86400)
    assert tokens.read(WORLD, token, kind="app", aud=AUD)
    clock.advance(61)
    assert tokens.read(WORLD, token, kind="app", aud=AUD) is None


async def test_service_assertion(tokens: Tokens, keys: KeyStore, clock: ManualClock) -> None:
    token = tokens.service(WORLD, AUD, "x.access", lifetime=60, epoch=0, nonce="n" * 22)
    claims = verify(keys.jwks_document(clock()), token)
    assert claims["common_name"] == "x.access" and claims["sub"] == "" and "email" not in claims
