"""Sections K and L where several people, browsers or keys are needed: fixation, sign-in forced on somebody, changed
policies and persons, stale cookies, retired keys. The origin sees none of what is refused."""

import asyncio
import sqlite3
import time

from edge.demo.visitor import Reply, Visitor
from tests.kit.edge_mint import EdgeMint, claims_of
from tests.kit.edge_process import wait_until
from tests.security.federation import CORP, LOGIN, Federated
from tests.security.rows import A, request


def session_of(visitor: Visitor, host: str = LOGIN) -> str:
    return str(claims_of(visitor.jar[host]["CF_Authorization"])["sekisho"]["sid"])


def status(federated: Federated, visitor: Visitor, host: str = A) -> int:
    """Ask the application as this browser does, and say what came back; nothing is kept."""
    with federated.client() as c:
        return c.send(request(f"Cookie: {visitor.cookies(host)}", "Accept: application/json", host=host)).answer().status


def ended(federated: Federated, visitor: Visitor, host: str = A) -> None:
    """Within 5 s the browser's session at the application is none, and stays none without the origin's knowledge."""
    wait_until(lambda: status(federated, visitor, host) == 401, 5)
    federated.origin.clear()
    assert status(federated, visitor, host) == 401
    assert not federated.origin.requests


def test_k07_a_planted_session_ends_with_the_sign_in(federated: Federated) -> None:
    """K07: who signs in gets a new session; the one that the browser was given by somebody else is dead, also at the
    application."""
    attacker, victim = federated.signed_in(), federated.browser()
    assert status(federated, attacker) == 200
    planted = attacker.jar[LOGIN]["CF_Authorization"]

    async def walk() -> Reply:
        first = await victim.get(federated.url(A))
        victim.jar.setdefault(LOGIN, {})["CF_Authorization"] = planted
        page = await victim.get(f"{first.get('location')}&switch=1")
        assert page.status == 200, page.text[:300]
        sent = await federated.choose_on(victim, page)
        query = dict(part.split("=", 1) for part in (sent.get("location") or "").partition("?")[2].split("&"))
        federated.sso.nonce = query["nonce"]
        return await federated.back(victim, code="c", state=query["state"])

    reply = asyncio.run(walk())
    assert reply.status == 200, reply.text[:300]
    assert session_of(victim) != session_of(attacker)
    ended(federated, attacker)
    assert status(federated, victim) == 200


def test_k08_a_stranger_s_sign_in_takes_no_hold_in_another_browser(federated: Federated) -> None:
    """K08: the attacker's hand-off address, opened by a victim that began nothing, and by one that began a sign-in."""
    attacker = federated.browser()

    async def handed() -> str:
        asked = await federated.begin(attacker)
        back = await federated.back(attacker, follow=False, code="c", state=asked["state"])
        assert back.status == 303
        return back.get("location") or ""

    async def opened(victim: Visitor, where: str) -> Reply:
        return await victim.get(where)

    for begins in (False, True):
        where, victim = asyncio.run(handed()), federated.browser()
        assert "/cdn-cgi/access/authorized?code=" in where
        if begins:
            asyncio.run(federated.begin(victim))
        reply = asyncio.run(opened(victim, where))
        assert reply.status == 403 and "code-refused" in reply.text
        federated.nobody_came_in(victim)
        attacker.jar[LOGIN].pop("CF_Authorization")


def test_k11_a_changed_policy_holds_from_the_next_request(federated: Federated) -> None:
    """K11: the person's name goes out of the policy: the session that stands is judged anew; back in, it is good."""
    visitor, config = federated.signed_in(), federated.edge.config.read_text()
    assert status(federated, visitor) == 200
    try:
        federated.edge.reload(config.replace("alice@example.com", "someone@example.com"))
        federated.origin.clear()
        assert status(federated, visitor) == 403
        assert not federated.origin.requests
    finally:
        federated.edge.reload(config)
    assert status(federated, visitor) == 200


def test_k11_a_revoked_person_is_out_within_five_seconds(federated: Federated) -> None:
    """K11: all of that person's sessions, at every application; a new sign-in is another session."""
    federated.sso.claims |= {"email": "bob@corp.com", "sub": "bob"}
    visitor = federated.signed_in(CORP)
    assert status(federated, visitor, CORP) == 200
    federated.edge.admin.call("POST", "/revoke", {"kind": "user", "id": "bob@corp.com"})
    ended(federated, visitor, CORP)
    assert status(federated, federated.signed_in(CORP), CORP) == 200


def test_k12_a_session_that_holds_no_more_is_cleared_where_sign_in_shows(federated: Federated) -> None:
    """K12: the sign-in page takes the dead cookie away, and asks for a way to sign in."""
    visitor = federated.signed_in()
    federated.edge.admin.call("POST", "/revoke", {"kind": "session", "id": session_of(visitor)})
    ended(federated, visitor)
    page = asyncio.run(visitor.get(federated.url(A), follow=True))
    assert page.status == 200 and page.url.startswith(federated.url(LOGIN))
    assert "CF_Authorization" not in visitor.jar[LOGIN]
    ended(federated, visitor)


def test_k14_a_clock_set_back_extends_nothing(federated: Federated) -> None:
    """K14: to an edge whose clock goes back by an hour every session is from the future: none of them is believed."""
    visitor = federated.signed_in()
    token = visitor.jar[A]["CF_Authorization"]
    mint = EdgeMint.of(federated.edge, f"sqlite:///{federated.folder}/state.db", time.time())
    claims = claims_of(token)
    later = {name: claims[name] + 3600 for name in ("iat", "nbf", "exp")}
    with federated.client() as c:
        for field in ("Cookie: CF_Authorization=", "Cf-Access-Token: "):
            answer = c.send(request(f"{field}{mint.over(token, **later)}", "Accept: application/json", host=A)).answer()
            assert answer.status == 401 and b"token-not-yet-valid" in answer.body
    assert not federated.origin.requests


def test_l13_a_key_inside_its_overlap_and_after_it(federated: Federated) -> None:
    """L13: after `rotate-keys` the old key's tokens are good, and the new key's; past its end the old key's are not.
    (A week passes in the database, while control is away.)"""
    visitor, state = federated.signed_in(), f"sqlite:///{federated.folder}/state.db"
    token = visitor.jar[A]["CF_Authorization"]
    old = EdgeMint.of(federated.edge, state, time.time())
    federated.edge.admin.call("POST", "/rotate-keys", {})
    new = EdgeMint.of(federated.edge, state, time.time() + 61)
    assert new.kid != old.kid

    def told(one: str) -> str:
        with federated.client() as c:
            answer = c.send(request(f"Cf-Access-Token: {one}", "Accept: application/json", host=A)).answer()
        return "let in" if answer.status == 200 else answer.body.decode()

    assert [told(token), told(old.over(token)), told(new.over(token))] == ["let in"] * 3
    with sqlite3.connect(f"{federated.folder}/state.db") as db:
        now = int(time.time())
        db.execute("UPDATE keys SET retires = ? WHERE name = ?", (now - 1, old.kid))
        db.execute("UPDATE keys SET active_from = ? WHERE name = ?", (now - 1, new.kid))
    federated.edge.kill("control")
    federated.forget_visitor()
    wait_until(lambda: "token-key-unknown" in told(token), 30)
    federated.edge.wait_ready()
    federated.origin.clear()
    assert "token-key-unknown" in told(old.over(token))
    assert not federated.origin.requests
    assert told(new.over(token)) == "let in"
    assert claims_of(federated.signed_in().jar[A]["CF_Authorization"])["email"] == "alice@example.com"
