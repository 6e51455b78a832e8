"""Judging at sign-in by the same compiled bytes that workers decide from."""

from pathlib import Path
from typing import Any

import pytest

from _fastpath.snapshot import Snapshot
from edge.config import InstallationKeys, StoreObjects, compile_snapshot, load
from edge.identity.judge import SnapshotJudge
from edge.server.outlook import world_of

CONFIG = """
auth_domain: login.example.com
plain: ["127.0.0.1:8080"]
trusted_proxies: ["127.0.0.0/8"]
mail: {server: "smtp://127.0.0.1:2525", from: access@example.com}
identity_providers:
  - {name: PIN, type: onetimepin, id: pin}
  - {name: SSO, type: oidc, id: sso, issuer: "https://id.example.com", client_id: edge,
     groups_claim: groups}
groups:
  - {name: Engineers, include: [{okta: {name: eng, identity_provider_id: sso}}]}
routes:
  - {hostname: wiki.example.com, service: "http://127.0.0.1:3000"}
  - {hostname: docs.example.com, service: "http://127.0.0.1:3000"}
applications:
  - name: Wiki
    domains: [wiki.example.com, docs.example.com/wiki]
    session_duration: 8h
    allowed_idps: [pin, SSO]
    policies:
      - {name: Nobody from here, decision: deny, include: [{ip: 203.0.113.0/24}]}
      - {name: Ann, decision: allow, include: [{email: ann@example.com}], session_duration: 1h}
      - {name: Eng, decision: allow, include: [{group: Engineers}]}
"""


@pytest.fixture
def world(tmp_path: Path) -> Any:
    path = tmp_path / "sekisho.yml"
    path.write_text(CONFIG)
    loaded = load(path)
    assert loaded.ok, [str(problem) for problem in loaded.errors]
    keys = InstallationKeys(aud_key=b"a" * 32, hash_key=b"h" * 16, jwks=[], auth_aud="f" * 64)
    objects = StoreObjects()
    snapshot = Snapshot(compile_snapshot(loaded, version=1, objects=objects, keys=keys))
    return world_of(loaded, snapshot, objects, keys)


def facts(email: str, **more: Any) -> dict[str, Any]:
    return {
        "email": email,
        "idp": "pin",
        "groups": [],
        "amr": [],
        "claims": {},
        "ip": "192.0.2.1",
        **more,
    }


def test_world_of_a_configuration(world: Any) -> None:
    (wiki,) = world.applications.values()
    assert wiki.domains == ("wiki.example.com", "docs.example.com/wiki")
    assert (
        wiki.session_duration == 8 * 3600 and wiki.groups and set(wiki.providers) == {"pin", "sso"}
    )
    assert wiki.path("docs.example.com") == "/wiki" and isinstance(world.judge, SnapshotJudge)
    assert [p.id for p in world.offered(wiki)] == ["pin", "sso"]


def test_decisions(world: Any) -> None:
    judge = world.judge
    ann = judge.decide("wiki.example.com", "/", facts("ann@example.com"))
    assert (ann.verdict, ann.policy, ann.session_duration) == ("allow", "Ann", 3600)
    assert judge.decide("docs.example.com", "/wiki", facts("ann@example.com")).allowed
    eve = judge.decide("wiki.example.com", "/", facts("eve@example.com"))
    assert (eve.verdict, eve.reason) == ("deny", "policy-no-match")
    eng = judge.decide("wiki.example.com", "/", facts("x@y.example", idp="sso", groups=["eng"]))
    assert (eng.verdict, eng.policy) == ("allow", "Eng")
    here = judge.decide("wiki.example.com", "/", facts("ann@example.com", ip="203.0.113.7"))
    assert (here.verdict, here.reason) == ("deny", "policy-denied")
    assert not judge.decide("other.example.com", "/", facts("ann@example.com")).allowed


def test_K10_a_judgement_says_whose_it_is(world: Any) -> None:
    """Where one application lies inside another, the inner one's verdict is no pass for the outer
    one: sessions.issue compares the AUD."""
    (wiki,) = world.applications.values()
    judge = world.judge
    assert judge.decide("wiki.example.com", "/", facts("ann@example.com")).aud == wiki.aud
    assert judge.decide("other.example.com", "/", facts("ann@example.com")).aud == ""


def test_whether_a_mail_is_worth_sending(world: Any) -> None:
    """Only e-mail and method are known then: who could come in by a group of another provider
    can't."""
    judge = world.judge
    assert judge.may_allow("wiki.example.com", "/", {"email": "ann@example.com", "idp": "pin"})
    assert not judge.may_allow("wiki.example.com", "/", {"email": "eve@example.com", "idp": "pin"})
    assert judge.may_allow("wiki.example.com", "/", {"email": "eve@example.com", "idp": "sso"})
