"""Decisions for Python: what control, the command line and tests ask, and why it came out so.

The same program as on the data path, over facts in a dict."""

import ipaddress

from _fastpath.facts import KINDS

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from _fastpath.errors cimport reason_name
from _fastpath.facts cimport FACT_KNOWN, FactSet, facts_address, facts_clear, facts_person, facts_service
from _fastpath.policy cimport (
    NO, TRUE_, Decision, Permit, Run, admit_preflight, ask, block_truth, could_allow, decide, start,
)
from _fastpath.slice cimport Slice, slice_bytes, slice_of
from _fastpath.snapshot cimport OP_COUNT, Block, Instr, Place, Snapshot, application_dict, route_dict


VERDICTS = ("deny", "allow", "login", "bypass", "service", "unavailable")
TRUTHS = ("unknown", "false", "true")
DECISIONS = ("", "allow", "deny", "bypass", "non_identity")
OPS = ("unknown", "everyone", "email", "email_domain", "ip", "login_method", "idp_group", "oidc", "auth_method",
       "service_token", "any_valid_service_token", "group")


@cython.final
cdef class Asker:
    """Facts from a dict, alive as long as this object: {"email", "idp", "groups", "amr", "claims", "ip",
    "service_token"}. Missing = unknown, None = there is none. Somebody is signed in when any fact of a person is a key,
    or "signed_in" is true. A service token that is not given is none."""
    def __init__(self, Snapshot snapshot, dict facts):
        cdef bytes packed
        unknown = facts.keys() - KINDS.keys() - {"signed_in"}
        if unknown:
            raise ValueError(f"no such fact: {sorted(unknown)[0]}")
        facts_clear(&self.f)
        person = {k: facts[k] for k in ("email", "idp", "groups", "amr", "claims") if k in facts}
        if facts.get("signed_in", bool(person)):
            self.person = FactSet(**person)
            facts_person(&self.f, snapshot, self.person)
        packed = None if facts.get("ip") is None else address_bytes(facts["ip"])
        facts_address(&self.f, NULL if packed is None else <uint8_t*>PyBytes_AS_STRING(packed))
        if facts.get("service_token") is not None:
            self.token = facts["service_token"].encode()
            facts_service(&self.f, snapshot, slice_of(<const uint8_t*>self.token, len(self.token)))


def address_bytes(str text) -> bytes:
    """Return the 16 bytes of an IP address, IPv4 in its mapped form; raises ValueError."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return found.packed if found.version == 6 else b"\0" * 10 + b"\xff\xff" + found.packed


cdef dict decision_dict(const Decision* d, const Permit* permit):
    return {
        "verdict": VERDICTS[d.verdict], "reason": reason_name(d.reason).decode(),
        "policy": d.policy if d.policy >= 0 else None, "rule": d.rule if d.rule >= 0 else None,
        "missing": [name for name, bit in KINDS.items() if d.missing & bit],
        "permit": permit.application != 0, "method_refused": bool(d.method_refused),
    }


cdef Place place_of(Snapshot snapshot, bytes host, bytes path):
    cdef Place place
    snapshot.find(slice_of(<const uint8_t*>host, len(host)), slice_of(<const uint8_t*>path, len(path)), &place)
    return place


cdef bytes wire_text(object text):
    return text if isinstance(text, bytes) else text.encode()


def judge(Snapshot snapshot, host, path, dict facts) -> dict:
    """Return {"verdict", "reason", "policy", "rule", "missing", "permit", "method_refused"} for a normalised host and path."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, facts)
    cdef Decision d
    cdef Permit permit
    decide(snapshot, place.app, &asker.f, &d, &permit)
    return decision_dict(&d, &permit)


def judge_preflight(Snapshot snapshot, host, path) -> dict:
    """Return what judge returns, for a CORS preflight."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Decision d
    cdef Permit permit
    admit_preflight(snapshot, place.app, &d, &permit)
    return decision_dict(&d, &permit)


def judge_repeatedly(Snapshot snapshot, host, path, dict facts, uint64_t times) -> int:
    """Decide that many times without Python in between, for the benchmark; returns how many were admitted."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, facts)
    cdef Decision d
    cdef Permit permit
    cdef uint64_t _n, admitted = 0
    with nogil:
        for _n in range(times):
            decide(snapshot, place.app, &asker.f, &d, &permit)
            admitted += permit.application != 0
    return admitted


