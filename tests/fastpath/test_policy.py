
"""The decision, case by case (docs/policies.md); test_policy_equals_reference.py has the breadth."""

import random
import struct
import threading
from typing import Any

import pytest

from _fastpath.explain import (
    explain,
    judge,
    judge_preflight,
    may_allow,
)
from _fastpath.snapshot import Snapshot
from edge.config.compile import sealed
from tests.kit.policy_cases import PROVIDERS, application, compiled, compiled_bytes

HOST = "app.example.com"
ALLOW_ADA = {"decision": "allow", "include": [{"email": "ada@example.com"}]}
ADA = {
    "email": "ada@example.com",
    "idp": "sso",
    "groups": [],
    "amr": [],
    "claims": {},
    "ip": "10.1.2.3",
}


def decided(policies: list[dict[str, Any]], facts: dict[str, Any], **parts: Any) -> tuple[Any, ...]:
    shot = compiled(applications=[application(policies)], **parts)
    got = judge(shot, HOST, "/", facts)
    return got["verdict"], got["reason"], got["policy"], got["rule"]


# -- Q01: what is empty, unknown or damaged admits nobody


def test_no_policy_denies() -> None:
    """Q01: an application without policies."""
    assert decided([], ADA) == ("deny", "policy-none", None, None)
    assert decided([], {}) == ("deny", "policy-none", None, None)


def test_no_application_denies() -> None:
    shot = compiled(applications=[application([ALLOW_ADA])])
    got = judge(shot, "other.example.com", "/", ADA)
    assert (got["verdict"], got["reason"], got["permit"]) == ("deny", "application-missing", False)
    told = explain(shot, "other.example.com", "/", ADA)
    assert (told["application"], told["policies"], told["host_known"]) == (None, [], False)
    assert not may_allow(shot, "other.example.com", "/", {"email": "ada@example.com"})
    assert not judge_preflight(shot, "other.example.com", "/")["permit"]


def test_an_instruction_that_nobody_knows_denies() -> None:
    """Q01: an unknown rule type in the program: this application is refused, and no other."""
    data = compiled_bytes(
        applications=[
            application([ALLOW_ADA]),
            application([ALLOW_ADA], name="B", domain="b.example.com"),
        ]
    )
    shot = Snapshot(with_op(data, 200))
    verdicts = {}
    for host in (HOST, "b.example.com"):
        got = judge(shot, host, "/", ADA)
        verdicts[host] = got["verdict"], got["reason"], got["permit"]
        told = explain(shot, host, "/", ADA)
        assert told["verdict"] == got["verdict"]
    assert verdicts == {
        HOST: ("deny", "policy-failed", False),
        "b.example.com": ("allow", "policy-allowed", True),
    }
    assert not may_allow(shot, HOST, "/", {"email": "ada@example.com"})


def with_op(data: bytes, op: int) -> bytes:
    """Return the snapshot with another op in every instruction of the first fragment."""
    sections = list(struct.iter_unpack("<QQ", data[80:240]))
    names = (
        "strings",
        "hosts",
        "paths",
        "apps",
        "fragments",
        "imports",
        "tables",
        "data",
        "routes",
        "settings",
    )
    parts = {n: data[at : at + size] for n, (at, size) in zip(names, sections, strict=True)}
    fragments = bytearray(parts["fragments"])
    at, count = struct.unpack_from("<II", fragments, 56)  # FragmentHead.instrs
    for number in range(count):
        fragments[at + 64 * number] = op
    parts["fragments"] = bytes(fragments)
    return sealed(1, data[32:48], parts)


# -- Q02: order and precedence

EVERYONE = [{"everyone": {}}]


