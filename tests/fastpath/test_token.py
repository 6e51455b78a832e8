"""token.pyx: strict tokens, the cache, revocations, service tokens. Section L. (Rows by name: L02 L03 L05 L08.)"""

import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import RSAKey

from _fastpath.token import Revocations, ServiceTokens, TokenCache, run_out_of_memory
from tests.kit.mint import AUD, ISSUER, NOW, Mint, b64, claims, compact, unb64

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


# -- what holds ----------------------------------------------


def test_a_good_token() -> None:
    raw = MINT.token()
    token, reason = cache().check(raw, AUD, NOW)
    assert reason is None and token is not None
    assert (token.raw, token.aud, token.kid) == (raw, AUD, b"key-1")
    assert (token.sub, token.email) == (b"7f1f0c0e-6a52-4b0b-9f2d-0f6c3d2b1a00", b"ada@example.com")
    assert (token.nonce, token.sid) == (b"n" * 22, b"s" * 22)
    assert (token.exp, token.iat, token.epoch, token.app_epoch) == (NOW + 3600, NOW, 3, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"email": ...},
        {"email": None},
        {"country": ...},
        {"custom": {}},
        {"custom": {"a": None}},
        {"sekisho__groups": ...},
        {"sekisho__epoch": 0},
        {"email": "日本@例え.jp"},
        {"sekisho__partial": ["groups"]},
        {"unheard_of": [1, {"a": 2.5}]},
    ],
    ids=str,
)
def test_what_is_accepted_is_accepted_by_others(changed: dict) -> None:
    now = int(time.time())
    raw = MINT.token(**({"exp": now + 60, "iat": now, "nbf": now} | changed))
    assert verdict(raw, now=now) == "ok"
    decoded = jwt.decode(
        raw,
        MINT.public_pem,
        algorithms=["RS256"],
        audience=AUD.decode(),
        issuer=ISSUER,
        options={"require": ["exp", "iat", "nbf", "aud", "iss", "sub"], "verify_sub": True},
    )
    again = joserfc_jwt.decode(raw.decode(), RSAKey.import_key(MINT.jwk), algorithms=["RS256"])
    assert decoded == again.claims
    registry = joserfc_jwt.JWTClaimsRegistry(
        now=lambda: now,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUD.decode()},
    )
    registry.validate(again.claims)


def test_typ_may_be_left_out() -> None:
    assert verdict(MINT.token({"typ": ...})) == "ok"


# -- L01 to L06: header, algorithm, key ----------------------


@pytest.mark.parametrize(
    "alg",
    [
        "none",
        "None",
        "nOnE",
        "NONE",
        "",
        ...,
        None,
        1,
        [],
        ["RS256"],
        "rs256",
        "RS256 ",
        "RS384",
        "RS512",
        "PS256",
        "HS256",
        "ES256",
        "EdDSA",
        "RSA-OAEP",
    ],
    ids=repr,
)
def test_l01_only_rs256(alg: object) -> None:
    raw = MINT.token({"alg": alg})
    assert verdict(raw) == "token-algorithm"
    unsigned = raw.rpartition(b".")[0] + b"."
    assert verdict(unsigned) == "token-malformed"


@pytest.mark.parametrize("secret", ["pem", "pem without newline", "der", "jwk", "n"])
def test_l02_hmac_under_the_public_key(secret: str) -> None:
    material = {
        "pem": MINT.public_pem,
        "pem without newline": MINT.public_pem.strip(),
        "der": MINT.public_der,
        "jwk": compact(MINT.jwk),
        "n": unb64(MINT.jwk["n"].encode()),
    }[secret]
    for alg in ("HS256", "RS256"):
        head = b64(compact(MINT.header(alg=alg))) + b"." + b64(compact(claims()))
        raw = head + b"." + b64(hmac.new(material, head, hashlib.sha256).digest())
        assert verdict(raw) == {"HS256": "token-algorithm", "RS256": "token-signature"}[alg]


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": STRANGER.jwk},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/c"},
        {"x5c": ["AA=="]},
        {"x5t": "AA"},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
    ],
    ids=str,
)
def test_l03_keys_in_the_header_count_for_nothing(extra: dict) -> None:
    assert verdict(STRANGER.token(extra)) == "token-malformed"
    assert verdict(MINT.token(extra)) == "token-malformed"  # not even over our own signature


