
"""The compiled decision and the plain reference agree on every generated configuration and every
generated person.

In every run 2,000 examples, each with four people; 100,000 in `make soak`, or SEKISHO_EXAMPLES of them.
Loading YAML would be most of the time, so rules are generated as plain data and put into the model
without a file.

Planted faults (2026-11-25, 28 of them in the compiled policy and facts): require, exclude or a deny
passed over; unknown taken for true or false in a policy, group, provider, claim or address; policies
in another order; allow for nobody and for service tokens; mapped addresses, letters' case, a second
@; another group's memory; the wrong rule named; the ends of ranges; a sieve with a hole. 27 are seen,
most within 10 examples, the slowest (the last of two true rules is named) within 776. The 28th changes nothing: what it takes out of `limited` its two
callers have asked already."""

import os
import random
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from _fastpath.explain import explain, judge, may_allow
from _fastpath.snapshot import Snapshot
from edge.config import Loaded, compile_snapshot
from edge.config.listitems import ListItems
from edge.config.lists import parse
from edge.config.model import Config
from edge.config.source import Map
from tests.kit.policy_cases import KEYS, OBJECTS, config
from tests.kit.policy_reference import Reference
from tests.kit.soak import scaled, soak

EXAMPLES = int(os.environ.get("SEKISHO_EXAMPLES", scaled(100_000, 50)))

# Small alphabets, so that rules and people meet
EMAILS = [
    "ada@example.com",
    "Bob@Example.com",
    "eve@example.org",
    "x@sub.example.com",
    "ß@example.com",
]
DOMAINS = ["example.com", "Example.ORG", "sub.example.com", "com"]
NETWORKS = [
    "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "192.0.2.0/24", "2001:db8::/32", "2001:db8::7",
    "::/0", "::ffff:10.1.0.0/112",
]  # fmt: skip
ADDRESSES = [
    "10.1.2.3", "10.9.9.9", "10.255.255.255", "192.0.2.255", "203.0.113.9", "2001:db8::7", "2001:db9::", "::ffff:10.1.2.3", "::1",
]  # fmt: skip
GROUPS = ["staff", "admins", "日本"]
METHODS = ["mfa", "otp"]
CLAIMS = ["role", "level"]
CLAIM_VALUES = ["boss", "7", "true", "x"]
RULE_GROUPS = ["g0", "g1", "g2"]
LISTS = {"people": ["ada@example.com", "eve@example.org"], "nets": ["10.1.0.0/16", "2001:db8::/33"]}
IDPS = {"PIN": "pin", "SSO": "sso"}
VALUES = {
    "email": EMAILS, "email_domain": DOMAINS, "email_list": ["people"], "ip": NETWORKS, "ip_list": ["nets"],
    "login_method": list(IDPS), "auth_method": METHODS, "service_token": ["Robot", "Other robot", "nobody's"],
}  # fmt: skip
KINDS = [*VALUES, "everyone", "any_valid_service_token", "idp_group", "oidc"]