@pytest.mark.parametrize(
    ("policies", "facts", "expected"),
    [
        # the documentation's own example: C, D, A, B, E
        (["allow", "deny", "non_identity", "bypass", "allow"], ADA, ("service", 2)),
        (["allow", "deny", "bypass", "allow"], ADA, ("bypass", 2)),
        (["allow", "deny", "allow"], ADA, ("allow", 0)),
        (["deny", "allow"], ADA, ("deny", 0)),
        (["allow", "deny"], ADA, ("allow", 0)),
        (["deny", "bypass"], {}, ("bypass", 1)),
        (["allow"], {}, ("login", None)),
        (["deny"], {}, ("deny", None)),
        (["deny", "allow"], {}, ("login", None)),
        (["allow"], {"service_token": "token-1"}, ("deny", None)),
        (["deny", "non_identity"], {"service_token": "token-1"}, ("service", 1)),
    ],
)
def test_order(
    policies: list[str], facts: dict[str, Any], expected: tuple[str, int | None]
) -> None:
    """Q02: bypass and non_identity first, then allow and deny, each from top to bottom."""
    found = decided([{"decision": d, "include": EVERYONE} for d in policies], facts)
    assert (found[0], found[2]) == expected


@pytest.mark.parametrize(
    ("block", "verdict"),
    [
        ({"include": EVERYONE}, "bypass"),
        ({"include": EVERYONE, "require": [{"ip": "10.0.0.0/8"}]}, "bypass"),
        ({"include": EVERYONE, "require": [{"ip": "10.0.0.0/8"}, {"ip": "10.9.0.0/16"}]}, "deny"),
        ({"include": EVERYONE, "exclude": [{"ip": "10.1.2.3"}]}, "deny"),
        ({"include": EVERYONE, "exclude": [{"ip": "10.1.2.4"}]}, "bypass"),
        ({"include": [{"ip": "10.9.0.0/16"}, {"ip": "10.1.0.0/16"}]}, "bypass"),
        ({"include": EVERYONE, "require": [{"ip": "10.0.0.0/8"}], "exclude": EVERYONE}, "deny"),
    ],
)
def test_include_require_exclude(block: dict[str, Any], verdict: str) -> None:
    """Q02: any of include, all of require, none of exclude."""
    assert decided([{"decision": "bypass", **block}], {"ip": "10.1.2.3"})[0] == verdict


def test_the_lowest_include_rule_is_named() -> None:
    """Rules that were merged into one look-up still say which of them it was."""
    include = [
        {"email": "x@example.com"}, {"ip": "10.1.0.0/16"}, {"email": "ada@example.com"},
        {"ip": "10.0.0.0/8"}, {"email": "ada@example.com"}, {"email_domain": "example.com"},
    ]  # fmt: skip
    policies = [{"decision": "allow", "include": include}]
    assert decided(policies, ADA) == ("allow", "policy-allowed", 0, 1)
    assert decided(policies, {**ADA, "ip": "10.200.0.1"}) == ("allow", "policy-allowed", 0, 2)
    assert decided(policies, {**ADA, "email": "b@example.com", "ip": "192.0.2.1"})[3] == 5
    told = explain(compiled(applications=[application(policies)]), HOST, "/", ADA)
    truths = [rule["truth"] for rule in told["policies"][0]["include"]]
    assert truths == ["false", "true", "true", "true", "true", "true"]


# -- Q19: facts that are not known


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        ({"decision": "allow", "include": EVERYONE, "exclude": [{"idp_group": "banned"}]}, "unavailable"),
        ({"decision": "allow", "include": [{"idp_group": "staff"}]}, "unavailable"),
        ({"decision": "allow", "include": EVERYONE, "require": [{"idp_group": "staff"}]}, "unavailable"),
        ({"decision": "deny", "include": [{"idp_group": "banned"}]}, "unavailable"),
        ({"decision": "bypass", "include": EVERYONE, "exclude": [{"idp_group": "banned"}]}, "unavailable"),
        ({"decision": "allow", "include": [{"email": "ada@example.com"}, {"idp_group": "staff"}]}, "allow"),
        ({"decision": "allow", "include": [{"idp_group": "staff"}], "require": [{"email": "b@c.d"}]}, "deny"),
    ],
)  # fmt: skip
def test_unknown_groups_admit_nobody(policy: dict[str, Any], verdict: str) -> None:
    """Q19: exclude, deny and require on a group that isn't known end in 503; what doesn't need it goes on."""
    person = {k: v for k, v in ADA.items() if k != "groups"}
    shot = compiled(applications=[application([policy])])
    got = judge(shot, HOST, "/", person)
    assert got["verdict"] == verdict
    assert got["permit"] == (verdict == "allow")
    if verdict == "unavailable":
        assert (got["reason"], got["missing"]) == ("facts-unavailable", ["groups"])
    else:
        assert got["missing"] == []


