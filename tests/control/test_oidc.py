"""Signing in at a real OpenID provider; section M as far as an honest provider can show it."""

import dataclasses
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from edge.identity.world import OIDC, PIN, Provider
from tests.control.conftest import Place
from tests.kit.oidc_provider import OpenIDProvider, sign_in_at
from tests.kit.sign_in import WIKI_AUD, Browser, Page

CALLBACK = "https://login.example.com/cdn-cgi/access/callback"
WIKI = "https://wiki.example.com/"


PEOPLE = {
    "taro": {
        "email": "taro@example.jp",
        "groups": ["eng", "admins"],
        "department": "R&D",
        "name": "山田 太郎",
    },
    "unverified": {"email": "ceo@example.jp", "email_verified": False, "groups": []},
    "crowd": {
        "email": "crowd@example.jp",
        "groups": [f"group-number-{n}-of-many" for n in range(4000)],
    },
    "split": {"email": "split@example.jp", "groups": ["a\r\nX-Evil: 1"]},
}


@pytest.fixture(scope="module", params=[False, True], ids=["id-token", "userinfo"])
def issuer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("oidc")
    provider = OpenIDProvider(folder, [CALLBACK], PEOPLE, conform=request.param)
    yield provider.issuer
    provider.close()


@pytest.fixture
def sso(place: Place, issuer: str) -> Place:
    world = place.worlds[-1]
    provider = Provider(
        "sso",
        "Company SSO",
        OIDC,
        issuer=issuer,
        client_id="edge",
        client_secret="edge-secret-edge-secret-edge-secret",
        groups_claim="groups",
        scopes=("openid", "email", "profile", "groups"),
        claims=("department",),
        allow_local=True,
    )
    wiki = dataclasses.replace(world.applications[WIKI_AUD], groups=True, claims=("department",))
    place.worlds.append(
        dataclasses.replace(
            world,
            providers={"pin": Provider("pin", "One-time PIN", PIN), "sso": provider},
            applications={**world.applications, WIKI_AUD: wiki},
        )
    )
    # The provider's tokens carry real time.
    place.clock.now = time.time()
    return place


async def to_provider(browser: Browser, url: str = WIKI) -> Page:
    page = await browser.open_application(url)
    form = next(f for f in page.forms if f["fields"].get("method") == "sso")
    return await browser.send(
        "POST", f"https://login.example.com{form['action']}", data=form["fields"]
    )


async def test_sign_in_with_groups_and_claims(sso: Place) -> None:
    """M02 M04 M10 M17: PKCE S256, state and nonce go out; who comes back is who signed in there."""
    browser = sso.browser()
    page = await to_provider(browser, WIKI + "deep?q=1")
    assert page.status == 303
    asked = parse_qs(urlsplit(page.location).query)
    assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
    assert asked["response_type"] == ["code"] and asked["state"] and asked["nonce"]
    back = await sign_in_at(page.location, "taro")
    page = await browser.get(back, site="cross-site")
    assert page.status == 303, page.text
    page = await browser.get(page.location)
    assert page.status == 302 and page.location == "/deep?q=1"
    claims = jwt.decode(
        browser.jar["wiki.example.com"]["CF_Authorization"], options={"verify_signature": False}
    )
    assert claims["email"] == "taro@example.jp"
    assert claims["custom"] == {"department": "R&D"}
    assert claims["sekisho"]["groups"] == ["eng", "admins"]
    assert claims["sekisho"]["idp"] == "sso" and claims["sekisho"]["name"] == "山田 太郎"
    told = await browser.get("https://wiki.example.com/cdn-cgi/access/get-identity")
    assert "eyJ" not in told.text and '"groups": ["eng", "admins"]' in told.text


