"""Section K: cookies and sessions, over HTTP."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from edge.control import cookies
from tests.control.conftest import Place
from tests.kit.sign_in import AUTH, GRAFANA_AUD, WIKI_AUD

WIKI, GRAFANA = "https://wiki.example.com", "https://grafana.example.com"
LOGIN = f"https://{AUTH}"


async def signed_in(place: Place, **options: Any) -> Any:
    browser = place.browser(**options)
    page = await place.sign_in(browser)
    assert "CF_Authorization" in browser.jar["wiki.example.com"], page.text
    return browser


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def test_k01_two_cookies_of_one_name(place: Place) -> None:
    """K01: a second CF_Authorization makes it no session; both are cleared, host-only and parent
    forms."""
    browser = await signed_in(place)
    good = browser.jar[AUTH]["CF_Authorization"]
    browser.jar[AUTH].clear()
    start = await browser.open_application(WIKI + "/")
    answer = await browser.get(
        start.url, cookie=f"CF_Authorization={good}; CF_Authorization=planted"
    )
    assert answer.status == 200 and "Sign in to Wiki" in answer.text
    cleared = [line for line in browser.set_cookies if line.startswith("CF_Authorization=;")]
    assert any("Domain" not in line for line in cleared)
    assert any("Domain=example.com" in line for line in cleared)
    scoped = [line for line in cleared if "Path=/cdn-cgi/access/login;" in line]
    assert any("Domain=example.com" in line for line in scoped)
    identity = await browser.get(
        WIKI + "/cdn-cgi/access/get-identity", cookie="CF_Authorization=a; CF_Authorization=b"
    )
    assert identity.status == 401


@pytest.mark.parametrize(
    "line",
    [
        b"\xe2\x80\x80__Host-CF_Flow=x",
        b"\xa0__Host-CF_Flow=x",
        b"\x85__Host-CF_Flow=x",
        b"\t__Host-CF_Flow=x",
        b"  __Host-CF_Flow=x",
        b"__Host-CF_Flow =x",
        b"=__Host-CF_Flow=x",
        b"__Host-CF_Flow",
        b'__Host-CF_Flow="x"',
        b"$Version=1; $Path=/; __host-cf_flow=x",
        b"__Host-CF_Flow=x\\y",
        b"__Host-CF_Flow=a,b",
    ],
)
def test_k02_k03_names_that_only_look_like_ours(line: bytes) -> None:
    """K02 K03: nothing is trimmed, unquoted or folded into a cookie of ours."""
    assert "__Host-CF_Flow" not in cookies.read([(b"cookie", line)])


def test_k03_plain_cookies_are_read() -> None:
    """K03: the ordinary form is read, in several Cookie fields too, with every value."""
    found = cookies.read([(b"cookie", b"a=1; CF_Authorization=x.y.z; b="), (b"cookie", b"a=2")])
    assert found == {"a": ["1", "2"], "CF_Authorization": ["x.y.z"], "b": [""]}


async def test_k04_cookies_of_ours(place: Place) -> None:
    """K04: host-only, Secure, HttpOnly, Path=/, SameSite, under 4096 bytes; others are __Host-."""
    browser = place.browser()
    seen: list[str] = []
    original = browser._keep

    def keep(host: str, line: str) -> None:
        seen.append(line)
        original(host, line)

    browser._keep = keep  # type: ignore[method-assign]
    await place.sign_in(browser)
    names = {line.partition("=")[0] for line in seen}
    ours = ("AppSession", "Flow", "Session", "Device")
    assert names == {"CF_Authorization", *(f"__Host-CF_{name}" for name in ours)}
    for line in seen:
        assert len(line) < 4096
        assert "Domain" not in line
        for attribute in ("Secure", "HttpOnly", "Path=/"):
            assert attribute in line.split("; ")
        assert re.search(r"SameSite=(Lax|Strict)", line)
        name = line.partition("=")[0]
        assert name == "CF_Authorization" or name.startswith("__Host-")


async def test_k07_fixation(place: Place) -> None:
    """K07: signing in gives a new session id; the one that the browser came with is dead
    everywhere."""
    attacker = await signed_in(place)
    planted = attacker.jar[AUTH]["CF_Authorization"]
    old = claims_of(planted)["sekisho"]["sid"]
    victim = place.browser()
    victim.jar[AUTH] = {"CF_Authorization": planted}
    page = await victim.get(WIKI + "/cdn-cgi/access/login?switch=1&redirect_url=/", follow=True)
    page = await victim.submit(page, "email", email="ann@example.com")
    await place.mail_for("ann@example.com", 2)
    await victim.submit(page, "code", code=place.inbox.code_for("ann@example.com"))
    new = claims_of(victim.jar[AUTH]["CF_Authorization"])["sekisho"]["sid"]
    assert new != old
    assert {"kind": "session", "id": old} in [
        {"kind": e["kind"], "id": e["id"]} for e in place.published
    ]
    answer = await attacker.get(LOGIN + "/cdn-cgi/access/get-identity")
    assert answer.status == 401


async def test_k07_a_planted_session_is_nobodys(place: Place) -> None:
    """K07: somebody else's global token alone, or beside another session's proof, signs nobody in."""
    attacker, other = await signed_in(place), await signed_in(place)
    planted = attacker.jar[AUTH]["CF_Authorization"]
    proof = other.jar[AUTH]["__Host-CF_Session"]
    assert proof != attacker.jar[AUTH]["__Host-CF_Session"]
    for beside in ({}, {"__Host-CF_Session": proof}, {"__Host-CF_Session": ""}):
        victim = place.browser()
        victim.jar[AUTH] = {"CF_Authorization": planted, **beside}
        assert "ann@example.com" not in (await victim.get(LOGIN + "/")).text
        identity = await victim.get(LOGIN + "/cdn-cgi/access/get-identity")
        assert identity.status == 401
        page = await victim.open_application(WIKI + "/")
        assert page.status == 200 and "Sign in to Wiki" in page.text
        assert "CF_Authorization" not in victim.jar[AUTH]
    page = await attacker.open_application(
        WIKI + "/"
    )  # the attacker's own browser goes straight on
    assert page.url == WIKI + "/"


async def test_k08_login_csrf(place: Place) -> None:
    """K08: a hand-off code that another browser began signs nobody in, and is used up."""
    attacker, victim = place.browser(), place.browser()
    page = await attacker.open_application(WIKI + "/")
    page = await attacker.submit(page, "email", email="ann@example.com")
    await place.mail_for("ann@example.com")
    page = await attacker.submit(
        page, "code", code=place.inbox.code_for("ann@example.com"), follow=False
    )
    for start in ({}, {"__Host-CF_AppSession": "A" * 22}):
        victim.jar["wiki.example.com"] = dict(start)
        answer = await victim.get(page.location)
        assert answer.status == 403 and "code-refused" in answer.text
        assert "CF_Authorization" not in victim.jar["wiki.example.com"]
    assert (await attacker.get(page.location)).status == 403  # once, for whoever came first


@pytest.mark.parametrize(("seconds", "status"), [(59, 302), (61, 403)])
async def test_hand_off_lives_sixty_seconds(place: Place, seconds: int, status: int) -> None:
    browser = await signed_in(place)
    page = await browser.open_application(WIKI + "/again")
    begin = await browser.get(WIKI + "/cdn-cgi/access/login?redirect_url=/again")
    page = await browser.get(begin.location)
    assert page.status == 303
    place.clock.advance(seconds)
    assert (await browser.get(page.location)).status == status


async def test_hand_off_at_another_host(place: Place) -> None:
    """A code of the wiki is nothing at grafana's host."""
    browser = await signed_in(place)
    page = await browser.get(WIKI + "/cdn-cgi/access/login?redirect_url=/")
    page = await browser.get(page.location)
    moved = page.location.replace("wiki.example.com", "grafana.example.com")
    browser.jar["grafana.example.com"] = dict(browser.jar["wiki.example.com"])
    assert (await browser.get(moved)).status == 403


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
async def test_k09_near_logout_ends_at_once(place: Place, site: str) -> None:
    """K09: our own pages and a typed address end everything with one GET; a copied cookie is
    dead."""
    browser = await signed_in(place)
    copied = dict(browser.jar["wiki.example.com"])
    sid = claims_of(browser.jar[AUTH]["CF_Authorization"])["sekisho"]["sid"]
    answer = await browser.get(WIKI + "/cdn-cgi/access/logout", site=site)
    assert answer.status == 200 and "You are signed out" in answer.text
    assert "CF_Authorization" not in browser.jar["wiki.example.com"]
    assert [(e["kind"], e["id"]) for e in place.published] == [("session", sid)]
    browser.jar["wiki.example.com"] = copied
    assert (await browser.get(WIKI + "/cdn-cgi/access/get-identity")).status == 401
    assert (await browser.get(LOGIN + "/cdn-cgi/access/get-identity")).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": None},
        {"sec-purpose": "prefetch"},
    ],
)
async def test_k09_far_logout_asks_back(place: Place, headers: dict[str, Any]) -> None:
    """K09: any other GET shows a page with a POST button and ends nothing."""
    browser = await signed_in(place)
    for host in (WIKI, LOGIN):
        answer = await browser.get(host + "/cdn-cgi/access/logout", headers=headers)
        assert answer.status == 200 and answer.forms
    assert place.published == []
    assert (await browser.get(WIKI + "/cdn-cgi/access/get-identity")).status == 200
    answer = await browser.get(WIKI + "/cdn-cgi/access/logout", headers=headers)
    answer = await browser.send("POST", answer.url, data={"all": "1"})
    assert "You are signed out" in answer.text and len(place.published) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"origin": None, "sec-fetch-site": None},
    ],
)
async def test_k09_posted_by_a_stranger(place: Place, headers: dict[str, Any]) -> None:
    """K09: a POST that another site caused ends nothing."""
    browser = await signed_in(place)
    answer = await browser.send(
        "POST", WIKI + "/cdn-cgi/access/logout", data={"all": "1"}, headers=headers
    )
    assert answer.status == 403 and place.published == []


