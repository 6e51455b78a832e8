"""Token caches over throw-away keys, and their verdict on a token, asked twice."""

from _fastpath.revocations import Revocations
from _fastpath.token import TokenCache
from tests.kit.mint import AUD, ISSUER, NOW, Mint

MINT = Mint()
NEXT = Mint("key-2")
STRANGER = Mint()  # the same kid, another key


def cache(*mints: Mint, capacity: int = 64) -> TokenCache:
    made = TokenCache(Revocations(), capacity=capacity)
    made.configure({m.kid: m.jwk for m in (mints or (MINT,))}, ISSUER)
    return made


def verdict(raw: bytes, aud: bytes = AUD, now: int = NOW, made: TokenCache | None = None) -> str:
    """ "ok", or the reason; asked twice, because the second answer comes from the cache."""
    made = cache() if made is None else made
    token, reason = made.check(raw, aud, now)
    again, same = made.check(raw, aud, now)
    assert (token is None) == (again is None) and reason == same
    assert (token is None) != (reason is None)
    return reason or "ok"
