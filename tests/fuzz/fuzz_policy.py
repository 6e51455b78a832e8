
"""A snapshot is refused with SnapshotDamaged or decides: nothing crashes, nothing else is raised, a
permit goes only with
allow, bypass and service, and what is explained is what is decided.

The first byte says what the rest is: B a snapshot's bytes as they are, S the same with the SHA-256
that fits (only the
structural checks are left), P patches to a good snapshot (offset, value), sealed again; F facts, as
JSON, on good ones."""

import hashlib
import json

from _fastpath.explain import explain, judge, may_allow
from _fastpath.snapshot import DIGEST_AT, HEADER_SIZE, Snapshot, SnapshotDamaged
from tests.kit.policy_cases import application, compiled_bytes

POLICIES = [
    {"decision": "bypass", "include": [{"ip": "10.1.2.3"}, {"ip": "10.3.0.0/16"}, {"ip": "::1"}]},
    {"decision": "non_identity", "include": [{"service_token": "Robot"}]},
    {"decision": "deny", "include": [{"idp_group": "banned"}, {"email": "eve@example.com"}]},
    {
        "decision": "allow",
        "include": [{"email": "ada@example.com"}, {"email": "b@example.com"}, {"group": "g"}],
        "require": [{"oidc": {"claim_name": "c", "claim_value": "v"}}],
        "exclude": [{"auth_method": "otp"}, {"login_method": "PIN"}],
    },
]
GOOD = compiled_bytes(
    groups=[{"name": "g", "include": [{"email_domain": "example.com"}]}],
    applications=[
        application(POLICIES),
        application(POLICIES[3:], name="Inner", domain="app.example.com/in/*"),
    ],
)
SNAPSHOT = Snapshot(GOOD)
PEOPLE: list[dict[str, object]] = [
    {},
    {"ip": "10.3.1.1"},
    {"email": "ada@example.com", "idp": "sso", "groups": [], "amr": ["mfa"], "claims": {"c": "v"}, "ip": "::2"},
    {"service_token": "token-1"},
]  # fmt: skip
TOKENS = [
    b"ada@example.com", b'"email":', b'"idp":"sso"', b'"groups":["banned"]', b'"amr":', b'"claims":{"c":"v"}',
    b'"ip":"::ffff:10.3.0.1"', b'"service_token":"token-1"', b"null", b"\\ud800", b"example.com",
]  # fmt: skip


def sealed(data: bytearray) -> bytes:
    digest = hashlib.sha256(bytes(data[:DIGEST_AT]) + bytes(data[DIGEST_AT + 32 :])).digest()
    data[DIGEST_AT : DIGEST_AT + 32] = digest
    return bytes(data)


def patched(rest: bytes) -> bytes:
    data = bytearray(GOOD)
    for at in range(0, len(rest) - 2, 3):
        place = 32 + int.from_bytes(rest[at : at + 2], "little") % (len(data) - 32)
        data[place] = rest[at + 2]
    return sealed(data)


def decides(snapshot: Snapshot, facts: dict[str, object], *, whole: bool) -> None:
    for path in ("/", "/in/x"):
        got = judge(snapshot, "app.example.com", path, facts)
        assert got["permit"] == (got["verdict"] in ("allow", "bypass", "service"))
        may_allow(snapshot, "app.example.com", path, facts)
        if whole:  # texts for people need not be UTF-8 in a damaged one
            told = explain(snapshot, "app.example.com", path, facts)
            assert {key: told[key] for key in got} == got
    if not facts:
        assert judge(snapshot, "app.example.com", "/in/x", {})["verdict"] != "allow"


def fuzz(data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    if kind == b"F":
        try:
            facts = json.loads(rest)
        except ValueError:
            return
        if isinstance(facts, dict):
            try:
                decides(SNAPSHOT, facts, whole=True)
            except (ValueError, TypeError, AttributeError):
                return  # a wrong type, said before anything is decided
        return
    if kind == b"P":
        raw = patched(rest)
    elif kind == b"S" and len(rest) >= HEADER_SIZE:
        raw = sealed(bytearray(rest))
    else:
        raw = rest
    try:
        snapshot = Snapshot(raw)
    except SnapshotDamaged:
        return
    for facts in PEOPLE:
        decides(snapshot, facts, whole=False)
