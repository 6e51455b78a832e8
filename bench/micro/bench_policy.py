"""A decision by the compiled program, with few and with many rules; finding the application;
reading a configuration.

Rules are spread as people write them: 10 policies an application (every fifth denies), each with
addresses, domains, groups,
networks, a claim and a list, so that nothing matches before the last policy: the worst case of an
ordinary configuration."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _fastpath.explain import find_repeatedly, judge, judge_repeatedly
from _fastpath.snapshot import Snapshot
from bench.figure import Bar, Figure
from edge.config import Workshop
from tests.kit.large_config import write
from tests.kit.policy_cases import KEYS, OBJECTS, application, compiled

BAR = 1000.0   # ns
PERSON = {
    "email": "last@example.com", "idp": "sso", "groups": ["staff", "x", "y"], "amr": ["pwd", "mfa"],
    "claims": {"role": "engineer"}, "ip": "198.51.100.7",
}  # fmt: skip


def rule(number: int) -> dict[str, Any]:
    match number % 6:
        case 0 | 1:
            return {"email": f"user{number}@example.org"}
        case 2:
            return {"email_domain": f"d{number}.example.net"}
        case 3:
            return {"ip": f"10.{number % 250}.{number // 250}.0/24"}
        case 4:
            return {"idp_group": f"group {number}"}
        case _:
            return {"oidc": {"claim_name": "role", "claim_value": f"role {number}"}}


def policies(rules: int) -> list[dict[str, Any]]:
    """rules over ten policies (one, when there are few); the last policy's last rule is the one
    that is true."""
    count = 10 if rules >= 100 else 1
    share = rules // count
    made = []
    for n in range(count):
        include = [rule(n * share + k) for k in range(share)]
        made.append({"decision": "deny" if n % 5 == 2 else "allow", "include": include})
    made[-1]["decision"] = "allow"
    made[-1]["include"][-1] = {"email": "last@example.com"}
    return made


def snapshot(rules: int) -> Snapshot:
    """At most 1,000 rules an application; the application asked for is one of as many as it
    takes."""
    share = min(rules, 1000)
    parts = [
        application(policies(share), name=f"App {n}", domain=f"app{n}.example.com")
        for n in range(rules // share)
    ]
    return compiled(applications=parts)


def longest_list(entries: int) -> Snapshot:
    with tempfile.TemporaryDirectory() as folder:
        emails, nets = Path(folder) / "emails", Path(folder) / "nets"
        emails.write_text("\n".join(f"user{n}@example.com" for n in range(entries)))
        nets.write_text(
            "\n".join(
                f"{10 + (n >> 18)}.{n >> 10 & 255}.{n >> 2 & 255}.{(n & 3) * 64}/27"
                for n in range(entries)
            )
        )
        lists = [
            {"name": "people", "type": "email", "file": str(emails)},
            {"name": "nets", "type": "ip", "file": str(nets)},
        ]
        allow = [
            {"decision": "deny", "include": [{"ip_list": "nets"}]},
            {"decision": "allow", "include": [{"email_list": "people"}]},
        ]
        return compiled(lists=lists, applications=[application(allow, domain="app0.example.com")])


def each(shot: Snapshot, times: int, person: dict[str, Any]) -> float:
    assert judge(shot, "app0.example.com", "/", person)["verdict"] == "allow"
    begun = time.process_time()
    assert judge_repeatedly(shot, "app0.example.com", "/", person, times) == times
    return (time.process_time() - begun) / times * 1e9


def policy(quick: bool = False) -> Figure:
    """ns per decision among 10, 1,000 and 10,000 rules, each beside the bar of 1 µs."""
    times = 20_000 if quick else 200_000
    rounds = 3 if quick else 9
    shots = {rules: snapshot(rules) for rules in (10, 1_000, 10_000)}
    figure = Figure("policy", "ns", "a decision by the last of ten policies, median of rounds")
    taken: dict[int, list[float]] = {rules: [] for rules in shots}
    for _ in range(rounds):
        for rules, shot in shots.items():
            taken[rules].append(each(shot, times, PERSON))
    for rules, found in taken.items():
        figure.bars[f"{rules:,} rules ns"] = Bar(statistics.median(found), BAR)
        figure.notes[f"{rules:,} rules ns, worst round"] = max(found)
    entries = 10_000 if quick else 1_000_000
    long = longest_list(entries)
    member = {**PERSON, "email": f"user{entries // 2}@example.com"}
    begun = time.process_time()
    find_repeatedly(shots[10_000], "app5.example.com", "/some/where/deep", times)
    find = (time.process_time() - begun) / times * 1e9
    figure.notes |= {
        f"two lists of {entries:,} ns": each(long, times, member),
        "find host and path ns": find,
    }
    return figure


def configuration(quick: bool = False) -> Figure:
    """s of CPU for a whole file of 1,000 applications with ten policies each, over one change in
    one of ten files."""
    applications = 50 if quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        whole = write(Path(folder) / "", applications)

        def read_all() -> float:
            begun = time.process_time()
            shop = Workshop(whole)
            Snapshot(shop.compile(shop.load(), version=1, objects=OBJECTS, keys=KEYS))
            return time.process_time() - begun

        with tempfile.TemporaryDirectory() as other:
            shop = Workshop(write(Path(other), applications, files=10))
            shop.compile(shop.load(), version=1, objects=OBJECTS, keys=KEYS)
            changed = Path(other) / "conf.d" / "04.yml"
            text = changed.read_text()

            def read_change() -> float:
                nonlocal text
                text = text.replace(".3@example.com", ".33@example.com", 1)
                changed.write_text(text)
                begun = time.process_time()
                Snapshot(shop.compile(shop.load(), version=2, objects=OBJECTS, keys=KEYS))
                assert shop.fragments.compiled == 1
                return time.process_time() - begun

            figure = Figure("configuration", "s", "reading everything over reading one change")
            return figure.interleave(1 if quick else 3, read_all, read_change)


if __name__ == "__main__":
    for made in (policy(), configuration()):
        print(made.text())