def find_repeatedly(Snapshot snapshot, host, path, uint64_t times) -> int:
    """Find host and path that many times, for the benchmark; returns how often an application was found."""
    cdef bytes h = wire_text(host), p = wire_text(path)
    cdef Slice host_slice = slice_of(<const uint8_t*>h, len(h)), path_slice = slice_of(<const uint8_t*>p, len(p))
    cdef Place place
    cdef uint64_t _n, found = 0
    with nogil:
        for _n in range(times):
            snapshot.find(host_slice, path_slice, &place)
            found += place.app != NULL
    return found


def may_allow(Snapshot snapshot, host, path, dict facts) -> bool:
    """Tell whether an allow policy of this application could still be true: facts that are not given may turn out any way.

    With only e-mail, sign-in method and address given this decides whether a PIN is worth sending."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, dict(facts, signed_in=True))
    return place.app != NULL and could_allow(place.app, &asker.f)


cdef dict explain_rules(Snapshot snapshot, Run* run, uint32_t first, uint32_t n):
    cdef uint32_t j
    cdef int32_t rule
    cdef const Instr* i
    rules = []
    for j in range(n):
        i = &run.app.instrs[first + j]
        rule = ask(run, i)
        rules.append({
            "rule": j, "criterion": OPS[i.op if i.op < OP_COUNT else 0],
            "text": slice_bytes(snapshot.text_of(run.app, first + j)).decode(),
            "truth": "true" if rule >= 0 else ("false" if rule == NO else "unknown"),
        })
    return {"rules": rules}


cdef dict explain_block(Snapshot snapshot, Run* run, const Block* b):
    cdef uint32_t first = b.plain
    cdef int32_t matched = NO
    cdef int truth
    cdef uint32_t missing
    run.missing = 0
    truth = block_truth(run, b, &matched)
    missing = run.missing
    told = {
        "number": b.number, "name": slice_bytes(slice_of(run.app.base + b.name, b.name_len)).decode(),
        "id": slice_bytes(slice_of(run.app.base + b.ident, b.ident_len)).decode(),
        "decision": DECISIONS[b.decision], "truth": TRUTHS[truth],
        "rule": matched if truth == TRUE_ else None,
        "missing": [name for name, bit in KINDS.items() if missing & bit],
        "session_duration": b.session_duration if b.session_duration >= 0 else run.app.session_duration,
    }
    for section, n in (("include", b.n_plain_include), ("require", b.n_plain_require), ("exclude", b.n_plain_exclude)):
        told[section] = explain_rules(snapshot, run, first, n)["rules"]
        first += <uint32_t>n
    return told


def explain(Snapshot snapshot, host, path, dict facts) -> dict:
    """Return what judge returns, and why.

    {"verdict", "reason", "policy" (its number as written), "policy_name", "rule", "missing", "permit", "method_refused",
     "session_duration" (seconds: the deciding policy's, or the application's), "host_known",
     "application": dict | None, "route": dict | None,
     "policies": [{"number", "name", "id", "decision", "truth", "rule", "missing", "session_duration", "reached",
                   "include"|"require"|"exclude": [{"rule", "criterion", "text", "truth"}]}]}   in the order of evaluation.
    host and path are normalised text or bytes; facts as Asker takes them."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, facts)
    cdef Decision d
    cdef Permit permit
    cdef Run run
    cdef uint32_t j
    decide(snapshot, place.app, &asker.f, &d, &permit)
    told = decision_dict(&d, &permit)
    told["host_known"] = bool(place.host_known)
    told["application"] = application_dict(place.app) if place.app != NULL else None
    told["route"] = route_dict(place.route) if place.route != NULL else None
    told["policies"] = []
    told["policy_name"] = told["session_duration"] = None
    if place.app == NULL:
        return told
    told["session_duration"] = place.app.session_duration
    nobody = told["method_refused"] or asker.f.person == NULL or asker.f.service_state == FACT_KNOWN
    start(&run, place.app, &asker.f)
    reached = True
    for j in range(place.app.n_policies):
        policy = explain_block(snapshot, &run, &place.app.policies[j])
        if policy["decision"] in ("allow", "deny") and nobody:
            reached = False
        policy["reached"] = reached
        told["policies"].append(policy)
        if policy["number"] == told["policy"]:
            told["policy_name"], told["session_duration"] = policy["name"], policy["session_duration"]
            reached = False
    return told
