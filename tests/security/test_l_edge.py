"""Section L through a real edge: L01 to L12 as cookie and as Cf-Access-Token, and the origin sees nothing.

The tokens of tests/fastpath/test_jwt*.py, signed by this very edge's key wherever the fault isn't the signature."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.kit.edge_mint import EdgeMint, claims_of
from tests.kit.mint import Mint, b64, compact, unb64
from tests.security.checkpoint import Checkpoint
from tests.security.rows import A, B, request

Tokens = dict[str, tuple[str, str]]      # what it is: (the token, the reason that refuses it)


def algorithms(mint: EdgeMint, good: str) -> Tokens:
    """L01, L02, L06: any algorithm but RS256, and HMAC under what everybody can read."""
    made: Tokens = {}
    for alg in ("none", "None", "nOnE", "", "rs256", "RS512", "PS256", "HS256", "ES256", "EdDSA"):
        made[f"L01 alg {alg!r}"] = mint.over(good, {"alg": alg}), "token-algorithm"
    made["L01 no alg"] = mint.over(good, {"alg": ...}), "token-algorithm"
    made["L01 no signature"] = good.rpartition(".")[0] + ".", "token-malformed"
    body = b64(compact(claims_of(good)))
    for name, secret in (("pem", mint.public_pem), ("der", mint.public_der), ("jwk", compact(mint.jwk)),
                         ("n", unb64(mint.jwk["n"].encode()))):
        for alg, why in (("HS256", "token-algorithm"), ("RS256", "token-signature")):
            head = b64(compact(mint.header(alg=alg))) + b"." + body
            signed = head + b"." + b64(hmac.new(secret, head, hashlib.sha256).digest())
            made[f"L02 {alg} under {name}"] = signed.decode(), why
    curve = ec.generate_private_key(ec.SECP256R1())
    made["L06 ES256"] = jwt.encode(claims_of(good), curve, "ES256", headers={"kid": mint.kid}), "token-algorithm"
    head = b64(compact(mint.header(alg="ES256"))) + b"." + body
    made["L06 r=s=0"] = (head + b"." + b64(bytes(64))).decode(), "token-algorithm"
    head = b64(compact(mint.header())) + b"." + body
    pss = mint.key.sign(head, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    made["L06 PSS under RS256"] = (head + b"." + b64(pss)).decode(), "token-signature"
    made["L06 one byte more"] = (
        head + b"." + b64(unb64(good.rpartition(".")[2].encode()) + b"\0")).decode(), "token-signature"
    return made


def headers(mint: EdgeMint, good: str) -> Tokens:
    """L03, L04, L05: keys that the header brings, keys that nobody knows, members that change the rules."""
    stranger = Mint(mint.kid)
    made: Tokens = {}
    for name, extra in {
        "jwk": {"jwk": stranger.jwk}, "jku": {"jku": "https://evil.example/jwks"},
        "x5u": {"x5u": "https://evil.example/c"}, "x5c": {"x5c": ["AA=="]},
    }.items():
        forged = stranger.sign(compact(stranger.header(**extra)), compact(claims_of(good))).decode()
        made[f"L03 {name}, its key"] = forged, "token-malformed"
        made[f"L03 {name}, our key"] = mint.over(good, extra), "token-malformed"
    made["L03 a stranger's key of our name"] = stranger.sign(
        compact(stranger.header()), compact(claims_of(good))).decode(), "token-signature"
    for kid in ("../../dev/null", "' OR 1=1 --", "unknown", ..., None, "", 1, mint.kid.upper(), mint.kid + "\0"):
        made[f"L04 kid {kid!r}"] = mint.over(good, {"kid": kid}), "token-key-unknown"
    for extra in ({"crit": ["x"]}, {"crit": []}, {"b64": False}, {"b64": False, "crit": ["b64"]}):
        made[f"L05 {extra}"] = mint.over(good, extra), "token-malformed"
    return made


def claims(mint: EdgeMint, good: str, other_aud: str) -> Tokens:
    """L07 to L11: over a good signature, so that only what the claim says can refuse it."""
    now, own = int(time.time()), claims_of(good)
    aud, iss = own["aud"][0], own["iss"]
    made: Tokens = {}
    for value in ([other_aud], [aud, other_aud], aud, aud[:32], [aud[:32]], [aud + "0"], [aud.upper()], [], None, ...):
        made[f"L07 aud {str(value)[:24]}"] = mint.over(good, aud=value), "token-audience"
    for value in ("https://other.example.com", iss + "/", iss.upper(), "login.sekisho.localhost", "", None, ..., [iss]):
        made[f"L08 iss {value}"] = mint.over(good, iss=value), "token-issuer"
    for value in (now - 1, now - 3600, 0):
        made[f"L09 exp {value - now:+d}"] = mint.over(good, exp=value), "session-expired"
    for name in ("exp", "nbf", "iat"):
        for value in (..., None, str(now + 60), now + 60.5, True, -1, 2**63):
            made[f"L09 {name} {value!r}"] = mint.over(good, **{name: value}), "token-claims"
    for name in ("nbf", "iat"):
        made[f"L09 {name} in two minutes"] = mint.over(good, **{name: now + 120}), "token-not-yet-valid"
    for name, changed in {
        "global": {"type": "org"}, "untyped": {"type": ...}, "APP": {"type": "APP"},
        "service": {"common_name": "abc.access", "sub": ""},
    }.items():
        made[f"L10 {name}"] = mint.over(good, **changed), "token-type"
    for typ in ("at+jwt", "logout+jwt", "jwt", "", None):
        made[f"L10 typ {typ!r}"] = mint.over(good, {"typ": typ}), "token-type"
    text = compact(own)
    for name, payload in {
        "twice": text[:-1] + b',"email":"admin@example.com"}', "deep": b"[" * 3000 + b"]" * 3000,
        "not UTF-8": b'{"a":"\xff"}', "no object": b"[]", "tail": text + b"x", "NaN": text[:-1] + b',"x":NaN}',
    }.items():
        made[f"L11 {name}"] = mint.sign(compact(mint.header()), payload).decode(), "token-claims"
    made["L11 20 KiB"] = mint.over(good, custom={"a": "x" * 15_000}), "token-malformed"
    return made


def forms(mint: EdgeMint, good: str) -> Tokens:
    """L12: one token has one spelling."""
    head, body, signature = good.split(".")
    made = {
        "four parts": f"{good}.x", "two parts": f"{head}.{body}", "padding": good + "=", "padded body":
        f"{head}.{body}=.{signature}", "empty header": f".{body}.{signature}", "empty body": f"{head}..{signature}",
        "another last digit": good[:-1] + chr(ord(good[-1]) + 1 if good[-1] not in "Zz9-_" else ord("B")),
    }
    if "-" in good or "_" in good:
        made["+ and /"] = good.replace("-", "+").replace("_", "/")
    return {f"L12 {name}": (token, "") for name, token in made.items()}


@pytest.fixture(scope="module")
def mint(_checkpoint: Checkpoint) -> Iterator[EdgeMint]:
    yield EdgeMint.of(_checkpoint.edge, f"sqlite:///{_checkpoint.folder}/state.db", time.time())


def ask(checkpoint: Checkpoint, tokens: Tokens, field: str) -> dict[str, str]:
    """Send every token over kept connections; return those that weren't refused for their reason."""
    wrong: dict[str, str] = {}
    client = checkpoint.client()
    for what, (token, why) in tokens.items():
        answer = client.send(request(f"{field}{token}", "Accept: application/json", host=A)).answer()
        said = answer.body.decode("utf-8", "replace")
        if answer.status not in (401,) or f'"reason": "{why}' not in said:
            wrong[what] = f"{answer.status} {said[:160]}, not {why}"
        if (answer.get("connection") or "") == "close":
            client.sock.close()
            client = checkpoint.client()
    client.sock.close()
    return wrong