async def test_logout_of_one_application(place: Place) -> None:
    """Only this application's session ends; the other one and the sign-in stay."""
    browser = await signed_in(place)
    await browser.get(GRAFANA + "/cdn-cgi/access/login?redirect_url=/", follow=True)
    nonce = claims_of(browser.jar["wiki.example.com"]["CF_Authorization"])["identity_nonce"]
    answer = await browser.send("POST", WIKI + "/cdn-cgi/access/logout", data={"only": "1"})
    assert "Your session at this application has ended" in answer.text
    assert [(e["kind"], e["id"]) for e in place.published] == [("nonce", nonce)]
    assert (await browser.get(GRAFANA + "/cdn-cgi/access/get-identity")).status == 200
    assert (await browser.get(LOGIN + "/cdn-cgi/access/get-identity")).status == 200


@pytest.mark.parametrize("query", ["?only=1", ""])
async def test_signing_out_again_adds_nothing(place: Place, query: str) -> None:
    """Each entry stays a month in every worker: a copied token that signs out in a loop makes one."""
    browser = await signed_in(place)
    line = f"CF_Authorization={browser.jar['wiki.example.com']['CF_Authorization']}"
    for _ in range(5):
        answer = await browser.get(WIKI + "/cdn-cgi/access/logout" + query, cookie=line)
        assert answer.status == 200 and answer.headers["cache-control"] == "no-store"
    await place.desk.audit.flush()
    assert len(place.published) == 1
    assert len(await place.desk.store.events.newest(kind="sign-out")) == 1