@pytest.mark.parametrize(
    "kid",
    [
        "../../dev/null",
        "' OR 1=1 --",
        "x" * 10240,
        "unknown",
        ...,
        None,
        "",
        1,
        ["key-1"],
        "KEY-1",
        "key-1\x00",
        "key-1 ",
    ],
    ids=lambda k: repr(k)[:20],
)
def test_l04_a_key_must_be_named_and_known(kid: object) -> None:
    assert verdict(MINT.token({"kid": kid}), made=cache(MINT, NEXT)) == "token-key-unknown"


@pytest.mark.parametrize(
    "extra",
    [{"crit": ["x"]}, {"crit": []}, {"b64": False}, {"b64": False, "crit": ["b64"]}],
    ids=str,
)
def test_l05_crit_and_b64(extra: dict) -> None:
    assert verdict(MINT.token(extra)) == "token-malformed"


EC = ec.generate_private_key(ec.SECP256R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def es256(shape: str) -> bytes:
    head = b64(compact(MINT.header(alg="ES256"))) + b"." + b64(compact(claims()))
    der = EC.sign(head, ec.ECDSA(hashes.SHA256()))
    r, s = utils.decode_dss_signature(der)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    signature = {
        "good": raw,
        "r=s=0": bytes(64),
        "r=0": bytes(32) + raw[32:],
        "s=0": raw[:32] + bytes(32),
        "r=s=n": ORDER.to_bytes(32, "big") * 2,
        "other half": raw[:32] + (ORDER - s).to_bytes(32, "big"),
        "der": der,
        "truncated": raw[:63],
        "one too many": raw + b"\x00",
        "empty": b"",
    }[shape]
    return head + b"." + b64(signature)


@pytest.mark.parametrize(
    "shape",
    [
        "good",
        "r=s=0",
        "r=0",
        "s=0",
        "r=s=n",
        "other half",
        "der",
        "truncated",
        "one too many",
        "empty",
    ],
)
def test_l06_every_es_token_is_refused(shape: str) -> None:
    assert verdict(es256(shape)) == ("token-malformed" if shape == "empty" else "token-algorithm")


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "ES256", "ES384", "ES512", "ES256K"])
def test_l06_every_other_algorithm_of_others_is_refused(alg: str) -> None:
    curve = {"ES384": ec.SECP384R1(), "ES512": ec.SECP521R1(), "ES256K": ec.SECP256K1()}.get(
        alg, ec.SECP256R1()
    )
    key = ec.generate_private_key(curve) if alg.startswith("ES") else b"k" * 64
    raw = jwt.encode(claims(), key, alg, headers={"kid": "key-1"}).encode()
    assert verdict(raw) == "token-algorithm"


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
BLOCKS = {  # what Wycheproof's RSA PKCS#1 1.5 sets try: other encodings of the right digest
    "no NULL": bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20<digest>",
    "long form of length": bytes.fromhex("308131300d060960864801650304020105000420") + b"<digest>",
    "indefinite length": bytes.fromhex("3080300d060960864801650304020105000420")
    + b"<digest>\x00\x00",
    "NULL with content": bytes.fromhex("3032300e06096086480165030402010501000420") + b"<digest>",
    "SHA-1's name": bytes.fromhex("302d300906052b0e03021a05000420") + b"<digest>",
    "SHA-512's name": bytes.fromhex("3031300d060960864801650304020305000420") + b"<digest>",
    "digest alone": b"<digest>",
    "bytes after": SHA256_INFO + b"<digest>\x00",
    "truncated digest": SHA256_INFO + b"<digest>"[:0] + bytes(31),
}


def padded(info: bytes, size: int = 256) -> bytes:
    body = size - 3 - (len(info) - len(b"<digest>") + 32 if b"<digest>" in info else len(info))
    return b"\x00\x01" + b"\xff" * body + b"\x00" + info


def test_l06_the_block_builder_makes_good_signatures_too() -> None:
    assert verdict(MINT.encoded(padded(SHA256_INFO + b"<digest>"))) == "ok"


