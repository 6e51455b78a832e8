"""The plain reference of the policy semantics: docs/policies.md as Python, slow and obvious.

It shares nothing with the compiler or the evaluator: it reads the configuration's plain data and a
dict of facts. A fact that
is missing is unknown; None means that there is none."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

T, F, U = True, False, None  # three values
Truth = bool | None


def all_of(values: Sequence[Truth]) -> Truth:
    if F in values:
        return F
    return U if U in values else T


def any_of(values: Sequence[Truth]) -> Truth:
    if T in values:
        return T
    return U if U in values else F


def no(value: Truth) -> Truth:
    return U if value is U else not value


def folded(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


@dataclass
class Decided:
    verdict: str
    policy: int | None = None
    rule: int | None = None


@dataclass
class Reference:
    """One application's policies, with the groups, lists and provider ids that they name."""

    policies: list[dict[str, Any]]
    groups: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)  # name -> id
    tokens: Mapping[str, str] = field(default_factory=dict)  # name -> id
    allowed_idps: Sequence[str] = ()  # names; none: all

    def refused(self, facts: Mapping[str, Any]) -> bool:
        """True when the provider is told and isn't one of those that the application takes."""
        taken = [self.providers[name] for name in self.allowed_idps or self.providers]
        return facts.get("idp") is not None and facts["idp"] not in taken

    def decide(self, facts: Mapping[str, Any]) -> Decided:
        person = any(k in facts for k in ("email", "idp", "groups", "amr", "claims"))
        person = facts.get("signed_in", person)
        service = facts.get("service_token") is not None
        person = person and not self.refused(facts)
        if service:
            # a service token is nobody: what only a person has is absent
            facts = {**facts, **dict.fromkeys(("email", "idp", "groups", "amr", "claims"))}
        elif not person:
            facts = {k: v for k, v in facts.items() if k in ("ip", "service_token")}
        unknown_of_person = unknown_address = False
        for number, policy in self.order():
            late = policy["decision"] in ("allow", "deny")
            if late and (service or not person):
                break
            truth, rule = self.block(policy, facts)
            if truth is T:
                verdict = {"non_identity": "service"}.get(policy["decision"], policy["decision"])
                return Decided(verdict, number, rule)
            if truth is U and policy["decision"] == "deny":
                return Decided("unavailable", number)
            if truth is U:
                # which fact was missing decides whether signing in could have helped
                if self.block(policy, self.with_address(facts))[0] is U:
                    unknown_of_person = True
                if self.address_matters(policy, facts):
                    unknown_address = True
        if not service and not person:
            if any(p["decision"] == "allow" for p in self.policies):
                return Decided("login")
            return Decided("unavailable" if unknown_address else "deny")
        return Decided("unavailable" if unknown_of_person or unknown_address else "deny")

    def order(self) -> list[tuple[int, dict[str, Any]]]:
        numbered = list(enumerate(self.policies))
        early = [one for one in numbered if one[1]["decision"] in ("bypass", "non_identity")]
        late = [one for one in numbered if one[1]["decision"] in ("allow", "deny")]
        return early + late

    @staticmethod
    def with_address(facts: Mapping[str, Any]) -> dict[str, Any]:
        return dict(facts) if "ip" in facts else {**facts, "ip": "192.0.2.255"}

    def address_matters(self, policy: dict[str, Any], facts: Mapping[str, Any]) -> bool:
        """True when the address is unknown and some rule that could not be told asked for it."""
        if facts.get("ip") is not None:
            return False
        return any(
            self.asks_address(rule, facts)
            for section in ("include", "require", "exclude")
            for rule in policy.get(section, ())
            if not (
                section == "include" and self.block({"include": policy["include"]}, facts)[0] is T
            )
        )

    def asks_address(self, rule: Any, facts: Mapping[str, Any]) -> bool:
        ((kind, value),) = rule.items()
        if kind in ("ip", "ip_list"):
            return True
        if kind == "group":
            group = self.groups[value]
            return self.block(group, facts)[0] is U and self.address_matters(group, facts)
        return False

    def block(self, block: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[Truth, int | None]:
        """any(include) and all(require) and not any(exclude); and the first include rule that is
        true."""
        include = [self.rule(rule, facts) for rule in block["include"]]
        truth = all_of([
            any_of(include),
            all_of([self.rule(rule, facts) for rule in block.get("require", ())]),
            no(any_of([self.rule(rule, facts) for rule in block.get("exclude", ())])),
        ])  # fmt: skip
        return truth, include.index(T) if T in include else None

    def rule(self, rule: Mapping[str, Any], facts: Mapping[str, Any]) -> Truth:
        ((kind, value),) = rule.items()
        if kind == "everyone":
            return T
        if kind == "group":
            return self.block(self.groups[value], facts)[0]
        if kind in ("email", "email_list", "email_domain"):
            return self.email(kind, value, facts)
        if kind in ("ip", "ip_list"):
            return self.address([value] if kind == "ip" else self.lists[value], facts)
        if kind == "login_method":
            return self.one(facts, "idp", self.providers[value])
        if kind == "auth_method":
            return self.among(facts, "amr", value)
        if kind == "idp_group":
            value = value if isinstance(value, dict) else {"name": value}
            return all_of([self.provider(value, facts), self.among(facts, "groups", value["name"])])
        if kind == "oidc":
            return all_of([self.provider(value, facts), self.claim(value, facts)])
        if kind == "any_valid_service_token":
            return facts.get("service_token") is not None
        assert kind == "service_token"
        return facts.get("service_token") == self.tokens.get(value, object())

    @staticmethod
    def one(facts: Mapping[str, Any], key: str, wanted: str) -> Truth:
        return U if key not in facts else facts[key] == wanted

    @staticmethod
    def among(facts: Mapping[str, Any], key: str, wanted: str) -> Truth:
        return U if key not in facts else wanted in (facts[key] or ())

    def provider(self, value: Mapping[str, str], facts: Mapping[str, Any]) -> Truth:
        if "identity_provider_id" not in value:
            return T
        return self.one(facts, "idp", self.providers[value["identity_provider_id"]])

    @staticmethod
    def claim(value: Mapping[str, str], facts: Mapping[str, Any]) -> Truth:
        if "claims" not in facts:
            return U
        if facts["claims"] is None:
            return F
        if value["claim_name"] not in facts["claims"]:
            return U
        given = facts["claims"][value["claim_name"]]
        texts = [
            {True: "true", False: "false"}[one] if isinstance(one, bool) else str(one)
            for one in (given if isinstance(given, list) else [given])
            if isinstance(one, (str, int, float))
        ]
        return value["claim_value"] in texts

    def email(self, kind: str, value: str, facts: Mapping[str, Any]) -> Truth:
        if "email" not in facts:
            return U
        if facts["email"] is None:
            return F
        address = folded(facts["email"])
        local, _, domain = address.rpartition("@")
        if address.count("@") != 1 or not local or not domain:
            return U  # it can't be read: nobody's
        if kind == "email_domain":
            return domain == folded(value)
        wanted = [value] if kind == "email" else self.lists[value]
        return address in [folded(one) for one in wanted]

    @staticmethod
    def address(networks: Sequence[str], facts: Mapping[str, Any]) -> Truth:
        if facts.get("ip") is None:
            return U
        found = ipaddress.ip_address(facts["ip"])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        for text in networks:
            network = ipaddress.ip_network(text)
            if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
                mapped = network.network_address.ipv4_mapped
                if mapped:
                    network = ipaddress.ip_network((mapped, network.prefixlen - 96))
            if found.version == network.version and found in network:
                return T
        return F
