"""The connector's configuration, in cloudflared's shape: text -> checked settings and rules.

Everything that is wrong is reported at once, each with file:line:column. A key whose neglect would
weaken a check is an error when we don't do what it says; a harmless one is a warning.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import re2

from edge.config.problem import Mark, Problem, did_you_mean
from edge.config.source import Items, Map, RawMark, mark_at, parse
from edge.connector.origin_request import ORIGIN_KEYS, OriginRequest, read_origin_request
from edge.connector.scalars import read_address, read_duration, read_number, read_text
from edge.connector.service import (
    Pattern,
    Service,
    ServiceRefused,
    parse_pattern,
)
from edge.connector.service import (
    parse as parse_service,
)

MAX_RULES = 1000  # rules of one file; the edge refuses larger tables
MAX_PATHS = 64  # rules with a path
MAX_PATTERN = 1024  # bytes of one path pattern

FOLDERS = ("~/.sekisho", "/etc/sekisho", "/usr/local/etc/sekisho")
NAMES = ("config.yml", "config.yaml")

# cloudflared's keys that mean nothing here and do no harm
HARMLESS = {
    "autoupdate-freq", "no-autoupdate", "protocol", "post-quantum", "region", "edge-ip-version",
    "edge-bind-address", "retries", "max-edge-addr-retries", "tag", "label", "pidfile", "features",
    "transport-loglevel", "log-directory", "logDirectory", "origincert", "compression-quality",
    "management-diagnostics", "no-prechecks", "dial-edge-timeout", "rpc-timeout", "output",
}  # fmt: skip
KEYS = {
    "tunnel", "credentials-file", "ingress", "originRequest", "metrics", "loglevel", "logfile",
    "grace-period", "links", "ha-connections", "edge", "allow", "warp-routing", "hello-world",
    "url",
}  # fmt: skip
RULE_KEYS = {"hostname", "path", "service", "originRequest"}

Complain = Callable[[RawMark, str, str], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One ingress rule. An empty hostname takes every host, an empty path every path."""

    index: int
    hostname: str
    path: str
    service: Service
    origin: OriginRequest
    line: int = 0

    def announced(self) -> dict[str, Any]:
        """Return the rule as the edge is told it: no dial options, no files, no secrets."""
        entry: dict[str, Any] = {
            "index": self.index,
            "hostname": self.hostname,
            "path": self.path,
            "service": self.service.text,
        }
        if options := self.origin.edge_side():
            entry["options"] = options
        return entry

    def takes(self, host: str, path: str) -> bool:
        """Return True when the rule matches, with cloudflared's semantics."""
        if self.hostname.startswith("*."):
            if not host.endswith(self.hostname[1:]):
                return False
        elif self.hostname and self.hostname != host:
            return False
        return not self.path or re2.search(self.path, path) is not None


@dataclass(frozen=True, slots=True)
class Settings:
    """A checked configuration."""

    file: Path | None
    tunnel: str = ""
    credentials_file: Path | None = None
    rules: tuple[Rule, ...] = ()
    metrics: tuple[str, int] | None = None
    loglevel: str = "info"
    logfile: Path | None = None
    grace: float = 30.0
    links: int = 4
    edge: tuple[str, ...] = ()
    allow: tuple[Pattern, ...] = ()
    defaults: OriginRequest = field(default_factory=OriginRequest)


@dataclass(frozen=True, slots=True)
class Read:
    """A configuration file that was read: settings only when there is no error."""

    settings: Settings | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(one for one in self.problems if one.level == "error")


def find_file(folders: Iterable[str] = FOLDERS) -> Path | None:
    """Return the first configuration file that exists in the usual folders."""
    for folder in folders:
        for name in NAMES:
            path = Path(folder).expanduser() / name
            if path.is_file():
                return path
    return None


def read_file(path: Path) -> Read:
    """Read and check a configuration file; nothing is raised for what is wrong in it."""
    try:
        text = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        return Read(None, (Problem(str(path), 1, 1, f"can't be read: {reason}"),))
    return read_text_of(text, path)