@pytest.mark.parametrize("name", BLOCKS)
def test_l06_other_encodings_of_the_digest(name: str) -> None:
    assert verdict(MINT.encoded(padded(BLOCKS[name]))) == "token-signature"


@pytest.mark.parametrize(
    "block",
    [
        b"\x00\x01"
        + b"\xff" * 8
        + b"\x00"
        + SHA256_INFO
        + b"<digest>"
        + bytes(194),  # short padding, garbage after
        b"\x00\x02" + padded(SHA256_INFO + b"<digest>")[2:],
        b"\x00\x00" + padded(SHA256_INFO + b"<digest>")[2:],
        b"\x00\x01" + b"\x00" * 202 + b"\x00" + SHA256_INFO + b"<digest>",
        b"\x00\x01\x00" + SHA256_INFO + b"<digest>",
        b"\x00",
        b"\x01",
    ],
    ids=[
        "short padding",
        "block type 2",
        "block type 0",
        "zeros for padding",
        "no padding",
        "0",
        "1",
    ],
)
def test_l06_bad_padding(block: bytes) -> None:
    assert verdict(MINT.encoded(block)) == "token-signature"


def test_l06_signatures_that_are_equal_modulo_n_or_of_another_length() -> None:
    head, _, text = MINT.token().rpartition(b".")
    signature, n = unb64(text), int.from_bytes(unb64(MINT.jwk["n"].encode()), "big")
    number = int.from_bytes(signature, "big")
    others = [
        signature + b"\x00",
        b"\x00" + signature,
        signature[:-1],
        signature[1:],
        bytes(256),
        b"\x00",
        n.to_bytes(256, "big"),
        (n - 1).to_bytes(256, "big"),
        (n - number).to_bytes(256, "big"),
        b"\xff" * 256,
    ]
    if number + n < 1 << 2048:
        others.append((number + n).to_bytes(256, "big"))
    for other in others:
        assert verdict(head + b"." + b64(other)) == "token-signature"
    pss = MINT.key.sign(head, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    assert verdict(head + b"." + b64(pss)) == "token-signature"


def test_any_changed_byte_is_refused() -> None:
    raw = MINT.token()
    made = cache(capacity=4)
    for at in range(0, len(raw), 7):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        token, reason = made.check(changed, AUD, NOW)
        assert token is None and reason in {
            "token-malformed",
            "token-algorithm",
            "token-key-unknown",
            "token-type",
            "token-signature",
        }
    assert made.check(raw, AUD, NOW)[0] is not None


def test_another_key_of_the_same_name() -> None:
    assert verdict(STRANGER.token()) == "token-signature"


# -- L07 to L11: claims --------------------------------------


@pytest.mark.parametrize(
    ("aud", "reason"),
    [
        (["b" * 64], "token-audience"),
        ([AUD.decode(), "b" * 64], "token-audience"),
        (..., "token-audience"),
        ([AUD.decode()[:32]], "token-audience"),
        ([AUD.decode() + "0"], "token-audience"),
        ([], "token-audience"),
        (AUD.decode(), "token-audience"),
        ([AUD.decode().upper()], "token-audience"),
        ([None], "token-audience"),
        ([[AUD.decode()]], "token-audience"),
        ({AUD.decode(): 1}, "token-audience"),
        (None, "token-audience"),
        ([AUD.decode() + "\x00"], "token-audience"),
        ([""], "token-audience"),
    ],
    ids=str,
)
def test_l07_the_audience_is_exactly_ours(aud: object, reason: str) -> None:
    assert verdict(MINT.token(aud=aud)) == reason


def test_l07_k10_a_token_of_another_application_is_refused_there_only() -> None:
    made, raw = cache(), MINT.token()
    assert verdict(raw, b"b" * 64, made=made) == "token-audience"
    assert verdict(raw, made=made) == "ok"
    assert verdict(raw, AUD[:63], made=made) == "token-audience"
    assert verdict(raw, b"", made=made) == "token-audience"


@pytest.mark.parametrize(
    "iss",
    [
        "https://other.example.com",
        ISSUER + "/",
        ISSUER.upper(),
        "login.example.com",
        "",
        None,
        ...,
        [ISSUER],
        "http://login.example.com",
    ],
    ids=str,
)
def test_l08_the_issuer_is_exactly_ours(iss: object) -> None:
    assert verdict(MINT.token(iss=iss)) == "token-issuer"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": NOW}, "session-expired"),
        ({"exp": NOW - 1}, "session-expired"),
        ({"exp": 0}, "session-expired"),
        ({"exp": NOW + 1}, "ok"),
        ({"nbf": NOW + 60}, "ok"),
        ({"nbf": NOW + 61}, "token-not-yet-valid"),
        ({"iat": NOW + 60}, "ok"),
        ({"iat": NOW + 61}, "token-not-yet-valid"),
        *(
            ({name: value}, "token-claims")
            for name in ("exp", "nbf", "iat")
            for value in (..., None, str(NOW + 60), NOW + 60.0, True, -1, [NOW], {})
        ),
    ],
    ids=str,
)
def test_l09_times(changed: dict, reason: str) -> None:
    assert verdict(MINT.token(**changed)) == reason


