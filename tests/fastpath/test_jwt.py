"""jwt.pyx, section L: form, header, algorithm, key. (Rows by name: L02 L03 L05.)"""

import hashlib
import hmac
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import RSAKey

from tests.kit.mint import AUD, ISSUER, NOW, b64, claims, compact, unb64
from tests.kit.token_verdict import MINT, NEXT, STRANGER, cache, verdict

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
