"""A configuration's decisions without an installation: for `sekisho policy` and tests of
operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from _fastpath.errors import WireError
from _fastpath.explain import explain
from _fastpath.head import normal_host, normal_path
from _fastpath.snapshot import Snapshot
from edge.config.compile import ConfigRefused, compile_snapshot
from edge.config.load import load
from edge.config.model import Config, RuleSet
from edge.config.problem import Mark, Problem, did_you_mean
from edge.config.source import Items, Map, mark_at, parse
from edge.config.world import ConfigWorld, InstallationKeys, StoreObjects

ENCODED_SLASH = 2  # snapshot.pxd, APP_ENCODED_SLASH
VERDICTS = ("allow", "deny", "login", "bypass", "service", "unavailable", "unknown-host")
PERSON = ("email", "method", "groups", "amr", "claims")
FACTS = (*PERSON, "ip", "service_token")


class BadCase(Exception):
    """A configuration or case that can't be run; problems are lines for the operator."""

    def __init__(self, problems: Sequence[object]) -> None:
        self.problems = [str(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Case:
    place: str
    url: str
    facts: dict[str, Any]
    expect: dict[str, str]


class Rehearsal:
    """One configuration, compiled with keys of no importance."""

    def __init__(self, path: Path) -> None:
        """Raise BadCase when the configuration has errors."""
        loaded = load(path)
        if not loaded.ok or loaded.config is None:
            raise BadCase(loaded.errors)
        # Every service token that rules name exists here, under its name: the store is elsewhere
        tokens = {word: [word, word, []] for word in named_tokens(loaded.config)}
        objects = StoreObjects(service_tokens=tokens)
        keys = InstallationKeys(aud_key=bytes(32), hash_key=bytes(16))
        try:
            data = compile_snapshot(loaded, version=1, objects=objects, keys=keys)
        except ConfigRefused as refused:
            raise BadCase(refused.problems) from refused
        self.snapshot = Snapshot(data)
        self.world = ConfigWorld(loaded.config, loaded.list_items, objects, keys)
        self.providers = sorted(self.world.provider_ids)

    def explain(self, url: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return _fastpath.explain.explain's answer; facts name the method as the configuration
        does."""
        host, path = self.place(url)
        known = {key: value for key, value in facts.items() if key != "method"}
        if "method" in facts:
            known["idp"] = self.method(facts["method"])
        try:
            told = explain(self.snapshot, host, path, known)
        except ValueError as error:
            raise BadCase([f"{error}"]) from error
        if (note := self.unnamed_token(facts)) is not None:
            told["note"] = note
        app = told["application"]
        if app is not None and not self.snapshot.settings["applications"][app["aud"]]["fixed_aud"]:
            app["aud"] = app["id"] = (
                None  # the installation's keys make them, and they are not here
            )
        return told

    def unnamed_token(self, facts: Mapping[str, Any]) -> str | None:
        """Return a sentence when no rule names the service token of these facts: mistyped, say."""
        word = facts.get("service_token")
        if word is None or self.world.service_token(str(word)) is not None:
            return None
        near = did_you_mean(str(word), self.world.service_tokens)
        return f"no rule names a service token “{word}”{near}"

    def method(self, word: str | None) -> str | None:
        if word is None:
            return None
        found = self.world.provider(word)
        if found is None:
            raise BadCase(
                [f"there is no identity provider “{word}”{did_you_mean(word, self.providers)}"]
            )
        return found

    def place(self, url: str) -> tuple[bytes, bytes]:
        """Return host and path as a request for this URL has them."""
        parts = urlsplit(url if "://" in url else f"https://{url}")
        try:
            host, _ = normal_host(parts.netloc.encode())
            path = normal_path((parts.path or "/").encode(), True)
        except (WireError, ValueError) as error:
            raise BadCase([f"{url}: no request is let through with this URL: {error}"]) from error
        app = self.snapshot.place(host, path)["application"]
        if b"%2F" in path and not (app and app["flags"] & ENCODED_SLASH):
            raise BadCase([f"{url}: an encoded slash is refused here (encoded_slash)"])
        return host, path

    def run(self, case: Case) -> dict[str, Any]:
        """Return {place, url, passed, expected, got}, and a note where there is one."""
        told = self.explain(case.url, case.facts)
        verdict = told["verdict"] if told["host_known"] else "unknown-host"
        got = {"expect": verdict, "policy": told["policy_name"] or "", "reason": told["reason"]}
        shown = {key: got[key] for key in case.expect}
        note = self.unnamed_token(case.facts)
        return {
            "place": case.place, "url": case.url, "passed": shown == case.expect,
            "expected": sentence(case.expect), "got": sentence(shown),
            **({} if note is None else {"note": note}),
        }  # fmt: skip


def sentence(expect: Mapping[str, str]) -> str:
    return ", ".join(
        value if key == "expect" else f"{key} “{value}”" for key, value in expect.items()
    )


def named_tokens(config: Config) -> set[str]:
    parts: list[RuleSet] = [*config.groups]
    parts += [policy for app in config.applications for policy in app.policies]
    return {
        word
        for part in parts
        for rule in part.rules
        for kind, word in rule.criterion.references()
        if kind == "service token"
    }


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a file; raises BadCase with every problem and its place."""
    problems: list[Problem] = []

    def complain(mark: Mark, text: str) -> None:
        problems.append(Problem(str(path), *mark, text))

    try:
        data = parse(path.read_bytes(), complain)
    except OSError as error:
        raise BadCase([f"{path}: {error.strerror}"]) from error
    items = data.get("cases") if data is not None else None
    cases = []
    if isinstance(items, Items):
        for item, raw in zip(items, items.items_at, strict=True):
            case = one_case(str(path), item, mark_at(raw), complain)
            if case is not None:
                cases.append(case)
    elif not problems:
        complain(Mark(1, 1), "“cases” is missing: a list of cases")
    if problems:
        raise BadCase(sorted(problems))
    return cases


def one_case(file: str, item: Any, mark: Mark, complain: Any) -> Case | None:
    if not isinstance(item, Map):
        complain(mark, "a case is a mapping with url and expect")
        return None
    known = ("url", "expect", "policy", "reason", *FACTS)
    good = True
    for key in item:
        if key not in known:
            complain(
                mark_at(item.keys_at[key]),
                f"there is no key “{key}” here{did_you_mean(key, known)}",
            )
            good = False
    for key in ("url", "expect"):
        if not isinstance(item.get(key), str):
            complain(mark, f"“{key}” is missing")
            good = False
    if isinstance(item.get("expect"), str) and item["expect"] not in VERDICTS:
        near = did_you_mean(item["expect"], VERDICTS)
        complain(mark_at(item.values_at["expect"]), f"“{item['expect']}” is not a verdict{near}")
        good = False
    if not good:
        return None
    facts = {key: item[key] for key in FACTS if item.get(key) is not None}
    if any(key in facts for key in PERSON):
        # a case states the whole person
        facts = {key: None for key in PERSON} | facts
        facts["groups"] = facts["groups"] or []
    expect = {key: item[key] for key in ("expect", "policy", "reason") if item.get(key) is not None}
    return Case(f"{file}:{mark.line}", item["url"], facts, expect)