@pytest.mark.parametrize("value", [2**63, 2**64, 10**18, 10**30, -(2**63)])
def test_l09_huge_times(value: int) -> None:
    assert verdict(MINT.token(exp=value)) == "token-claims"


def test_l09_k14_a_cached_token_ends_on_the_second() -> None:
    made, raw = cache(), MINT.token(exp=NOW + 10)
    assert verdict(raw, now=NOW + 9, made=made) == "ok"
    assert verdict(raw, now=NOW + 10, made=made) == "session-expired"


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "org"},
        {"type": ...},
        {"type": "APP"},
        {"type": ["app"]},
        {"type": None},
        {"common_name": "abc.access", "sub": ""},
    ],
    ids=str,
)
def test_l10_other_types_of_token(changed: dict) -> None:
    assert verdict(MINT.token(**changed)) == "token-type"


@pytest.mark.parametrize(
    "typ", ["at+jwt", "logout+jwt", "jwt", "JOSE", "", None, 1, ["JWT"]], ids=str
)
def test_l10_other_types_in_the_header(typ: object) -> None:
    assert verdict(MINT.token({"typ": typ})) == "token-type"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"aud":["x"],"aud":["y"]}',
        b'{"a":{"b":1,"b":2}}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b"",
        b" ",
        b"null",
        b"1",
        b'"x"',
        b"[]",
        b"{",
        b"{}x",
        b"{}\x00",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1,}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\n"}',
        b'{"a":"\\ud800"}' * 2,
        b'{"exp":' + b"9" * 5000 + b"}",
    ],
    ids=lambda p: repr(p[:24]),
)
def test_l11_bad_json_is_refused_quickly(payload: bytes) -> None:
    for raw, reason in (
        (MINT.sign(compact(MINT.header()), payload), "token-claims"),
        (MINT.sign(payload, compact(claims())), "token-malformed"),
    ):
        start = time.perf_counter()
        if payload == b"" or len(payload) > 12_000:
            reason = "token-malformed"  # no segment, or too large a token
        assert verdict(raw) == reason
        assert time.perf_counter() - start < 0.5


def test_l11_names_that_come_twice_over_a_good_signature() -> None:
    good = json.dumps(claims())
    assert verdict(MINT.sign(compact(MINT.header()), good.encode())) == "ok"
    twice = good[:-1] + ',"email":"admin@example.com"}'
    assert verdict(MINT.sign(compact(MINT.header()), twice.encode())) == "token-claims"
    escaped = good[:-1] + ',"e\\u006dail":"admin@example.com"}'
    assert verdict(MINT.sign(compact(MINT.header()), escaped.encode())) == "token-claims"