@pytest.mark.parametrize(("data", "kind"), [({"all": "1"}, "session"), ({"only": "1"}, "nonce")])
async def test_k09_logout_after_the_sign_in_expired(
    place: Place, data: dict[str, str], kind: str
) -> None:
    """K09: an application token that outlives the global session can be ended as long as it
    works, also beside a planted second cookie."""
    browser = await signed_in(place)
    place.clock.advance(86300)
    await browser.get(GRAFANA + "/cdn-cgi/access/login?redirect_url=/", follow=True)
    token = browser.jar["grafana.example.com"]["CF_Authorization"]
    place.clock.advance(200)
    assert (await browser.get(LOGIN + "/cdn-cgi/access/get-identity")).status == 401
    claims = claims_of(token)
    assert claims["exp"] > place.clock()
    await browser.send(
        "POST",
        GRAFANA + "/cdn-cgi/access/logout",
        data=data,
        cookie=f"CF_Authorization=planted; CF_Authorization={token}",
    )
    ids = {"session": claims["sekisho"]["sid"], "nonce": claims["identity_nonce"]}
    assert [(e["kind"], e["id"]) for e in place.published] == [(kind, ids[kind])]


async def test_k10_session_of_another_application(place: Place) -> None:
    """K10: the wiki's token is nobody at grafana, and the global token nobody anywhere but at
    home."""
    browser = await signed_in(place)
    for token in (
        browser.jar["wiki.example.com"]["CF_Authorization"],
        browser.jar[AUTH]["CF_Authorization"],
    ):
        browser.jar["grafana.example.com"] = {"CF_Authorization": token}
        assert (await browser.get(GRAFANA + "/cdn-cgi/access/get-identity")).status == 401
    browser.jar[AUTH]["CF_Authorization"] = browser.jar["wiki.example.com"]["CF_Authorization"]
    assert (await browser.get(LOGIN + "/cdn-cgi/access/get-identity")).status == 401


