"""token.pyx: the cache of verified tokens, and rotation of keys."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _fastpath import facts
from _fastpath.revocations import Revocations
from _fastpath.token import TokenCache
from tests.kit.mint import AUD, ISSUER, NOW, Mint
from tests.kit.token_verdict import MINT, NEXT, STRANGER, cache, verdict

# -- L13: rotation -------------------------------------------


def test_l13_rotation_with_overlap() -> None:
    made = cache(MINT)
    old, new = MINT.token(), NEXT.token()
    assert verdict(old, made=made) == "ok"
    assert verdict(new, made=made) == "token-key-unknown"
    made.configure([MINT.jwk, NEXT.jwk], ISSUER)
    assert made.size == 1  # the old one needs no second check
    assert verdict(old, made=made) == verdict(new, made=made) == "ok"
    made.configure([NEXT.jwk], ISSUER)
    assert made.size == 1
    assert verdict(old, made=made) == "token-key-unknown"
    assert verdict(new, made=made) == "ok"


def test_a_replaced_key_or_issuer_forgets_its_tokens() -> None:
    made = cache(MINT)
    assert verdict(MINT.token(), made=made) == "ok"
    made.configure([STRANGER.jwk], ISSUER)
    assert verdict(MINT.token(), made=made) == "token-signature"
    made.configure([MINT.jwk], ISSUER)
    assert verdict(MINT.token(), made=made) == "ok"
    made.configure([MINT.jwk], "https://new.example.com")
    assert verdict(MINT.token(), made=made) == "token-issuer"


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"n": "AA", "e": "AQAB"},
        {"n": "!!", "e": "AQAB"},
        {},
        {"n": "AA=", "e": "AQAB"},
        MINT.jwk | {"e": "AQ"},
        MINT.jwk | {"kty": "oct"},
        MINT.jwk | {"e": "AAAAAAAAAAAD"},
        Mint(bits=1024).jwk,
        MINT.jwk | {"n": ""},
        MINT.jwk | {"e": ""},
    ],
    ids=lambda j: str(j)[:30],
)
def test_an_unusable_key_changes_nothing(jwk: dict) -> None:
    made = cache(MINT)
    with pytest.raises((ValueError, KeyError)):
        made.configure({"key-1": MINT.jwk, "bad": jwk}, "https://changed.example.com")
    assert verdict(MINT.token(), made=made) == "ok"


def test_no_keys_no_tokens() -> None:
    assert verdict(MINT.token(), made=TokenCache(Revocations())) == "token-key-unknown"


# -- the cache ----------------------------------------------


def test_a_signature_is_checked_once() -> None:
    made, raw = cache(), MINT.token()
    for _ in range(5):
        made.check(raw, AUD, NOW)
    assert (made.verified, made.hits) == (1, 4)
    bad = raw[:-8] + b"AAAAAAAA"
    for _ in range(5):
        assert made.check(bad, AUD, NOW)[1] == "token-signature"
    assert (made.verified, made.refused) == (2, 5)


def test_the_least_recently_used_goes_first() -> None:
    made = cache(capacity=3)
    raw = [MINT.token(identity_nonce=str(i)) for i in range(4)]
    for i in (0, 1, 2, 0, 3):  # 1 is the one unused for longest
        made.check(raw[i], AUD, NOW)
    assert made.size == 3 and made.verified == 4
    for i in (0, 2, 3):
        made.check(raw[i], AUD, NOW)
    assert made.verified == 4
    made.check(raw[1], AUD, NOW)
    assert made.verified == 5 and made.size == 3


def test_a_refusal_that_time_may_lift_is_not_remembered() -> None:
    made, raw = cache(), MINT.token(nbf=NOW + 100, iat=NOW)
    assert made.check(raw, AUD, NOW)[1] == "token-not-yet-valid"
    assert made.check(raw, AUD, NOW + 40)[0] is not None


def test_a_key_that_arrives_lifts_refusals() -> None:
    made, raw = cache(MINT), NEXT.token()
    assert verdict(raw, made=made) == "token-key-unknown"
    made.configure([MINT.jwk, NEXT.jwk], ISSUER)
    assert verdict(raw, made=made) == "ok"


def test_lack_of_memory_is_no_verdict_on_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be remembered as a refusal, and its owner kept out when there is memory again."""

    def exhausted(address: str) -> None:
        raise MemoryError

    made, raw = cache(), MINT.token()
    with monkeypatch.context() as patch:
        patch.setattr(facts, "email_parts", exhausted)
        with pytest.raises(MemoryError):
            made.check(raw, AUD, NOW)
    assert (made.size, made.refused) == (0, 0)
    assert made.check(raw, AUD, NOW)[0] is not None


@pytest.mark.parametrize("capacity", [0, (1 << 24) + 1])
def test_capacity_has_bounds(capacity: int) -> None:
    with pytest.raises(ValueError, match="holds 1 to"):
        TokenCache(Revocations(), capacity=capacity)


def test_a_token_that_was_verified_while_it_waited_costs_no_second_check() -> None:
    made, raw = cache(), MINT.token()
    assert made.look(raw, AUD, NOW) == (None, None)
    first, _ = made.prove(raw, AUD, NOW)
    again, _ = made.prove(raw, AUD, NOW)
    assert first is again is not None and (made.verified, made.size) == (1, 1)
    assert made.prove(raw, b"b" * 64, NOW) == (None, "token-audience")


def test_full_buckets_and_eviction_out_of_their_middle() -> None:
    made = cache(capacity=16)  # 16 buckets: some hold several
    raw = [MINT.token(identity_nonce=f"b{i}") for i in range(40)]
    for i, text in enumerate(raw):
        assert made.check(text, AUD, NOW)[0] is not None
        for kept in raw[max(0, i - 15) : i + 1]:
            assert made.look(kept, AUD, NOW)[0].raw == kept
    assert (made.size, made.verified) == (16, 40)
    assert made.spin(raw[-1], AUD, NOW, 10) == 10 and made.spin(raw[0], AUD, NOW, 10) == 0


RAW = [MINT.token(identity_nonce=f"n{i}") for i in range(12)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(0, 11), max_size=60))
def test_the_cache_behaves_like_an_ordered_dict(capacity: int, uses: list[int]) -> None:
    made, model = cache(capacity=capacity), {}
    misses = 0
    for i in uses:
        assert made.check(RAW[i], AUD, NOW)[0].nonce == f"n{i}".encode()
        if i not in model:
            misses += 1
            if len(model) == capacity:
                del model[next(iter(model))]
        model.pop(i, None)
        model[i] = True
        assert (made.size, made.verified) == (len(model), misses)