def read_text_of(text: bytes, path: Path) -> Read:
    """Check a configuration's text; `path` names it in problems, files are relative to it."""
    problems: list[Problem] = []

    def unreadable(mark: Mark, sentence: str) -> None:
        problems.append(Problem(str(path), mark.line, mark.column, sentence))

    def complain(mark: RawMark, sentence: str, level: str = "error") -> None:
        problems.append(Problem(str(path), *mark_at(mark), sentence, level))

    document = parse(text, unreadable)
    settings = _settings(document, path, complain) if document is not None else None
    ordered = tuple(sorted(problems, key=lambda one: (one.line, one.column)))
    if any(one.level == "error" for one in ordered):
        settings = None
    return Read(settings, ordered)


def _settings(document: Map, path: Path, complain: Complain) -> Settings:
    for key, mark in document.keys_at.items():
        if key in HARMLESS:
            complain(mark, f"“{key}” has no meaning here and is ignored", "warning")
        elif key not in KEYS:
            complain(mark, f"there is no key “{key}” here{did_you_mean(key, KEYS)}", "error")
    get = _Reader(document, complain)
    for key in ("hello-world", "url"):
        if key in document:
            complain(
                document.keys_at[key], f"“{key}” is not supported: write an ingress rule", "error"
            )
    warp = document.get("warp-routing")
    if isinstance(warp, Map) and warp.get("enabled") not in (None, "false"):
        complain(document.keys_at["warp-routing"], "warp-routing is not supported", "error")
    defaults = OriginRequest()
    request = document.get("originRequest")
    if request is not None:
        defaults = read_origin_request(
            request, document.values_at["originRequest"], defaults, path.parent, complain
        )
    if "links" in document and "ha-connections" in document:
        complain(document.keys_at["ha-connections"], "the same as “links”: write one", "error")
    links = get.number("links", 0, 1, 64) or get.number("ha-connections", 4, 1, 64)
    metrics = get.address("metrics")
    if metrics is not None and not _loopback(metrics[0]):
        complain(
            document.values_at["metrics"],
            f"/ready and /metrics are for this machine, {metrics[0]} is for others too",
            "warning",
        )
    credentials = get.text("credentials-file")
    logfile = get.text("logfile")
    return Settings(
        file=path,
        tunnel=get.text("tunnel"),
        credentials_file=near(path, credentials),
        rules=_rules(document, defaults, path, complain),
        metrics=metrics,
        loglevel=get.choice("loglevel", "info", ("debug", "info", "warn", "error", "fatal")),
        logfile=near(path, logfile),
        grace=get.duration("grace-period", 30.0, 180.0),
        links=links,
        edge=get.texts("edge"),
        allow=_allow(document, complain),
        defaults=defaults,
    )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def near(path: Path, name: str) -> Path | None:
    """Return a file named in the configuration: relative to it, `~` expanded."""
    return path.parent / Path(name).expanduser() if name else None


class _Reader:
    """Typed reading of one mapping's scalars; each problem is told at its value."""

    def __init__(self, values: Map, complain: Complain) -> None:
        self.values, self.complain = values, complain

    def text(self, key: str) -> str:
        return read_text(self.values, key, "", self.complain)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        return read_number(self.values, key, default, least, most, self.complain)

    def duration(self, key: str, default: float, most: float) -> float:
        return read_duration(self.values, key, default, most, self.complain)

    def address(self, key: str) -> tuple[str, int] | None:
        return read_address(self.values, key, self.complain)

    def choice(self, key: str, default: str, known: tuple[str, ...]) -> str:
        value = self.text(key) or default
        if value not in known:
            self.complain(
                self.values.values_at[key], f"“{value}” is none of {', '.join(known)}", "error"
            )
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, Items) or not all(isinstance(one, str) for one in value):
            self.complain(self.values.values_at[key], f"“{key}” is a list of texts", "error")
            return ()
        return tuple(value)


def _allow(document: Map, complain: Complain) -> tuple[Pattern, ...]:
    value = document.get("allow")
    if value is None:
        return ()
    if not isinstance(value, Items):
        complain(document.values_at["allow"], "“allow” is a list of patterns", "error")
        return ()
    found = []
    for one, mark in zip(value, value.items_at, strict=True):
        try:
            found.append(parse_pattern(str(one)))
        except ServiceRefused as error:
            complain(mark, str(error), "error")
    return tuple(found)