def test_unknown_deny_stops_before_allow() -> None:
    """Q19: an allow below a prohibition that can't be told doesn't help."""
    policies = [{"decision": "deny", "include": [{"idp_group": "banned"}]}, ALLOW_ADA]
    person = {k: v for k, v in ADA.items() if k != "groups"}
    assert decided(policies, person) == ("unavailable", "facts-unavailable", 0, None)


def test_a_denial_says_what_was_unknown_above_it() -> None:
    """The worker then asks control once before it refuses."""
    policies = [
        {"decision": "allow", "include": [{"idp_group": "staff"}]},
        {"decision": "deny", "include": EVERYONE},
    ]
    shot = compiled(applications=[application(policies)])
    got = judge(shot, HOST, "/", {k: v for k, v in ADA.items() if k != "groups"})
    assert (got["verdict"], got["missing"]) == ("deny", ["groups"])


def test_unknown_address() -> None:
    """C08: an address that can't be read is nobody's: rules on it admit nobody, and don't exclude nobody either."""
    no_address = {k: v for k, v in ADA.items() if k != "ip"}
    for policy in (
        {"decision": "bypass", "include": [{"ip": "0.0.0.0/0"}]},
        {"decision": "allow", "include": EVERYONE, "exclude": [{"ip": "10.0.0.0/8"}]},
    ):
        shot = compiled(applications=[application([policy])])
        assert judge(shot, HOST, "/", no_address)["verdict"] == "unavailable"
    # nobody is signed in, and signing in can't help
    assert (
        decided([{"decision": "bypass", "include": [{"ip": "10.0.0.0/8"}]}], {})[0] == "unavailable"
    )


# -- criteria


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"])
@pytest.mark.parametrize("rule", ["10.0.0.0/8", "10.1.2.3", "::ffff:10.0.0.0/104", "0.0.0.0/0"])
@pytest.mark.parametrize("many", [False, True], ids=["one rule", "merged"])
def test_mapped_addresses(address: str, rule: str, many: bool) -> None:
    """C09: ::ffff:10.1.2.3 is 10.1.2.3, in facts and in rules, alone and in a merged look-up."""
    include = [{"ip": rule}, {"ip": "192.0.2.0/24"}] if many else [{"ip": rule}]
    assert decided([{"decision": "bypass", "include": include}], {"ip": address})[0] == "bypass"


@pytest.mark.parametrize("many", [False, True], ids=["one rule", "merged"])
def test_address_families_are_apart(many: bool) -> None:
    more = [{"ip": "203.0.113.1"}, {"ip": "2001:db8:1::/48"}] if many else []
    v6 = [{"decision": "bypass", "include": [{"ip": "::/0"}, *more]}]
    v4 = [{"decision": "bypass", "include": [{"ip": "0.0.0.0/0"}, *more]}]
    assert decided(v6, {"ip": "10.1.2.3"})[0] == "deny"
    assert decided(v6, {"ip": "2001:db8::1"})[0] == "bypass"
    assert decided(v4, {"ip": "2001:db8::1"})[0] == "deny"
    assert decided(v4, {"ip": "fe80::1%eth0"})[0] == "deny"


