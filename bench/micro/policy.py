"""A policy decision with 10, 1,000 and 10,000 rules in the snapshot, beside the bar of 1 µs."""

import time

from _fastpath.policy import judge_repeatedly
from _fastpath.snapshot import Snapshot
from bench.figure import Figure
from tests.kit.policy_cases import compiled

BAR = 1000.0   # ns
PER_APPLICATION = 1000
FACTS = {"signed_in": True, "email": "last@example.com", "idp": "pin", "ip": "192.0.2.7"}


def snapshot(rules: int) -> Snapshot:
    """The decision under test is the last policy of the last application, its last rule."""
    applications, number = [], 0
    while number < rules:
        here = min(PER_APPLICATION, rules - number)
        policies = []
        for first in range(0, here, 50):
            count = min(50, here - first)
            include = [{"email": f"p{number + first + i}@example.org"} for i in range(count)]
            policies.append({"name": f"P{first}", "decision": "allow", "include": include})
        policies[-1]["include"][-1] = {"email": "last@example.com"}
        host = f"app{len(applications)}.example.com"
        applications.append({"name": host, "domain": host, "policies": policies})
        number += here
    routes = [{"hostname": a["domain"], "service": "http://127.0.0.1:1"} for a in applications]
    return compiled(applications=applications, routes=routes)


def policy(quick: bool) -> Figure:
    """ns per decision with 10,000 rules over the bar of 1 µs; fewer rules in the notes."""
    figure = Figure("policy", "ns", "ns of a decision over the bar of 1 µs, 10,000 rules")
    times = 100_000 if quick else 1_000_000
    for rules in (10, 1000, 10_000):
        one = snapshot(rules)
        host = f"app{(rules - 1) // PER_APPLICATION}.example.com"
        taken = []
        for _ in range(3 if quick else 7):
            started = time.perf_counter()
            admitted = judge_repeatedly(one, host, "/", FACTS, times)
            taken.append((time.perf_counter() - started) / times * 1e9)
            if admitted != times:
                raise RuntimeError(f"{admitted} of {times} admitted with {rules} rules")
        figure.notes[f"ns with {rules} rules"] = min(taken)
    figure.ours, figure.theirs = taken, [BAR] * len(taken)
    return figure
