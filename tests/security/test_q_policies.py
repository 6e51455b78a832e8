"""What policies decide, asked of a real edge by a person who is signed in (Q01, Q02), and while they change (Q04)."""

import asyncio
import json
import time

import pytest

from tests.security.federation import Federated
from tests.security.rows import A, request


@pytest.mark.parametrize(("name", "why"), [("empty", "policy-none"), ("half", "policy-no-match")])
def test_q01_q02_what_can_admit_nobody_asks_nobody_to_sign_in(federated: Federated, name: str, why: str) -> None:
    """Q01 Q02: no policy; a bypass whose require fails, and nothing behind it but a deny."""
    with federated.client() as c:
        answer = c.send(request("Accept: application/json", host=f"{name}.sekisho.localhost")).answer()
    assert answer.status == 403 and json.loads(answer.body)["reason"] == why
    assert not federated.origin.requests


@pytest.mark.parametrize(("name", "why"), [("outsiders", "policy-no-match"), ("denied", "policy-denied")])
def test_q02_what_does_not_admit_this_person(federated: Federated, name: str, why: str) -> None:
    """Q02: an exclude; a deny before an allow. She gets a page with the reason, and no session there."""
    visitor, host = federated.browser(), f"{name}.sekisho.localhost"
    reply = asyncio.run(federated.sign_in(visitor, host))
    assert reply.status == 403 and why in reply.text, f"{reply.status} {reply.text[-500:]}"
    assert "CF_Authorization" not in visitor.jar.get(host, {})
    assert not federated.origin.requests


def test_q02_the_first_that_matches_decides(federated: Federated) -> None:
    """Q02: an allow before a deny admits; a bypass is asked before any deny, and needs nobody."""
    visitor = federated.browser()
    assert asyncio.run(federated.sign_in(visitor, "allowed.sekisho.localhost")).status == 200
    with federated.client() as c:
        assert c.send(request(host="whole.sekisho.localhost")).answer().status == 200
    assert len(federated.origin.wait(2)) == 2


def test_q04_a_request_under_way_keeps_the_policy_that_it_began_with(federated: Federated) -> None:
    """Q04: the body comes while its sender is taken off the list: the origin gets that request whole, and no next."""
    visitor, config = federated.signed_in(), federated.edge.config.read_text()
    cookie = f"Cookie: {visitor.cookies(A)}"
    with federated.client() as c:
        c.send(request(cookie, "Content-Length: 8", first="POST /slow HTTP/1.1", host=A, body=b"half"))
        time.sleep(0.2)                       # the head is judged and on its way
        try:
            federated.edge.reload(config.replace("alice@example.com", "someone@example.com"))
            assert c.send(b"half").answer().status == 200
            seen = federated.origin.wait(1)
            assert [(one.line, one.body, one.complete) for one in seen] == [("POST /slow HTTP/1.1", b"halfhalf", True)]
            assert c.send(request(cookie, "Accept: application/json", host=A)).answer().status == 403
            assert len(federated.origin.requests) == 1
        finally:
            federated.edge.reload(config)
