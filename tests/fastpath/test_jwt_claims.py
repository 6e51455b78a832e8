"""jwt.pyx, section L: claims. (Rows by name: L08.)"""

import json
import time

import pytest

from tests.kit.mint import AUD, ISSUER, NOW, claims, compact
from tests.kit.token_verdict import MINT, cache, verdict

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
        {"sekisho__idp": ...},
        {"sekisho__idp": None},
        {"sekisho__partial": ["idp"]},
        {"sekisho__partial": 5},
        {"sekisho__partial": [[]]},
    ],
    ids=str,
)
def test_claims_that_we_cannot_use(changed: dict) -> None:
    assert verdict(MINT.token(**changed)) == "token-claims"