@pytest.mark.parametrize("field", ["Cookie: CF_Authorization=", "Cf-Access-Token: "])
@pytest.mark.parametrize("table", ["algorithms", "headers", "claims", "forms"])
def test_l01_to_l12_refused_for_its_reason_and_the_origin_sees_nothing(
    checkpoint: Checkpoint, mint: EdgeMint, table: str, field: str
) -> None:
    good = checkpoint.token(A)
    made = {
        "algorithms": lambda: algorithms(mint, good), "headers": lambda: headers(mint, good),
        "claims": lambda: claims(mint, good, claims_of(checkpoint.token(B))["aud"][0]),
        "forms": lambda: forms(mint, good),
    }[table]()
    checkpoint.clear()
    assert ask(checkpoint, made, field) == {}
    assert not checkpoint.origin.requests


def test_the_mint_makes_good_tokens_too(checkpoint: Checkpoint, mint: EdgeMint) -> None:
    """Else every refusal above could be for another reason; and the second of L09's leeway that is let in."""
    good, now = checkpoint.token(A), int(time.time())
    checkpoint.clear()
    for token in (mint.over(good), mint.over(good, {"typ": ...}), mint.over(good, exp=now + 60),
                  mint.over(good, nbf=now + 50, iat=now + 50)):
        with checkpoint.client() as c:
            assert c.send(request(f"Cookie: CF_Authorization={token}", host=A)).answer().status == 200
    assert len(checkpoint.origin.wait(4)) == 4


