"""The criteria that rules may name: one written-out table, one file for each.

To add one: a file here, its row below, an Op and its function in _fastpath (snapshot.pxd,
policy.pyx), and the same in tests/kit/policy_reference.py."""

from edge.config.criteria import (
    any_valid_service_token,
    auth_method,
    email,
    email_domain,
    email_list,
    everyone,
    group,
    idp_group,
    ip,
    ip_list,
    login_method,
    oidc,
    service_token,
)
from edge.config.criteria.criterion import Ask, Criterion, Kind, World

CRITERIA: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        everyone.KIND,
        email.KIND,
        email_list.KIND,
        email_domain.KIND,
        ip.KIND,
        ip_list.KIND,
        group.KIND,
        login_method.KIND,
        oidc.KIND,
        *idp_group.KINDS,
        auth_method.KIND,
        service_token.KIND,
        any_valid_service_token.KIND,
    )
}

# Every name that a rule may write: Cloudflare's API spells two in another way than its provider.
SPELLINGS = CRITERIA | {kind.api: kind for kind in CRITERIA.values() if kind.api}

# Cloudflare's criteria that are not here: no misspelling of one that is, and told apart from it.
NOT_HERE = (
    "auth_context",
    "certificate",
    "common_name",
    "device_posture",
    "external_evaluation",
    "geo",
    "linked_app_token",
    "saml",
    "user_risk_score",
)

__all__ = ["CRITERIA", "NOT_HERE", "SPELLINGS", "Ask", "Criterion", "Kind", "World"]