def _rules(
    document: Map, defaults: OriginRequest, path: Path, complain: Complain
) -> tuple[Rule, ...]:
    value = document.get("ingress")
    if value is None:
        return ()
    at = document.values_at["ingress"]
    if not isinstance(value, Items) or not value:
        complain(at, "“ingress” is a list of rules", "error")
        return ()
    if len(value) > MAX_RULES:
        complain(at, f"more than {MAX_RULES} rules", "error")
        return ()
    rules = []
    for index, (one, mark) in enumerate(zip(value, value.items_at, strict=True)):
        if not isinstance(one, Map):
            complain(mark, "a rule is a mapping with “service”", "error")
            continue
        last = index == len(value) - 1
        rule = _rule(one, mark, index, last, defaults, path, complain)
        if rule is not None:
            rules.append(rule)
    if sum(1 for rule in rules if rule.path) > MAX_PATHS:
        complain(at, f"more than {MAX_PATHS} rules have a path", "error")
    return tuple(rules)


def _rule(
    values: Map,
    mark: RawMark,
    index: int,
    last: bool,
    defaults: OriginRequest,
    path: Path,
    complain: Complain,
) -> Rule | None:
    for key, at in values.keys_at.items():
        if key not in RULE_KEYS:
            hint = did_you_mean(key, RULE_KEYS)
            if key in ORIGIN_KEYS:
                hint = " (it belongs under “originRequest”)"
            complain(at, f"a rule has no key “{key}”{hint}", "error")
    hostname = read_text(values, "hostname", "", complain)
    pattern = read_text(values, "path", "", complain)
    name = _hostname(hostname, values.values_at.get("hostname", mark), complain)
    _check_pattern(pattern, values.values_at.get("path", mark), complain)
    catch_all = not name and not pattern
    if last and not catch_all:
        complain(mark, "the last rule must match everything: no hostname, no path", "error")
    if not last and catch_all:
        complain(mark, "only the last rule may match everything: later ones are dead", "error")
    origin = defaults
    if values.get("originRequest") is not None:
        origin = read_origin_request(
            values["originRequest"],
            values.values_at["originRequest"],
            defaults,
            path.parent,
            complain,
        )
    text = read_text(values, "service", "", complain)
    if not text:
        complain(values.values_at.get("service", mark), "a rule needs a “service”", "error")
        return None
    try:
        service = parse_service(text)
    except ServiceRefused as error:
        complain(values.values_at["service"], str(error), "error")
        return None
    if origin.server_name and not service.secure:
        complain(
            values.values_at["service"],
            "originServerName needs a service under TLS (https, wss, unix+tls)",
            "warning",
        )
    return Rule(index, name, pattern, service, origin, mark.line)


_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def _hostname(text: str, mark: RawMark, complain: Complain) -> str:
    """Return the normal form: lower case, punycode, no trailing dot; "" for any host."""
    if text in ("", "*"):
        return ""
    if ":" in text:
        complain(mark, "a hostname has no port", "error")
        return text
    name = text.rstrip(".").lower()
    star = name.startswith("*.")
    rest = name[2:] if star else name
    if "*" in rest:
        complain(mark, "a wildcard stands only at the front: *.example.com", "error")
        return text
    if not rest.isascii():
        try:
            rest = rest.encode("idna").decode()
        except UnicodeError:
            complain(mark, f"“{text}” is not a hostname", "error")
            return text
    if len(rest) > 253 or not all(_LABEL.fullmatch(label) for label in rest.split(".")):
        complain(mark, f"“{text}” is not a hostname", "error")
        return text
    return f"*.{rest}" if star else rest


def _check_pattern(pattern: str, mark: RawMark, complain: Complain) -> None:
    if not pattern:
        return
    if len(pattern.encode()) > MAX_PATTERN:
        complain(mark, f"a path pattern is at most {MAX_PATTERN} bytes long", "error")
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options=options)
    except Exception as error:
        why = error.args[0] if error.args else error
        if isinstance(why, bytes):
            why = why.decode(errors="replace")
        complain(mark, f"the path pattern is not understood: {why}", "error")


def match(rules: tuple[Rule, ...], host: str, path: str) -> Rule | None:
    """Return the first rule that takes a request: what `ingress rule URL` prints."""
    return next((rule for rule in rules if rule.takes(host, path)), None)
