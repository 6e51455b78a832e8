"""A token is accepted only when a plain reading of it finds every claim right, and an independent
library agrees; nothing raises; the cache never changes an answer. Cookies: strip leaves none of
ours, is idempotent and never longer.

The first byte says what the rest is: C claims (signed here), H header (signed here), T everything
before the last dot (signed here), R a whole token, K a Cookie header."""

import json

import jwt

from _fastpath.cookie import find_cookie, strip_cookies
from _fastpath.revocations import Revocations
from _fastpath.token import TokenCache
from tests.kit.mint import AUD, ISSUER, NOW, b64, claims, compact, unb64
from tests.kit.weak_mint import WeakMint

MINT = WeakMint()
PUBLIC = jwt.algorithms.RSAAlgorithm.from_jwk(MINT.jwk)
HEADER, CLAIMS = compact(MINT.header()), compact(claims())
CACHE = TokenCache(Revocations(), capacity=64)
CACHE.configure([MINT.jwk], ISSUER)
REASONS = {
    "token-malformed",
    "token-algorithm",
    "token-signature",
    "token-key-unknown",
    "token-issuer",
    "token-audience",
    "token-type",
    "token-not-yet-valid",
    "token-claims",
    "session-expired",
}
TOKENS = [
    b'"alg":"none"',
    b'"alg":"RS256"',
    b'"kid":"key-1"',
    b'"crit":["b64"]',
    b'"b64":false',
    b'"typ":"JWT"',
    b'"exp":1790003600',
    b'"exp":1e30',
    b'"nbf":1790000061',
    b'"aud":["',
    b'"aud":"',
    b'"type":"org"',
    b'"sekisho":{',
    b'"sid":""',
    b"\\ud800",
    b"\\u0000",
    b"NaN",
    b"[[[[[[[[[[",
    b"]]]]]]]]]]",
    b"==",
    b".",
    b"..",
    b"CF_Authorization=",
    b"; ",
    b";",
    b"CF_Binding",
    b"__Host-sekisho",
    b'"',
    b"\t",
]


def fuzz(data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    if kind == b"K":
        cookies(rest)
    elif kind == b"C":
        token(MINT.signed(b64(HEADER) + b"." + b64(rest)))
    elif kind == b"H":
        token(MINT.signed(b64(rest) + b"." + b64(CLAIMS)))
    elif kind == b"T":
        token(MINT.signed(rest))
    else:
        token(rest)


def token(raw: bytes) -> None:
    found, reason = CACHE.check(raw, AUD, NOW)
    again, same = CACHE.check(raw, AUD, NOW)
    assert (found is None) == (again is None) and reason == same
    if found is None:
        assert reason in REASONS, reason
        return
    assert found.raw == raw
    assert CACHE.check(raw, b"b" * 64, NOW) == (None, "token-audience")
    header, payload, _ = raw.split(b".")
    members, body = json.loads(unb64(header)), json.loads(unb64(payload))
    assert (
        members["alg"] == "RS256"
        and members["kid"] == "key-1"
        and members.keys() <= {"alg", "kid", "typ"}
    )
    assert body["aud"] == [AUD.decode()] and body["iss"] == ISSUER and body["type"] == "app"
    assert all(type(body[name]) is int for name in ("exp", "nbf", "iat"))
    assert body["exp"] > NOW and body["nbf"] <= NOW + 60 and body["iat"] <= NOW + 60
    assert found.exp == body["exp"] and found.sub == body["sub"].encode() and found.sub
    assert found.email == (body.get("email") or "").encode()
    jwt.decode(
        raw,
        PUBLIC,
        algorithms=["RS256"],
        audience=AUD.decode(),
        issuer=ISSUER,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )


def cookies(header: bytes) -> None:
    left, dropped = strip_cookies(header)
    assert len(left) <= len(header) and dropped >= 0
    assert strip_cookies(left) == (left, 0)
    for name in (b"CF_Authorization", b"__Host-CF_AppSession", b"CF_Binding"):
        assert find_cookie(left, name)[0] == 0
        count, value = find_cookie(header, name)
        assert count <= dropped and value in header