class Dice:
    """Makes configurations and people from one seed: Hypothesis's own lists of dictionaries take 60
    ms an example."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pick = self.random.choice

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def some(self, make: Callable[[], Any], least: int, most: int) -> list[Any]:
        return [make() for _ in range(self.random.randint(least, most))]

    def rule(self, groups: list[str]) -> dict[str, Any]:
        pick = self.pick
        if groups and self.chance(6):
            return {"group": pick(groups)}
        kind = pick(KINDS)
        if kind in ("everyone", "any_valid_service_token"):
            return {kind: {}}
        if kind == "idp_group":
            return {kind: self.at_provider({"name": pick(GROUPS)})}
        if kind == "oidc":
            return {
                kind: self.at_provider(
                    {"claim_name": pick(CLAIMS), "claim_value": pick(CLAIM_VALUES)}
                )
            }
        return {kind: pick(VALUES[kind])}

    def at_provider(self, value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "identity_provider_id": self.pick(list(IDPS))} if self.chance(2) else value

    def include(self, groups: list[str]) -> list[dict[str, Any]]:
        if not self.chance(4):
            return self.some(lambda: self.rule(groups), 1, 6)
        # two kinds in turn: each becomes one look-up, and which of its rules is true counts
        kinds = self.random.sample(list(VALUES), 2)
        return [{kind: self.pick(VALUES[kind])} for kind in kinds * self.random.randint(1, 3)]

    def block(self, groups: list[str]) -> dict[str, Any]:
        return {
            "include": self.include(groups),
            "require": self.some(lambda: self.rule(groups), 0, 2),
            "exclude": self.some(lambda: self.rule(groups), 0, 3),
        }

    def policies(self) -> list[dict[str, Any]]:
        decisions = ["allow", "allow", "deny", "bypass", "non_identity"]
        return self.some(
            lambda: {**self.block(RULE_GROUPS), "decision": self.pick(decisions)}, 0, 5
        )

    def claim(self) -> Any:
        some = [*CLAIM_VALUES, 7, True, None, {"a": 1}]
        return (
            self.some(lambda: self.pick(CLAIM_VALUES), 0, 2) if self.chance(3) else self.pick(some)
        )

    def person(self) -> dict[str, Any]:
        pick = self.pick
        facts = {
            "email": pick(
                [None, *EMAILS, "ADA@example.COM", "a@b@example.com", "x", "@example.com"]
            ),
            "idp": pick([None, "pin", "sso", "other"]),
            "groups": None if self.chance(5) else self.some(lambda: pick(GROUPS), 0, 3),
            "amr": None if self.chance(5) else self.some(lambda: pick(METHODS), 0, 2),
            "claims": None
            if self.chance(5)
            else {name: self.claim() for name in CLAIMS if self.chance(2)},
            "ip": pick(ADDRESSES),
            "service_token": pick([None, "token-1", "token-2", "token-9"]),
            "signed_in": self.chance(2),
        }
        rare = ("service_token", "signed_in")
        return {
            k: v
            for k, v in facts.items()
            if not self.chance(4) and (k not in rare or self.chance(3))
        }


NOWHERE = types.SimpleNamespace(line=0, column=0)


def marked(data: Any) -> Any:
    """Return plain data as the loader hands it over, at no place in particular."""
    if isinstance(data, dict):
        made = Map({key: marked(value) for key, value in data.items()})
        made.at = NOWHERE
        made.keys_at = made.values_at = dict.fromkeys(data, NOWHERE)
        return made
    return [marked(one) for one in data] if isinstance(data, list) else data


ITEMS: dict[str, ListItems] = {
    "people": parse("email", b"people", LISTS["people"], [])[0],
    "nets": parse("ip", b"nets", LISTS["nets"], [])[0],
}


def snapshot_of(
    policies: list[dict[str, Any]], groups: dict[str, dict[str, Any]], allowed: list[str]
) -> Snapshot:
    data = config(
        groups=[{"name": name, **block} for name, block in groups.items()],
        lists=[{"name": "people", "type": "email"}, {"name": "nets", "type": "ip"}],
        applications=[{
            "name": "App", "domain": "app.example.com", "allowed_idps": allowed,
            "policies": [{"name": f"p{n}", **policy} for n, policy in enumerate(policies)],
        }],
    )  # fmt: skip
    found = Loaded(Path("x"), Config.model_validate(marked(data)), [], [], {}, list_items=ITEMS)
    return Snapshot(compile_snapshot(found, version=1, objects=OBJECTS, keys=KEYS))


def could_match(truth: bool | None) -> bool:
    return truth is not False


@soak
@settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES == 2000)
@given(st.integers(0, 2**64 - 1))
def test_compiled_equals_reference(seed: int) -> None:
    dice = Dice(seed)
    policies = dice.policies()
    groups = {name: dice.block(RULE_GROUPS[:n]) for n, name in enumerate(RULE_GROUPS)}
    allowed = dice.pick([[], [], [], ["PIN"], ["SSO"], ["PIN", "SSO"]])
    snapshot = snapshot_of(policies, groups, allowed)
    reference = Reference(
        policies,
        groups,
        LISTS,
        IDPS,
        {token[1]: token[0] for token in OBJECTS.service_tokens.values()},
        allowed,
    )
    for facts in dice.some(dice.person, 4, 4):
        expected = reference.decide(facts)
        got = judge(snapshot, "app.example.com", "/", facts)
        assert (got["verdict"], got["policy"], got["rule"]) == (
            expected.verdict, expected.policy, expected.rule,
        ), facts  # fmt: skip
        somebody = facts.get("signed_in", True) and facts.get("service_token") is None
        assert got["method_refused"] == (somebody and reference.refused(facts))
        assert (got["reason"] == "login-method-not-allowed") == (
            got["verdict"] == "login" and got["method_refused"]
        )
        assert got["permit"] == (got["verdict"] in ("allow", "bypass", "service"))
        told = explain(snapshot, "app.example.com", "/", facts)
        assert {key: told[key] for key in got} == got
        explained_as_the_reference_says(told, reference, facts)
        # could some allow policy come true, whatever is not known turns out to be?
        person = {**facts, "signed_in": True}
        if facts.get("service_token") is None:
            assert may_allow(snapshot, "app.example.com", "/", facts) == possible(reference, person)


def possible(reference: Reference, facts: dict[str, Any]) -> bool:
    if facts.get("service_token") is None and reference.refused(facts):
        return False
    for _, policy in reference.order():
        truth = reference.block(policy, facts)[0]
        if policy["decision"] == "allow" and could_match(truth):
            return True
        if policy["decision"] == "deny" and truth is True:
            return False
    return False


def explained_as_the_reference_says(
    told: dict[str, Any], reference: Reference, facts: dict[str, Any]
) -> None:
    person = facts.get(
        "signed_in", any(k in facts for k in ("email", "idp", "groups", "amr", "claims"))
    )
    if facts.get("service_token") is not None:
        facts = {**facts, **dict.fromkeys(("email", "idp", "groups", "amr", "claims"))}
    elif not person:
        facts = {k: v for k, v in facts.items() if k == "ip"}
    names = {True: "true", False: "false", None: "unknown"}
    assert [p["number"] for p in told["policies"]] == [number for number, _ in reference.order()]
    for policy in told["policies"]:
        written = reference.policies[policy["number"]]
        assert policy["truth"] == names[reference.block(written, facts)[0]]
        for section in ("include", "require", "exclude"):
            truths = [names[reference.rule(rule, facts)] for rule in written[section]]
            assert [rule["truth"] for rule in policy[section]] == truths