@pytest.mark.parametrize("size", [16_385, 1 << 20])
def test_l11_size(size: int) -> None:
    assert verdict(b"a" * size) == "token-malformed"
    assert verdict(MINT.token(custom={"a": "x" * size})) == "token-malformed"


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": ...},
        {"sub": ""},
        {"sub": None},
        {"sub": 7},
        {"sub": "x" * 513},
        {"sub": "a\nb"},
        {"identity_nonce": ...},
        {"identity_nonce": ""},
        {"email": 7},
        {"email": "a@b\r\nX-Evil: 1"},
        {"email": "a\x00@b"},
        {"email": ["a@b"]},
        {"sekisho": ...},
        {"sekisho": None},
        {"sekisho": []},
        {"sekisho__sid": ...},
        {"sekisho__sid": 1},
        {"sekisho__epoch": ...},
        {"sekisho__epoch": -1},
        {"sekisho__epoch": True},
        {"sekisho__epoch": 2**32},
        {"sekisho__epoch": 1.0},
        {"sekisho__app_epoch": ...},
        {"sekisho__app_epoch": "1"},
        {"sekisho__groups": "staff"},
        {"sekisho__groups": [1]},
        {"custom": 1},
        {"email": "\ud800@example.com"},
        {"sekisho__partial": 5},
        {"sekisho__partial": [[]]},
    ],
    ids=str,
)
def test_claims_that_we_cannot_use(changed: dict) -> None:
    assert verdict(MINT.token(**changed)) == "token-claims"


# -- L12: form ----------------------------------------------


def test_l12_form() -> None:
    raw = MINT.token()
    header, payload, signature = raw.split(b".")
    for bad in (
        b"",
        b".",
        b"..",
        b"...",
        raw + b".",
        b"." + raw,
        raw + b"." + signature,
        header + b"." + payload,
        header,
        header + b".." + signature,
        b"." + payload + b"." + signature,
        header + b"." + payload + b".",
        header + b"==." + payload + b"." + signature,
        header + b"." + payload + b"." + signature + b"==",
        raw + b"\n",
        b" " + raw,
        raw + b" ",
        header + b"\n." + payload + b"." + signature,
        raw + b"\x00",
        header + b". " + payload + b"." + signature,
        raw[:-1] + b"+",
        raw[:-1] + b"/",
        raw[:-1] + b"\xff",
        raw.replace(b".", b"\xe3\x80\x82"),
        b"Bearer " + raw,
        b'"' + raw + b'"',
    ):
        assert verdict(bad) == "token-malformed", bad[-40:]


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_l12_one_token_has_one_spelling(size: int) -> None:
    """The last digit of a segment may have bits that decoding drops: they must be zero."""
    text = b64(b"\x00" * size)
    for last in (b"B", b"C", b"D"):
        if unb64(text[:-1] + last) == b"\x00" * size:
            assert (
                verdict(b64(compact(MINT.header())) + b"." + text[:-1] + last + b".AA")
                == "token-malformed"
            )
    assert verdict(b64(compact(MINT.header())) + b"." + b"A" * 5 + b".AA") == "token-malformed"


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


def test_a_failing_allocation_is_an_exception() -> None:
    with pytest.raises(MemoryError):
        run_out_of_memory()


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


# -- revocations --------------------------------------------

LATER = NOW + 9999


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"kind": "session", "id": "s" * 22}, "session-revoked"),
        ({"kind": "session", "id": "other"}, None),
        ({"kind": "nonce", "id": "n" * 22}, "session-revoked"),
        ({"kind": "nonce", "id": "s" * 22}, None),
        ({"kind": "user", "id": claims()["sub"], "epoch": 4}, "session-outdated"),
        ({"kind": "user", "id": claims()["sub"], "epoch": 3}, None),
        ({"kind": "user", "id": claims()["sub"]}, "session-revoked"),
        ({"kind": "user", "id": "other", "epoch": 99}, None),
        ({"kind": "application", "id": AUD.decode(), "epoch": 3}, "session-outdated"),
        ({"kind": "application", "id": AUD.decode(), "epoch": 2}, None),
        ({"kind": "application", "id": AUD}, "session-revoked"),
        ({"kind": "credential", "id": "s" * 22}, None),
        ({"kind": "tomorrow's", "id": "s" * 22}, None),
    ],
    ids=str,
)
def test_revocation_reaches_cached_tokens(entry: dict, reason: str | None) -> None:
    made, raw = cache(), MINT.token()
    assert verdict(raw, made=made) == "ok"
    token, _ = made.check(raw, AUD, NOW)
    generation = made.revocations.generation
    made.revocations.apply([entry | {"until": LATER}])
    assert made.revocations.generation == generation + 1
    assert verdict(raw, made=made) == (reason or "ok")
    assert made.revocations.check_token(token) == reason
    fresh = cache()
    fresh.revocations.apply([entry | {"until": LATER}])
    assert verdict(raw, made=fresh) == (reason or "ok")