@pytest.mark.parametrize(
    ("email", "known"),
    [
        ("ada@example.com", True), ("ADA@Example.COM", True), ("x@example.com", True),
        ("a@b@example.com", False), ('"x@example.com"@evil.example', False),
        ("a@example.com.evil", False), ("a@sub.example.com", False), ("a@exämple.com", False),
        ("a@еxample.com", False), ("@example.com", False), ("a@", False), ("example.com", False),
        ("", False), (" @example.com ", False), (None, False), ("a@example.com\n", False),
    ],
)  # fmt: skip
def test_only_the_exact_domain_matches(email: str | None, known: bool) -> None:
    """M09: what follows the only @, whole; a homograph, a second @ or a longer domain is another one."""
    policies = [{"decision": "allow", "include": [{"email_domain": "Example.com"}]}]
    assert (decided(policies, {**ADA, "email": email})[0] == "allow") == known


def test_a_claim_has_texts() -> None:
    policies = [{"decision": "allow", "include": [{"oidc": {"claim_name": "level", "claim_value": v}}
                                                  for v in ("7", "true", "1.5", "x")]}]  # fmt: skip
    for value, rule in ((7, 0), (True, 1), (1.5, 2), (["a", "x"], 3)):
        assert decided(policies, {**ADA, "claims": {"level": value}}) == (
            "allow",
            "policy-allowed",
            0,
            rule,
        )
    for value in (None, {"x": 1}, [], "X", False, ["7 "]):
        assert decided(policies, {**ADA, "claims": {"level": value}})[0] == "deny"
    assert decided(policies, {**ADA, "claims": {"other": "x"}})[0] == "unavailable"
    assert decided(policies, {**ADA, "claims": None})[0] == "deny"


def test_a_rule_limited_to_one_provider() -> None:
    rule = {"idp_group": {"name": "staff", "identity_provider_id": "SSO"}}
    claim = {"oidc": {"claim_name": "c", "claim_value": "v", "identity_provider_id": "SSO"}}
    for one, facts in ((rule, {"groups": ["staff"]}), (claim, {"claims": {"c": "v"}})):
        policies = [{"decision": "allow", "include": [one]}]
        assert decided(policies, {**ADA, **facts})[0] == "allow"
        assert decided(policies, {**ADA, **facts, "idp": "pin"})[0] == "deny"
        assert decided(policies, {**ADA, **facts, "idp": None})[0] == "deny"
        unknown = {k: v for k, v in {**ADA, **facts}.items() if k != "idp"}
        assert decided(policies, unknown)[0] == "unavailable"


@pytest.mark.parametrize(
    "parts",
    [{"allowed_idps": ["PIN"]}, {"identity_providers": PROVIDERS[:1]}],
    ids=["allowed_idps", "provider gone"],
)
def test_sessions_of_a_provider_that_is_not_taken_are_nobodys(parts: dict[str, Any]) -> None:
    """They are asked to sign in; what nobody may do they may, in nobody's name."""
    own = {key: value for key, value in parts.items() if key == "allowed_idps"}
    other = {key: value for key, value in parts.items() if key != "allowed_idps"}

    def told(*policies: dict[str, Any], **facts: Any) -> tuple[Any, ...]:
        shot = compiled(applications=[application(policies, **own)], **other)
        got = judge(shot, HOST, "/", {**ADA, **facts})
        assert got["permit"] == (got["verdict"] != "login" and got["verdict"] != "deny")
        assert may_allow(shot, HOST, "/", {**ADA, **facts}) == (facts.get("idp") == "pin")
        return got["verdict"], got["reason"], got["method_refused"]

    bypass = {"decision": "bypass", "include": [{"ip": "10.0.0.0/8"}]}
    deny = {"decision": "deny", "include": EVERYONE}
    assert told(ALLOW_ADA) == ("login", "login-method-not-allowed", True)
    assert told(ALLOW_ADA, idp="pin") == ("allow", "policy-allowed", False)
    assert told(ALLOW_ADA, bypass)[0::2] == ("bypass", True)
    assert told(deny, ALLOW_ADA)[0] == "login", "nobody is anybody whom a deny policy could mean"
    shot = compiled(applications=[application([ALLOW_ADA], **own)], **other)
    assert [one["reached"] for one in explain(shot, HOST, "/", ADA)["policies"]] == [False]