def test_l09_k14_a_session_ends_on_its_second_also_in_the_cache(checkpoint: Checkpoint, mint: EdgeMint) -> None:
    """L09, K14: good until the second before, over one kept connection; never longer for having been seen."""
    end = int(time.time()) + 2
    token = mint.over(checkpoint.token(A), exp=end)
    checkpoint.clear()
    with checkpoint.client() as c:
        while True:
            before = time.time()
            answer = c.send(request(f"Cookie: CF_Authorization={token}", "Accept: application/json", host=A)).answer()
            after = time.time()
            if after < end:
                assert answer.status == 200
            elif before >= end:
                assert answer.status == 401 and b"session-expired" in answer.body
                break
            time.sleep(0.05)
    assert checkpoint.origin.requests


def test_l15_a_copied_assertion_is_good_until_its_session_ends(checkpoint: Checkpoint) -> None:
    """L15: what an origin gets verifies for whoever holds it, until exp or revocation; the edge itself takes
    it only while the session stands. docs/headers.md says so."""
    other = checkpoint.fresh(A)
    cookie = other.cookies(A)
    checkpoint.clear()
    with checkpoint.client() as c:
        assert c.send(request(f"Cookie: {cookie}", host=A)).answer().status == 200
    assertion = checkpoint.origin.wait(1)[0].get("cf-access-jwt-assertion")
    assert assertion is not None
    with checkpoint.client() as c:        # the copy, from another browser
        assert c.send(request(f"Cf-Access-Token: {assertion}", host=A)).answer().status == 200
    checkpoint.edge.admin.call("POST", "/revoke", {"kind": "token", "id": claims_of(assertion)["identity_nonce"]})
    deadline = time.monotonic() + 5
    while True:
        with checkpoint.client() as c:
            answer = c.send(request(f"Cf-Access-Token: {assertion}", "Accept: application/json", host=A)).answer()
        if answer.status == 401:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert b'"session-revoked"' in answer.body
    # an origin that looks only at the signature still takes it: that is the row's point
    with checkpoint.client() as c:
        keys = c.send(request(first="GET /cdn-cgi/access/certs HTTP/1.1", host=A)).answer().body
    key = jwt.PyJWKSet.from_json(keys.decode())[jwt.get_unverified_header(assertion)["kid"]]
    read = jwt.decode(assertion, key, algorithms=["RS256"], audience=claims_of(assertion)["aud"])
    assert read["email"] == "alice@example.com"
    page = (Path(__file__).parents[2] / "docs" / "headers.md").read_text()
    assert "A copied assertion" in page and "ends or is revoked" in page, "it is documented"