async def test_k11_epochs(place: Place) -> None:
    """K11: revoking a person, or an application, raises the epoch that the next tokens carry."""
    browser = await signed_in(place)
    before = claims_of(browser.jar["wiki.example.com"]["CF_Authorization"])["sekisho"]
    entries = await place.desk.revocations.user("ann@example.com")
    assert entries[0]["epoch"] == before["epoch"] + 1
    assert (await browser.get(WIKI + "/cdn-cgi/access/get-identity")).status == 401
    await place.desk.revocations.application(WIKI_AUD)
    again = await signed_in(place)
    after = claims_of(again.jar["wiki.example.com"]["CF_Authorization"])["sekisho"]
    assert (after["epoch"], after["app_epoch"]) == (before["epoch"] + 1, 1)


async def test_k11_disabled_person(place: Place) -> None:
    """K11: a disabled account is out at once and can't sign in again until it is enabled."""
    browser = await signed_in(place)
    await place.desk.revocations.disable("ann@example.com")
    assert (await browser.get(WIKI + "/cdn-cgi/access/get-identity")).status == 401
    page = await place.sign_in(place.browser())
    assert page.status == 403 and "account-disabled" in page.text
    await place.desk.revocations.disable("ann@example.com", False)
    assert (await signed_in(place)).jar["wiki.example.com"]


async def test_k11_policy_is_judged_at_every_renewal(place: Place) -> None:
    """K11: a person who was taken off the list gets no new token from the global session."""
    browser = await signed_in(place)
    place.judge.listed["wiki.example.com"].clear()
    page = await browser.get(WIKI + "/cdn-cgi/access/login?redirect_url=/", follow=True)
    assert page.status == 403 and "policy-no-match" in page.text and "ann@example.com" in page.text
    switch = next(link for link in page.links if "switch=1" in link)
    assert "Sign in to Wiki" in (await browser.get(LOGIN + switch)).text


async def test_silent_renewal(place: Place) -> None:
    """With a global session a new application token comes without a page, with the exact URL."""
    browser = await signed_in(place)
    page = await browser.get(
        GRAFANA + "/cdn-cgi/access/login?redirect_url=%2Fd%2Fx%3Ffrom%3Dnow%2B1h"
    )
    page = await browser.get(page.location)
    assert page.status == 303
    page = await browser.get(page.location)
    assert page.location == "/d/x?from=now+1h"
    assert claims_of(browser.jar["grafana.example.com"]["CF_Authorization"])["aud"] == [GRAFANA_AUD]


async def test_k12_stale_cookie_is_cleared(place: Place) -> None:
    """K12: a session that doesn't hold any more is cleared when the sign-in page shows."""
    browser = await signed_in(place)
    place.clock.advance(86401)
    await browser.open_application(WIKI + "/")
    assert "CF_Authorization" not in browser.jar[AUTH]


@pytest.mark.parametrize(("seconds", "holds"), [(86399, True), (86400, False), (86401, False)])
async def test_k14_global_session_ends(place: Place, seconds: int, holds: bool) -> None:
    """K14: absolute lifetime, at the second."""
    browser = await signed_in(place)
    place.clock.advance(seconds)
    answer = await browser.get(LOGIN + "/cdn-cgi/access/get-identity")
    assert (answer.status == 200) is holds