def test_entries_add_up_and_a_full_list_replaces() -> None:
    revocations = Revocations()
    revocations.apply([{"kind": "credential", "id": "a", "until": LATER}], seq=1)
    revocations.apply([{"kind": "credential", "id": "b", "until": LATER}], seq=2)
    assert revocations.lists("credential", "a") and revocations.lists("credential", "b")
    assert not revocations.lists("administrator", "a")
    revocations.apply([{"kind": "administrator", "id": "c", "until": LATER}], full=True, seq=3)
    assert (revocations.size, revocations.seq) == (1, 3)
    assert revocations.lists("administrator", "c") and not revocations.lists("credential", "a")


def test_a_higher_epoch_is_never_lowered_and_old_entries_go() -> None:
    made, raw = cache(), MINT.token()
    user = claims()["sub"]
    made.revocations.apply([{"kind": "user", "id": user, "epoch": 4, "until": LATER}])
    made.revocations.apply([{"kind": "user", "id": user, "epoch": 1, "until": NOW + 5}])
    assert verdict(raw, made=made) == "session-outdated"
    made.revocations.apply([], now=LATER - 1)
    assert made.revocations.size == 1
    made.revocations.apply([], now=LATER)
    assert made.revocations.size == 0


def test_a_bad_entry_changes_nothing() -> None:
    revocations = Revocations()
    with pytest.raises(KeyError):
        revocations.apply(
            [{"kind": "session", "id": "a", "until": LATER}, {"kind": "session", "id": "b"}]
        )
    assert (revocations.size, revocations.generation) == (0, 1)


# -- service tokens -----------------------------------------


def sha(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


SERVICE = ServiceTokens(
    {
        "abc.access": ["id-1", "Backup", [[sha(b"new"), NOW + 100], [sha(b"old").hex(), NOW + 10]]],
        "def.access": ["id-2", [[sha(b"forever"), 0]]],
    }
)


@pytest.mark.parametrize(
    ("client", "secret", "now", "result"),
    [
        (b"abc.access", b"new", NOW, ("id-1", None)),
        (b"abc.access", b"old", NOW + 9, ("id-1", None)),
        (b"abc.access", b"old", NOW + 10, (None, "service-token-expired")),
        (b"abc.access", b"new", NOW + 99, ("id-1", None)),
        (b"abc.access", b"new", NOW + 100, (None, "service-token-expired")),
        (b"def.access", b"forever", LATER, ("id-2", None)),
        (b"abc.access", b"forever", NOW, (None, "service-token-unknown")),
        (b"abc.access", b"new ", NOW, (None, "service-token-unknown")),
        (b"ABC.access", b"new", NOW, (None, "service-token-unknown")),
        (b"xyz.access", b"new", NOW, (None, "service-token-unknown")),
        (b"", b"new", NOW, (None, "service-token-incomplete")),
        (b"abc.access", b"", NOW, (None, "service-token-incomplete")),
        (b"\xff\x00", b"\xff", NOW, (None, "service-token-unknown")),
    ],
)
def test_service_tokens(client: bytes, secret: bytes, now: int, result: tuple) -> None:
    assert SERVICE.prove(client, secret, now, Revocations()) == result


def test_a_revoked_service_token() -> None:
    revocations = Revocations()
    revocations.apply([{"kind": "service_token", "id": "abc.access", "until": LATER}])
    assert SERVICE.prove(b"abc.access", b"new", NOW, revocations) == (None, "service-token-revoked")
    assert SERVICE.prove(b"abc.access", b"bad", NOW, revocations) == (None, "service-token-unknown")
    assert SERVICE.prove(b"def.access", b"forever", NOW, revocations) == ("id-2", None)


def test_service_tokens_are_kept_as_hashes() -> None:
    assert SERVICE.size == 2 and ServiceTokens().size == 0
    with pytest.raises(ValueError, match="SHA-256"):
        ServiceTokens({"a": ["id", [[b"plain secret", 0]]]})
