"""Rules as they may be written: every criterion in its short form and in the exact shape of
Cloudflare's API, which are the same rule; and what a wrong shape gets."""

from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from edge.config import schema
from edge.config.criteria import CRITERIA, NOT_HERE, Ask, Criterion
from edge.config.rule import Rule
from edge.config.world import ConfigWorld
from tests.config.test_check import FIRST, policies
from tests.config.test_hostile import errors_of
from tests.kit.policy_cases import KEYS, OBJECTS, compiled_bytes, config, loaded

LISTS = [
    {"name": "People", "type": "email", "id": "people", "items": ["ada@example.com"]},
    {"name": "Offices", "type": "ip", "id": "offices", "items": ["10.0.0.0/8"]},
]
GROUPS = [{"name": "Staff", "id": "staff", "include": [{"email_domain": "example.com"}]}]

# name: the ways to write one rule of it, the short form first
FORMS: dict[str, list[Any]] = {
    "everyone": ["everyone", {"everyone": {}}, {"everyone": None}, {"everyone": True}],
    "email": [{"email": "Ada@example.com"}, {"email": {"email": "ada@EXAMPLE.com"}}],
    "email_list": [{"email_list": "People"}, {"email_list": {"id": "People"}}],
    "email_domain": [
        {"email_domain": "example.com"},
        {"email_domain": {"domain": "example.com"}},
        {"email_domain": {"domain": "@example.com"}},
    ],
    "ip": [{"ip": "203.0.113.7"}, {"ip": {"ip": "203.0.113.7/32"}}],
    "ip_list": [{"ip_list": "Offices"}, {"ip_list": {"id": "Offices"}}],
    "group": [{"group": "Staff"}, {"group": {"id": "Staff"}}],
    "login_method": [{"login_method": "SSO"}, {"login_method": {"id": "SSO"}}],
    "oidc": [{"oidc": {"claim_name": "dept", "claim_value": "it", "identity_provider_id": "SSO"}}],
    "idp_group": [
        {"idp_group": "admins"},
        {"idp_group": {"name": "admins"}},
    ],
    "azure_ad": [
        {"azure_ad": "5f0c"},
        {"azure_ad": {"id": "5f0c"}},
        {"azureAD": {"id": "5f0c"}},
        {"azureAD": "5f0c"},
    ],
    "okta": [{"okta": "admins"}, {"okta": {"name": "admins"}}],
    "gsuite": [{"gsuite": "a@example.com"}, {"gsuite": {"email": "a@example.com"}}],
    "github_organization": [
        {"github_organization": "acme/ops"},
        {"github_organization": {"name": "acme", "team": "ops"}},
        {"github-organization": {"name": "acme", "team": "ops"}},
    ],
    "auth_method": [{"auth_method": "mfa"}, {"auth_method": {"auth_method": "mfa"}}],
    "service_token": [{"service_token": "Robot"}, {"service_token": {"token_id": "Robot"}}],
    "any_valid_service_token": [
        "any_valid_service_token",
        {"any_valid_service_token": {}},
        {"any_valid_service_token": None},
    ],
}  # fmt: skip

EVERY = [pytest.param(name, form, id=f"{name}-{n}")
         for name, forms in FORMS.items() for n, form in enumerate(forms)]  # fmt: skip


def test_every_criterion_is_here() -> None:
    assert list(FORMS) == list(CRITERIA)
    assert not set(NOT_HERE) & CRITERIA.keys()


def parts(rule: Any, decision: str = "non_identity") -> dict[str, Any]:
    policy = {"name": "P", "decision": decision, "include": [rule]}
    app = {"name": "A", "domain": "a.example.com", "policies": [policy]}
    return {"lists": LISTS, "groups": GROUPS, "applications": [app]}


def rule_of(rule: Any) -> Rule:
    found = loaded(**parts(rule))
    assert found.config is not None and not found.errors, found.errors
    return found.config.applications[0].policies[0].include[0]


@pytest.mark.parametrize(("name", "form"), EVERY)
def test_all_forms_are_one_rule_and_one_program(name: str, form: Any) -> None:
    first, again = rule_of(FORMS[name][0]), rule_of(form)
    assert first.kind == again.kind == name
    assert isinstance(again.criterion, Criterion) and again.criterion == first.criterion
    assert compiled_bytes(**parts(form)) == compiled_bytes(**parts(FORMS[name][0]))


@pytest.mark.parametrize(("name", "form"), EVERY)
def test_editors_take_all_forms(name: str, form: Any) -> None:
    jsonschema.validate(config(**parts(form)), schema())


def ask_of(rule: Any) -> Ask:
    found = loaded(**parts(rule))
    assert found.config is not None and not found.errors, found.errors
    world = ConfigWorld(found.config, found.list_items, OBJECTS, KEYS)
    return found.config.applications[0].policies[0].include[0].criterion.ask(world)


@pytest.mark.parametrize(("kind", "shape"), [
    ("email_list", {"id": "people"}), ("ip_list", {"id": "offices"}), ("group", {"id": "staff"}),
    ("login_method", {"id": "sso"}), ("service_token", {"token_id": "token-1"}),
])  # fmt: skip
def test_names_and_ids_are_one(kind: str, shape: dict[str, str]) -> None:
    """Cloudflare's shape names objects by their id."""
    assert ask_of({kind: shape}) == ask_of(FORMS[kind][0])