async def test_k14_clock_set_back(place: Place) -> None:
    """K14: an hour back does not extend: a session from the future is not believed."""
    browser = await signed_in(place)
    place.clock.advance(-3600)
    assert (await browser.get(LOGIN + "/cdn-cgi/access/get-identity")).status == 401


@pytest.mark.parametrize(("given", "lasts"), [(2, 2), (59, 59), (61, 61), (0, 60)])
async def test_a_short_session_lasts_as_long_as_it_says(
    place: Place, given: int, lasts: int
) -> None:
    """0 means used once, for which a minute is enough; every other duration is what was written."""
    place.judge.durations["wiki.example.com"] = given
    claims = claims_of((await signed_in(place)).jar["wiki.example.com"]["CF_Authorization"])
    assert claims["exp"] - claims["iat"] == lasts


async def test_durations(place: Place) -> None:
    """The policy's duration goes before the application's; 0 needs a sign-in that is fresh."""
    place.judge.durations["grafana.example.com"] = 900
    browser = await signed_in(place)
    wiki = claims_of(browser.jar["wiki.example.com"]["CF_Authorization"])
    assert wiki["exp"] - wiki["iat"] == 86400
    await browser.get(GRAFANA + "/cdn-cgi/access/login?redirect_url=/", follow=True)
    grafana = claims_of(browser.jar["grafana.example.com"]["CF_Authorization"])
    assert grafana["exp"] - grafana["iat"] == 900
    place.judge.durations["grafana.example.com"] = 0
    place.clock.advance(61)
    page = await browser.get(GRAFANA + "/cdn-cgi/access/login?redirect_url=/", follow=True)
    assert "Sign in to Grafana" in page.text


async def test_get_identity_shape(place: Place) -> None:
    """M17: what Cloudflare's endpoint tells, and no token."""
    browser = await signed_in(place)
    answer = await browser.get(WIKI + "/cdn-cgi/access/get-identity")
    import json

    told = json.loads(answer.text)
    assert told["email"] == "ann@example.com" and told["idp"] == {"id": "pin", "type": "onetimepin"}
    for key in (
        "geo",
        "user_uuid",
        "devicePosture",
        "account_id",
        "iat",
        "ip",
        "auth_status",
        "common_name",
        "service_token_id",
        "service_token_status",
        "is_warp",
        "is_gateway",
        "device_id",
        "version",
        "device_sessions",
        "groups",
    ):
        assert key in told
    assert "eyJ" not in answer.text


async def test_hand_off_address_holds_no_token(place: Place) -> None:
    """M12: what crosses hosts in a URL is a code of one use, never a token."""
    browser = await signed_in(place)
    page = await browser.get(GRAFANA + "/cdn-cgi/access/login?redirect_url=/")
    assert set(parse_qs(urlsplit(page.location).query)) == {"kid", "redirect_url", "meta"}
    page = await browser.get(page.location)
    assert set(parse_qs(urlsplit(page.location).query)) == {"code", "redirect_url"}
    assert "eyJ" not in page.location


async def test_k11_revoking_during_a_hand_off(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K11: whoever is revoked between the reads of session and account has no session."""
    browser = await signed_in(place)
    session = claims_of(browser.jar[AUTH]["CF_Authorization"])["sekisho"]["sid"]
    sessions, accounts = place.desk.sessions, place.desk.store.accounts
    assert await sessions.live(session) is not None
    read = accounts.get

    async def revoked_first(account: str) -> Any:
        monkeypatch.undo()
        await place.desk.revocations.user("ann@example.com")
        return await read(account)

    monkeypatch.setattr(accounts, "get", revoked_first)
    assert await sessions.live(session) is None


async def test_k11_sessions_end_before_the_epoch_rises(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K11: nobody can read the raised epoch while a session still looks alive."""
    browser = await signed_in(place)
    session = claims_of(browser.jar[AUTH]["CF_Authorization"])["sekisho"]["sid"]
    raise_epoch = place.desk.store.accounts.raise_epoch
    ended: list[bool] = []

    async def watched(account: str) -> int:
        row = await place.desk.store.sessions.get(session)
        ended.append(row is not None and row.ended is not None)
        return await raise_epoch(account)

    monkeypatch.setattr(place.desk.store.accounts, "raise_epoch", watched)
    await place.desk.revocations.user("ann@example.com")
    assert ended == [True]