@pytest.mark.parametrize("spoil", ["missing", "wrong", "other-browser", "late", "reused", "twice"])
async def test_m01_m03_m14_answers_that_are_not_ours(sso: Place, spoil: str) -> None:
    """M01 M03 M14: state missing, wrong, of another browser, expired, reused; parameters twice."""
    browser = sso.browser()
    page = await to_provider(browser)
    back = await sign_in_at(page.location, "taro")
    query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    visitor = browser
    if spoil == "missing":
        query.pop("state")
    elif spoil == "wrong":
        query["state"] = "A" * 22
    elif spoil == "other-browser":
        visitor = sso.browser()
        await visitor.open_application(WIKI)
    elif spoil == "late":
        sso.clock.advance(601)
    elif spoil == "reused":
        assert (await browser.get(back)).status == 303
        browser.jar["login.example.com"].pop("CF_Authorization", None)
    url = CALLBACK + "?" + urlencode(query)
    if spoil == "twice":
        url += "&code=other"
    answer = await visitor.get(url)
    assert answer.status == 400
    assert "CF_Authorization" not in visitor.jar["login.example.com"]


@pytest.mark.parametrize(
    ("login", "reason"), [("unverified", "email-not-verified"), ("split", "claims-invalid")]
)
async def test_m09_c15_claims_that_are_not_taken(sso: Place, login: str, reason: str) -> None:
    """M09 C15: an unverified address, and a group with a line break, sign nobody in."""
    browser = sso.browser()
    page = await to_provider(browser)
    answer = await browser.get(await sign_in_at(page.location, login))
    assert answer.status == 403 and reason in answer.text
    assert "CF_Authorization" not in browser.jar["login.example.com"]


async def test_c16_a_crowd_of_groups(sso: Place) -> None:
    """C16: 100 KiB of groups don't fit a token: it says so, stays a cookie, and control knows
    them."""
    sso.judge.listed["wiki.example.com"].add("crowd@example.jp")
    browser = sso.browser()
    page = await to_provider(browser)
    page = await browser.get(await sign_in_at(page.location, "crowd"))
    assert page.status == 303, page.text
    page = await browser.get(page.location)
    token = browser.jar["wiki.example.com"]["CF_Authorization"]
    assert len(token) < 3840
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["sekisho"]["partial"] == ["groups"] and "groups" not in claims["sekisho"]
    answer = await sso.desk.answer({"token": token, "aud": WIKI_AUD})
    assert answer is not None and len(answer["sekisho"]["groups"]) == 4000


async def test_m13_error_answers_are_generic(sso: Place) -> None:
    """M13: what the provider says about an error is never shown."""
    browser = sso.browser()
    page = await to_provider(browser)
    state = parse_qs(urlsplit(page.location).query)["state"][0]
    evil = {
        "state": state,
        "error": "access_denied",
        "error_description": "<script>alert(1)</script>",
    }
    answer = await browser.get(CALLBACK + "?" + urlencode(evil))
    assert (
        answer.status == 403 and "script" not in answer.text and "provider-refused" in answer.text
    )


async def test_m10_same_address_from_two_providers(sso: Place) -> None:
    """M10: the same e-mail by PIN and by SSO is two accounts: identity is (issuer, subject)."""
    by_pin, by_sso = sso.browser(), sso.browser()
    await sso.sign_in(by_pin, "taro@example.jp")
    page = await to_provider(by_sso)
    page = await by_sso.get(await sign_in_at(page.location, "taro"))
    await by_sso.get(page.location)
    subs = {
        jwt.decode(
            browser.jar["wiki.example.com"]["CF_Authorization"], options={"verify_signature": False}
        )["sub"]
        for browser in (by_pin, by_sso)
    }
    assert len(subs) == 2


async def test_straight_on(sso: Place) -> None:
    """One provider and auto_redirect_to_identity: no choice is shown."""
    world = sso.worlds[-1]
    wiki = dataclasses.replace(world.applications[WIKI_AUD], straight_on=True, providers=("sso",))
    sso.worlds.append(
        dataclasses.replace(world, applications={**world.applications, WIKI_AUD: wiki})
    )
    browser = sso.browser()
    page = await browser.get("https://wiki.example.com/cdn-cgi/access/login?redirect_url=/")
    page = await browser.get(page.location)
    assert page.status == 303 and page.location.startswith("http://127.0.0.1")
    page = await browser.get(await sign_in_at(page.location, "taro"))
    assert page.status == 303
