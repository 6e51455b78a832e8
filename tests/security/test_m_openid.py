"""Section M through a real edge: OpenID providers that lie, answers that aren't ours, return addresses; the origin
sees nothing of it. (What needs time by hand, M01's ten minutes, M06 and M07's second fetch, is in tests/identity and
tests/control.)"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
from joserfc.jwk import RSAKey

from edge.demo.visitor import Forms, Reply, Visitor
from tests.identity.test_destination import ENDS, HOSTS, PAYLOADS
from tests.identity.test_oidc import WRONG
from tests.kit.edge_mint import claims_of
from tests.security.federation import CORP, GROUPS, LIES, LOGIN, Federated
from tests.security.rows import A, B, request


def refused(federated: Federated, reason: str, host: str = A, provider: str = "sso", **more: str) -> None:
    """A whole sign-in that fails for this reason, and lets nobody in."""
    visitor = federated.browser()
    reply = asyncio.run(federated.sign_in(visitor, host, provider, **more))
    assert reply.status in (403, 502) and reason in reply.text, f"{reply.status} {reply.text[-600:]}"
    federated.nobody_came_in(visitor, host)


def test_m02_an_honest_sign_in_has_state_nonce_and_s256(federated: Federated) -> None:
    """M02: S256 always; the verifier goes to the token endpoint and is the challenge's; who came back is at the origin."""
    visitor = federated.browser()

    async def walk() -> tuple[dict[str, str], Reply]:
        asked = await federated.begin(visitor, path="/deep?q=1")
        return asked, await federated.back(
            visitor, code="c", state=asked["state"], code_challenge_method="plain", code_challenge="x")

    asked, reply = asyncio.run(walk())
    assert reply.status == 200 and reply.url == federated.url(A, "/deep?q=1")
    assert asked["code_challenge_method"] == "S256" and asked["response_type"] == "code"
    assert len(asked["state"]) == 22 and len(asked["nonce"]) >= 22
    told = {k: v[0] for k, v in parse_qs(federated.sso.bodies[0]).items()}
    digest = hashlib.sha256(told["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    seen = federated.origin.wait(1)[0]
    assertion = seen.get("cf-access-jwt-assertion")
    assert assertion and claims_of(assertion)["email"] == "alice@example.com"
    assert claims_of(assertion)["sekisho"]["idp"] == "sso"
    assert b"secret-access-token" not in seen.raw


@pytest.mark.parametrize("spoil", ["missing", "empty", "wrong", "odd", "other-browser", "reused", "code-twice", "state-twice",
                                   "no-code"])
def test_m01_m03_m14_answers_that_are_not_ours(federated: Federated, spoil: str) -> None:
    """M01 M03 M14: state missing, wrong, of another browser, used before; a code again; a parameter twice."""
    browser = federated.browser()
    visitor = federated.browser() if spoil == "other-browser" else browser

    async def walk() -> Reply:
        asked = await federated.begin(browser)
        state = asked["state"]
        if spoil == "other-browser":
            await federated.choose(visitor)              # it has a flow of its own
        if spoil == "reused":
            assert (await federated.back(browser, code="c", state=state)).status == 200
            federated.origin.clear()
            for jar in (browser.jar[LOGIN], browser.jar[A]):
                jar.pop("CF_Authorization")
        queries = {
            "missing": "code=c", "empty": "code=c&state=", "wrong": f"code=c&state={'A' * 22}",
            "odd": "code=c&state=%00'--", "code-twice": f"code=c&code=d&state={state}",
            "state-twice": f"code=c&state={state}&state={state}", "no-code": f"state={state}",
        }
        return await federated.back(visitor, raw=queries.get(spoil, f"code=c&state={state}"))

    reply = asyncio.run(walk())
    assert reply.status == (403 if spoil == "no-code" else 400)
    assert federated.sso.asked.count("/token") == (spoil == "reused"), "no code is sent anywhere"
    federated.nobody_came_in(visitor)


def test_m03_a_code_that_the_provider_knows_no_more(federated: Federated) -> None:
    """M03: the code of another flow is the provider's to refuse; we ask once and say so."""
    federated.sso.raw["/token"] = WRONG["refused"]
    refused(federated, "provider-refused")
    assert federated.sso.asked.count("/token") == 1


@pytest.mark.parametrize("iss", ["https://other.example", "http://127.0.0.1", " "])
def test_m03_mix_up(federated: Federated, iss: str) -> None:
    """M03: an answer that names another issuer is not this provider's; its code goes nowhere."""
    refused(federated, "provider-issuer-mismatch", iss=iss)
    assert "/token" not in federated.sso.asked


def test_m03_a_promised_iss(federated: Federated) -> None:
    """M03: who promises `iss` (RFC 9207) must send it; with it the sign-in is good."""
    refused(federated, "provider-issuer-mismatch", provider="promising")
    visitor = federated.browser()
    issuer = federated.people.all["promising"].issuer
    assert asyncio.run(federated.sign_in(visitor, provider="promising", iss=issuer)).status == 200


CLAIMS: dict[str, dict[str, Any]] = {
    "iss": {"iss": "https://other.example"}, "no iss": {"iss": None}, "aud": {"aud": "somebody-else"},
    "no aud": {"aud": None}, "two auds": {"aud": ["edge", "x"]}, "azp": {"azp": "x"}, "no sub": {"sub": None},
    "empty sub": {"sub": ""}, "sub a number": {"sub": 7}, "sub with NUL": {"sub": "a\0b"}, "no iat": {"iat": None},
    "old iat": {"iat": 1}, "no exp": {"exp": None}, "past": {"exp": 1}, "exp a text": {"exp": "9999999999"},
    "no nonce": {"nonce": None}, "other nonce": {"nonce": "other"}, "not yet": {"nbf": 2**40},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=[name.replace(" ", "-") for name in CLAIMS])
def test_m04_claims(federated: Federated, claims: dict[str, Any]) -> None:
    """M04: every claim that OpenID Connect Core 3.1.3.7 names is checked."""
    federated.sso.claims |= claims
    refused(federated, "id-token-invalid")


def _other_key(federated: Federated) -> None:
    federated.sso.sign_with = RSAKey.generate_key(2048, {"kid": "one"})


def _no_kid_among_two(federated: Federated) -> None:
    federated.sso.header = {"kid": None}
    _other_key(federated)


def _no_algorithm(federated: Federated) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    federated.sso.token = f"{head}.{federated.sso.signed().split('.')[1]}."


def _hmac_with_the_public_key(federated: Federated) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    signing = f"{head}.{federated.sso.signed().split('.')[1]}"
    public = federated.sso.keys[0].as_pem(private=False)
    mac = base64.urlsafe_b64encode(hmac.new(public, signing.encode(), hashlib.sha256).digest())
    federated.sso.token = f"{signing}.{mac.rstrip(b'=').decode()}"


def _nothing(federated: Federated) -> None:
    federated.sso.token = ""


def _half(federated: Federated) -> None:
    federated.sso.token = federated.sso.signed().rpartition(".")[0]


@pytest.mark.parametrize("forge", [_other_key, _no_kid_among_two, _no_algorithm, _hmac_with_the_public_key, _nothing, _half],
                         ids=lambda one: one.__name__.strip("_").replace("_", "-"))
def test_m04_signatures(federated: Federated, forge: Any) -> None:
    """M04: another key, no key id, no algorithm, HMAC with the public key. The nonce is right each time."""
    visitor = federated.browser()

    async def walk() -> Reply:
        asked = await federated.begin(visitor)
        forge(federated)
        return await federated.back(visitor, code="c", state=asked["state"])

    reply = asyncio.run(walk())
    assert reply.status == 403 and "id-token-invalid" in reply.text
    federated.nobody_came_in(visitor)


@pytest.mark.parametrize("lie", [*LIES, "local"])
def test_m05_m16_discovery(federated: Federated, lie: str) -> None:
    """M05 M16: another issuer than configured, endpoints at addresses where a provider has no business."""
    visitor = federated.browser()
    reply = asyncio.run(federated.choose(visitor, provider=lie))
    reasons = {"no-issuer": "provider-issuer-mismatch", "other-issuer": "provider-issuer-mismatch",
               "no-token-endpoint": "provider-answer-invalid"}
    assert reply.status == 403 and reasons.get(lie, "provider-address-refused") in reply.text, reply.text[-600:]
    assert not {"/token", "/keys"} & set(federated.people.all[lie].asked)
    federated.nobody_came_in(visitor)


def test_m06_m07_unknown_key_ids_cost_no_fetches(federated: Federated) -> None:
    """M06 M07: keys changed within a minute of the last fetch, and 40 tokens of unknown keys: at most one fetch."""
    federated.signed_in()
    federated.sso.asked.clear()
    federated.sso.sign_with = RSAKey.generate_key(2048, {"kid": "new"})
    for number in range(40):
        federated.sso.header = {"kid": f"unknown-{number}"}
        refused(federated, "id-token-invalid")
    assert federated.sso.asked.count("/token") == 40 and federated.sso.asked.count("/keys") <= 1
    federated.clear()
    federated.signed_in()


def test_m08_userinfo_about_somebody_else(federated: Federated) -> None:
    """M08: the userinfo endpoint answers for another subject."""
    federated.sso.claims |= {"email": None, "email_verified": None}
    federated.sso.userinfo = {"sub": "hanako", "email": "alice@example.com", "email_verified": True}
    refused(federated, "userinfo-subject-mismatch")
    federated.sso.userinfo["sub"] = "alice"
    federated.signed_in()


@pytest.mark.parametrize(("email", "verified", "reason"), [
    ("a@b@corp.com", True, "email-missing"), ('"x@corp.com"@evil', True, "email-missing"),
    ("a@corp.com.evil", True, "policy-no-match"), ("x@cоrp.com", True, "email-missing"),
    ("a@notcorp.com", True, "policy-no-match"), ("a@sub.corp.com", True, "policy-no-match"),
    ("a@corp.com", False, "email-not-verified"), ("a@corp.com", None, "email-not-verified"),
    ("a@corp.com", "true", "email-not-verified"), (" a@corp.com", True, "email-missing"), (None, True, "email-missing"),
    ("A@CORP.com", True, ""), ("a@corp.com", True, ""),
])
def test_m09_only_a_verified_address_of_the_exact_domain(
    federated: Federated, email: str | None, verified: object, reason: str
) -> None:
    """M09: nobody else comes in, and the origin is told the canonical address."""
    federated.sso.claims = {
        "sub": f"{email} {verified}", "groups": [], "email": email, "email_verified": verified}
    federated.sso.userinfo = {"sub": f"{email} {verified}"}
    visitor = federated.browser()
    reply = asyncio.run(federated.sign_in(visitor, CORP))
    if reason:
        assert reply.status == 403 and reason in reply.text
        assert "CF_Authorization" not in visitor.jar.get(CORP, {}) and not federated.origin.requests
        return
    assert reply.status == 200
    assert federated.origin.wait(1)[0].get("cf-access-authenticated-user-email") == "a@corp.com"


def test_m10_the_same_address_from_two_providers_is_two_people(federated: Federated) -> None:
    """M10: identity is (issuer, subject): by PIN, by one provider, by another, by another subject there."""
    seen = [federated.token(A), federated.signed_in().jar[A]["CF_Authorization"]]
    other = federated.browser()
    promising = federated.people.all["promising"]
    assert asyncio.run(federated.sign_in(other, provider="promising", iss=promising.issuer)).status == 200
    federated.clear()
    federated.sso.claims["sub"] = "another-alice"
    seen += [other.jar[A]["CF_Authorization"], federated.signed_in().jar[A]["CF_Authorization"]]
    assert {claims_of(one)["email"] for one in seen} == {"alice@example.com"}
    assert len({claims_of(one)["sub"] for one in seen}) == 4


def handed_on(federated: Federated, visitor: Visitor) -> str:
    """Return the auth domain's address of a sign-in at A, up to where `redirect_url` has its value."""
    start = asyncio.run(visitor.get(federated.url(A, "/cdn-cgi/access/login?redirect_url=/")))
    query = parse_qs(urlsplit(start.get("location") or "").query)
    return f"/cdn-cgi/access/login/{A}?kid={query['kid'][0]}&meta={query['meta'][0]}&redirect_url="


def test_m11_a_thousand_return_addresses_are_kept_in_no_sign_in(federated: Federated) -> None:
    """M11: what the sign-in page goes on with is a path of the application, whatever it was opened with."""
    target, away = handed_on(federated, federated.browser()), []
    payloads = [one for number, one in enumerate(PAYLOADS) if number % (len(HOSTS) * len(ENDS)) < 17]
    assert len(set(payloads)) >= 1_000
    with federated.client() as client:
        for payload in payloads:
            page = client.send(request("Accept: text/html", first=f"GET {target}{quote(payload, safe='')} HTTP/1.1",
                                       host=urlsplit(federated.url(LOGIN)).netloc)).answer()
            parser = Forms()
            parser.feed(page.body.decode())
            kept = {parse_qs(urlsplit(form.action).query)["redirect_url"][0] for form in parser.forms}
            if page.status != 200 or any(host_of(federated, one) != A or not one.startswith("/") for one in kept):
                away.append((payload, page.status, kept))
    assert away == []
    assert not federated.origin.requests


def host_of(federated: Federated, location: str) -> str | None:
    """Return the host that a browser at A would go to: it drops tabs and line ends, and reads \\ as /."""
    text = location.strip("".join(map(chr, range(33)))).translate({9: None, 10: None, 13: None}).replace("\\", "/")
    return urlsplit(urljoin(federated.url(A, "/cdn-cgi/access/authorized"), text)).hostname


def test_m11_return_addresses_to_the_end(federated: Federated) -> None:
    """M11: one of each kind asked for by a signed-in person: on the way only the auth domain and the application, and
    the application's own answer leads to a path of its own."""
    visitor = federated.signed_in()
    target, netloc = handed_on(federated, visitor), urlsplit(federated.url(A)).netloc
    for payload in PAYLOADS[:: len(HOSTS) * len(ENDS)]:
        with federated.client() as client:
            answer = client.send(request(
                f"Cookie: {visitor.cookies(LOGIN)}", first=f"GET {target}{quote(payload, safe='')} HTTP/1.1",
                host=urlsplit(federated.url(LOGIN)).netloc)).answer()
            handed = urlsplit(answer.get("location") or "")
            assert (answer.status, handed.netloc) == (303, netloc), payload
            answer = client.send(request(
                f"Cookie: {visitor.cookies(A)}", first=f"GET {handed.path}?{handed.query} HTTP/1.1",
                host=netloc)).answer()
        location = answer.get("location") or ""
        assert answer.status == 302 and location.startswith("/") and host_of(federated, location) == A, payload
    assert not federated.origin.requests


def test_m12_a_sign_in_leads_to_its_own_application_only(federated: Federated) -> None:
    """M12: another application's id or host, or a host of nobody's: nothing is handed over. What crosses hosts in an
    address is a code of one use, never a token; and A's code is worth nothing at B."""
    visitor = federated.signed_in()

    async def walk() -> None:
        start = await visitor.get(federated.url(A, "/cdn-cgi/access/login?redirect_url=/"))
        query = parse_qs(urlsplit(start.get("location") or "").query)
        more = f"?kid={query['kid'][0]}&meta={query['meta'][0]}&redirect_url=/"
        for host in (B, "evil.example", f"{A}.evil.example", f"{A}%2eevil.example", f"{A}@evil.example", LOGIN):
            answer = await visitor.get(federated.url(LOGIN, f"/cdn-cgi/access/login/{host}{more}"))
            assert answer.status in (400, 404) and answer.get("location") is None, host
        handed = await visitor.get(federated.url(LOGIN, f"/cdn-cgi/access/login/{A}{more}"))
        where = handed.get("location") or ""
        assert handed.status == 303 and where.startswith(federated.url(A, "/cdn-cgi/access/authorized?code="))
        assert "eyJ" not in where
        await visitor.get(federated.url(B))              # so that B knows this browser
        stolen = await visitor.get(where.replace(A, B))
        assert stolen.status == 403 and "code-refused" in stolen.text
        assert "CF_Authorization" not in visitor.jar.get(B, {})

    asyncio.run(walk())
    assert not federated.origin.requests


def test_m13_what_the_provider_says_of_an_error_is_never_shown(federated: Federated) -> None:
    """M13: error, error_description and error_uri are a stranger's text."""
    visitor = federated.browser()

    async def walk() -> Reply:
        asked = await federated.begin(visitor)
        return await federated.back(
            visitor, state=asked["state"], error="<img src=x>", error_description="<script>alert(1)</script>",
            error_uri="javascript:alert(1)", code="c")

    reply = asyncio.run(walk())
    assert reply.status == 403 and "provider-refused" in reply.text
    assert not any(word in reply.text for word in ("<script", "<img", "alert(1)"))
    assert "/token" not in federated.sso.asked
    federated.nobody_came_in(visitor)


@pytest.mark.parametrize("wrong", [*WRONG, "slow"])
def test_m15_a_token_endpoint_that_fails(federated: Federated, wrong: str) -> None:
    """M15: 500, redirects, HTML, rubbish, 2 MiB, silence: the sign-in fails within 10 s, after one request, at no
    other address."""
    if wrong == "slow":
        federated.sso.stall.add("/token")
    else:
        federated.sso.raw["/token"] = WRONG[wrong]
    began = time.monotonic()
    refused(federated, "provider-")
    assert time.monotonic() - began < 11
    assert federated.sso.asked.count("/token") == 1 and "/elsewhere" not in federated.sso.asked


def test_m17_no_page_or_endpoint_shows_a_provider_s_token(federated: Federated) -> None:
    """M17: what get-identity and the pages tell of a person is no token, and the origin gets none of the provider's."""
    visitor = federated.signed_in()
    id_token = federated.sso.signed().split(".")[2][:20]

    async def walk() -> list[Reply]:
        paths = ("/cdn-cgi/access/get-identity", "/cdn-cgi/access/logout", "/cdn-cgi/access/certs")
        return [await visitor.get(federated.url(host, path), headers={"Sec-Fetch-Site": "cross-site"})
                for host in (A, LOGIN) for path in paths]

    replies = asyncio.run(walk())
    assert json.loads(replies[0].text)["email"] == "alice@example.com"
    for reply in replies:
        assert not any(word in reply.text for word in ("secret-access-token", id_token, federated.secret)), reply.url
        assert "eyJ" not in reply.text, reply.url


def test_m19_a_post_is_answered_by_303_and_nothing_is_a_referrer(federated: Federated) -> None:
    """M19: no 307 takes a form to another host; every step forbids referrers and caches."""
    visitor = federated.browser()

    async def walk() -> list[Reply]:
        page = await visitor.get(federated.url(A), follow=True)
        sent = await federated.choose_on(visitor, page)
        asked = parse_qs(urlsplit(sent.get("location") or "").query)
        federated.sso.nonce = asked["nonce"][0]
        back = await federated.back(visitor, follow=False, code="c", state=asked["state"][0])
        return [page, sent, back, await visitor.get(back.get("location") or "")]

    replies = asyncio.run(walk())
    assert [one.status for one in replies] == [200, 303, 303, 302]
    for one in replies:
        assert one.get("referrer-policy") in ("no-referrer", "same-origin"), one.url
        assert "no-store" in (one.get("cache-control") or ""), one.url
    assert not federated.origin.requests


def test_c15_line_ends_and_foreign_letters_of_a_provider(federated: Federated) -> None:
    """C15: a group with a line end signs nobody in; a name with one is cleaned; other letters reach the origin coded."""
    federated.sso.claims["groups"] = ["a\r\nX-Evil: 1"]
    refused(federated, "claims-invalid", GROUPS)
    federated.sso.claims |= {"groups": ["開発", "r&d, 'x'"], "name": "山田\r\nX-Evil: y"}
    visitor = federated.browser()
    assert asyncio.run(federated.sign_in(visitor, GROUPS)).status == 200
    seen = federated.origin.wait(1)[0]
    assert seen.get("x-evil") is None and seen.raw.isascii()
    assert all(32 <= byte < 127 for byte in seen.raw.replace(b"\r\n", b""))
    told = claims_of(seen.get("cf-access-jwt-assertion") or "")["sekisho"]
    assert told["groups"] == ["開発", "r&d, 'x'"] and told["name"] == "山田X-Evil: y"
