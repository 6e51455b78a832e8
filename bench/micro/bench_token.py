"""A signed-in request's look-up of its token, beside a Python dict keyed by the token's bytes."""

import time

from _fastpath.revocations import Revocations
from _fastpath.token import TokenCache
from bench.figure import Figure
from tests.kit.mint import AUD, ISSUER, NOW, Mint

TOKENS = 1000


def token(quick: bool = False) -> Figure:
    """ns per look-up: keyed hash, full compare, application, expiry, revocation, order of use."""
    times = 20_000 if quick else 200_000
    mint = Mint()
    cache = TokenCache(Revocations())
    cache.configure([mint.jwk], ISSUER)
    raw = [mint.token(identity_nonce=f"n{i}", custom={"note": "x" * 100}) for i in range(TOKENS)]
    begun = time.process_time()
    for text in raw:
        cache.check(text, AUD, NOW)
    verify = (time.process_time() - begun) / TOKENS
    known = {text: i for i, text in enumerate(raw)}
    wire = memoryview(raw[TOKENS // 2])

    def ours() -> float:
        begun = time.process_time()
        assert cache.spin(wire, AUD, NOW, times) == times
        return (time.process_time() - begun) / times * 1e9

    def theirs() -> float:
        begun = time.process_time()
        for _ in range(times):
            known[bytes(wire)]
        return (time.process_time() - begun) / times * 1e9

    bad = raw[0][:-8] + b"AAAAAAAA"
    cache.check(bad, AUD, NOW)
    begun = time.process_time()
    cache.spin(bad, AUD, NOW, times)
    refused = (time.process_time() - begun) / times
    figure = Figure("token", "ns", f"finding one of {TOKENS} verified tokens over a dict look-up")
    figure.interleave(3 if quick else 9, ours, theirs)
    figure.notes = {
        "token bytes": len(wire),
        "first visit us": verify * 1e6,
        "refused again ns": refused * 1e9,
    }
    return figure