@pytest.mark.parametrize(("name", "shape", "value"), [
    ("azureAD", {"id": "5f0c"}, b"5f0c"),
    ("okta", {"name": "admins"}, b"admins"),
    ("gsuite", {"email": "a@example.com"}, b"a@example.com"),
    ("github-organization", {"name": "acme", "team": "ops"}, b"acme/ops"),
    ("github-organization", {"name": "acme"}, b"acme"),
    ("oidc", {"claim_name": "dept", "claim_value": "it"}, b"it"),
])  # fmt: skip
def test_a_provider_limits_the_rule(name: str, shape: dict[str, str], value: bytes) -> None:
    free = ask_of({name: shape})
    assert (free.value, free.idp) == (value, b"")
    for provider in ("sso", "SSO"):
        limited = ask_of({name: {**shape, "identity_provider_id": provider}})
        assert limited == replace(free, idp=b"sso")


# -- what is wrong: one error each, at its place. The rule begins in column 46.

WRONG = [
    ("{email: {mail: x@y.z}}", 55, "there is no key “mail” here (did you mean “email”?)"),
    ("{email: {email: x@y.z, id: 1}}", 69, "there is no key “id” here: write {email: …}"),
    ("{email: {email: [x@y.z]}}", 62, "“email” must be a text"),
    ("{email: {email: {email: x@y.z}}}", 62, "“email” must be a text"),
    ("{email: {}}", 54, "“email” is missing"),
    ("{email: {email: }}", 54, "“email” is missing"),
    ("{email: }", 54, "this must be an e-mail address, or {email: …}"),
    ("{email: [x@y.z]}", 54, "this must be an e-mail address, or {email: …}"),
    ("{email: {email: y.z}}", 54, "“y.z” is not an e-mail address"),
    ("{email_domain: {email_domain: y.z}}", 62, "there is no key “email_domain” here (did you mean “domain”?)"),
    ("{email_domain: {domain: '*.y.z'}}", 61, "“*.y.z” is not a domain like example.com"),
    ("{ip: {ip: 10.0.0.1/8}}", 51, "“10.0.0.1/8” has bits beyond its prefix; did you mean “10.0.0.0/8”?"),
    ("{ip: {addr: 10.0.0.1}}", 52, "there is no key “addr” here: write {ip: …}"),
    ("{ip_list: {name: L}}", 57, "there is no key “name” here: write {id: …}"),
    ("{email_list: {id: L}}", 59, "there is no email list “L”"),
    ("{group: {name: G}}", 55, "there is no key “name” here: write {id: …}"),
    ("{group: {id: G}}", 54, "there is no group “G”"),
    ("{login_method: {login_method: SSO}}", 62, "there is no key “login_method” here: write {id: …}"),
    ("{login_method: {id: SS0}}", 61, "there is no identity provider “SS0” (did you mean “SSO”?)"),
    ("{auth_method: {id: mfa}}", 61, "there is no key “id” here: write {auth_method: …}"),
    ("{service_token: {id: t}}", 63, "there is no key “id” here: write {token_id: …}"),
    ("{any_valid_service_token: {token_id: t}}", 72, "this criterion has no value: write {}"),
    ("{everyone: []}", 57, "this criterion has no value: write {}"),
    ("{everyone: false}", 57, "this criterion has no value: write {}"),
    ("{oidc: dept}", 53, "this must be a mapping: write {claim_name: …, claim_value: …}"),
    ("{oidc: {claim_name: a, claim_value: }}", 53, "“claim_value” is missing"),
    ("{oidc: {claim_name: a, claim_value: [b]}}", 82, "“claim_value” must be a text"),
    ("{oidc: {claim_name: a, claim_value: b, identity_provider_id: x}}", 53, "there is no identity provider “x”"),
    ("{azureAD: {name: x}}", 57, "there is no key “name” here: write {id: …, identity_provider_id: …}"),
    ("{okta: {id: x}}", 54, "there is no key “id” here: write {name: …, identity_provider_id: …}"),
    ("{gsuite: {name: x}}", 56, "there is no key “name” here: write {email: …, identity_provider_id: …}"),
    ("{github-organization: {name: x, teams: y}}", 78, "there is no key “teams” here (did you mean “team”?)"),
    ("{idp_group: }", 58, "this must be a mapping: write {name: …}"),
    ("{emails: {email: x@y.z}}", 47, "there is no criterion “emails” (did you mean “email”?)"),
    ("{azure: {id: x}}", 47, "there is no criterion “azure” (did you mean “azure_ad”?)"),
    ("[email, x@y.z]", 46, "a rule is one criterion with its value, like {email: ada@example.com}"),
    ("{}", 46, "a rule is one criterion with its value, like {email: ada@example.com}"),
    ("email", 46, "this must be an e-mail address, or {email: …}"),
    *(
        (f"{{{name}: {{}}}}", 47, f"Cloudflare's criterion “{name}” does not exist here")
        for name in NOT_HERE
    ),
    ("certificate", 46, "Cloudflare's criterion “certificate” does not exist here"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "column", "sentence"), WRONG, ids=[w[0] for w in WRONG])
def test_wrong_shapes(rule: str, column: int, sentence: str, tmp_path: Any) -> None:
    text = policies(f"{{name: P, decision: allow, include: [{rule}]}}")
    assert errors_of(tmp_path, text) == [f"{FIRST}:{column}: {sentence}"]