def test_service_tokens() -> None:
    policies = [
        {"decision": "non_identity", "include": [{"service_token": "Robot"}]},
        {"decision": "allow", "include": EVERYONE},
    ]
    assert decided(policies, {"service_token": "token-1", "ip": "10.0.0.1"})[:3] == (
        "service", "policy-service-admitted", 0,
    )  # fmt: skip
    # another token; a session beside it doesn't count
    assert decided(policies, {**ADA, "service_token": "token-2"})[:2] == ("deny", "policy-no-match")
    assert decided(policies, ADA)[0] == "allow"


def test_who_is_not_on_a_long_list() -> None:
    """A long list has no sieve that would answer first: the search itself has to miss."""
    lists = [
        {"name": "people", "type": "email", "items": [f"p{n}@example.org" for n in range(1500)]},
        {"name": "nets", "type": "ip", "items": [f"2001:db8:{n:x}::/64" for n in range(1500)]},
    ]
    people = [{"decision": "allow", "include": [{"email_list": "people"}]}]
    assert decided(people, ADA, lists=lists)[0] == "deny"
    assert decided(people, {**ADA, "email": "P1499@example.org"}, lists=lists)[0] == "allow"
    nets = [{"decision": "bypass", "include": [{"ip_list": "nets"}]}]
    assert decided(nets, {"ip": "10.1.2.3"}, lists=lists)[0] == "deny", "it holds no IPv4 at all"
    assert decided(nets, {"ip": "2001:db8:5db::1"}, lists=lists)[0] == "bypass"
    assert decided(nets, {"ip": "2001:db8:5dc::1"}, lists=lists)[0] == "deny"


def test_groups_inside_groups() -> None:
    groups = [
        {"name": "a", "include": [{"email": "ada@example.com"}]},
        {"name": "b", "include": [{"group": "a"}], "exclude": [{"ip": "10.0.0.0/8"}]},
        {"name": "c", "include": EVERYONE, "require": [{"group": "b"}], "id": "the-c"},
    ]
    policies = [{"decision": "allow", "include": [{"group": {"id": "the-c"}}]}]
    assert decided(policies, ADA, groups=groups)[0] == "deny"
    assert decided(policies, {**ADA, "ip": "192.0.2.1"}, groups=groups)[0] == "allow"


def test_preflight() -> None:
    shot = compiled(
        applications=[
            application([ALLOW_ADA], options_preflight_bypass="true"),
            application([ALLOW_ADA], name="B", domain="b.example.com"),
        ]
    )
    assert judge_preflight(shot, HOST, "/")["permit"]
    assert judge_preflight(shot, HOST, "/")["reason"] == "policy-bypassed"
    assert not judge_preflight(shot, "b.example.com", "/")["permit"]


# -- Q04: a request keeps the snapshot that it began with


def test_a_change_is_old_or_new_never_mixed() -> None:
    """Q04: while snapshots replace each other, every decision is wholly one's or the other's."""
    shots = [
        compiled(version, applications=[application([
            {"decision": "allow", "include": [{"email": "ada@example.com"}]},
            {"decision": "deny", "include": EVERYONE},
        ][:: 1 if version % 2 else -1])])
        for version in range(1, 5)
    ]  # fmt: skip
    expected = {1: ("allow", 0), 0: ("deny", 0)}
    running = {"shot": shots[0]}
    seen: set[tuple[str, int]] = set()
    stop = threading.Event()

    def replace() -> None:
        dice = random.Random(4)
        while not stop.is_set():
            running["shot"] = dice.choice(shots)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(20_000):
            shot = running["shot"]
            got = judge(shot, HOST, "/", ADA)
            assert (got["verdict"], got["policy"]) == expected[shot.version % 2]
            seen.add((got["verdict"], got["policy"]))
    finally:
        stop.set()
        thread.join()
    assert len(seen) == 2
