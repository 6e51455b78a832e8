"""What one file, or all of them together, must hold beyond its types: names, places, cycles, key
files."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from _fastpath import limits
from edge.config import lists
from edge.config.advice import advise
from edge.config.domain import Domain
from edge.config.files import MAX_LIST, is_missing, read_regular, stat_regular
from edge.config.listitems import ListItems
from edge.config.model import LISTS, Application, Config, Group, Policy, RuleSet
from edge.config.places import Located
from edge.config.problem import Mark, Problem, did_you_mean
from edge.config.rule import Rule

WORDS = {
    "identity_providers": "identity provider",
    "groups": "group",
    "lists": "list",
    "tunnels": "tunnel",
    "applications": "application",
}


class Checker:
    """Checks one merged configuration. `names` are all names and ids that the files define, also in
    parts that were wrong:
    a rule that refers to one of those is not told that it does not exist."""

    def __init__(
        self,
        config: Config,
        names: dict[str, set[str]],
        given: frozenset[str],
        kept_lists: dict[bytes, tuple[ListItems, list[tuple[int, str]]]],
        stamp: Callable[[Path], None],
    ) -> None:
        self.config = config
        self.names = names
        self.given = given  # keys that are there, perhaps wrong: those are not missing
        self.kept_lists = kept_lists
        self.stamp = stamp
        self.problems: list[Problem] = []

    def complain(
        self, part: Located, text: str, key: str | None = None, item: int | None = None
    ) -> None:
        file, mark = part.place(key, item)
        self.problems.append(Problem(file, *mark, text))

    def warn(self, place: tuple[str, Mark], text: str) -> None:
        self.problems.append(Problem(place[0], *place[1], text, "warning"))

    def run(
        self, previous: Mapping[str, Mapping[str, Any]], *, whole: bool
    ) -> dict[str, ListItems]:
        """Fill problems; return the entries of every list. whole: no file had errors so far."""
        self.unique_names()
        self.unique_hosts()
        items = self.read_lists()
        for group in self.config.groups:
            self.references(group)
        for app in self.config.applications:
            self.application(app)
        self.group_cycles()
        self.listeners()
        self.files()
        self.providers()
        self.renames(previous)
        if whole and not self.problems:
            # advice on half a configuration would be about what isn't there
            advise(self.config, self.warn)
        return items

    # -- names

    def unique_names(self) -> None:
        for section in LISTS:
            if section == "routes":
                continue
            seen: dict[str, Located] = {}
            for part in getattr(self.config, section):
                for key in ("name", "id"):
                    word = getattr(part, key)
                    if word is None or (key == "id" and word == part.name):
                        continue
                    if word in seen:
                        file, mark = seen[word].place("name")
                        self.complain(
                            part,
                            f"there is another {WORDS[section]} “{word}”, in {file}:{mark.line}",
                            key,
                        )
                    else:
                        seen[word] = part
        auds: dict[str, Application] = {}
        for app in self.config.applications:
            if app.aud is None:
                continue
            if app.aud in auds:
                self.complain(app, f"“{auds[app.aud].name}” has this AUD tag too", "aud")
            auds.setdefault(app.aud, app)

    def unique_hosts(self) -> None:
        own = {self.config.auth_domain, f"tunnel.{self.config.auth_domain}"}
        routes: dict[str, Located] = {}
        for route in self.config.routes:
            if route.hostname in own:
                self.complain(
                    route, f"“{route.hostname}” is ours: nothing is routed there", "hostname"
                )
            if route.hostname in routes:
                file, mark = routes[route.hostname].place("hostname")
                self.complain(
                    route,
                    f"“{route.hostname}” is routed twice; the other is in {file}:{mark.line}",
                    "hostname",
                )
            routes.setdefault(route.hostname, route)
        covered: dict[Domain, Application] = {}
        for app in self.config.applications:
            for number, domain in enumerate(app.covers):
                place = ("domain", None) if app.domain is not None else ("domains", number)
                if domain.host in own:
                    self.complain(app, f"“{domain.host}” is ours: no application is there", *place)
                folded = domain
                if app.case_insensitive_paths:
                    folded = Domain(domain.host, domain.path.lower())
                other = covered.setdefault(folded, app)
                if other is not app:
                    file, mark = other.place("name")
                    self.complain(
                        app,
                        f"“{domain}” belongs to “{other.name}” too, in {file}:{mark.line}",
                        *place,
                    )
                elif app.covers.index(domain) != number:
                    self.complain(app, f"“{domain}” is here twice", *place)

    def known(self, kind: str, word: str) -> bool:
        if kind == "provider":
            return word in self.names["identity_providers"]
        if kind == "group":
            return word in self.names["groups"]
        return word in self.names["lists"]

    def references(self, part: RuleSet) -> None:
        for rule in part.rules:
            for kind, word in rule.criterion.references():
                if kind == "service token":
                    continue  # in the store: a warning when the snapshot is made
                if not self.known(kind, word):
                    self.missing(part.place()[0], rule.at, kind, word)
                elif kind.endswith(" list"):
                    self.list_type(part.place()[0], rule, kind.removesuffix(" list"), word)

    def missing(self, file: str, mark: Mark, kind: str, word: str) -> None:
        what, section = {
            "provider": ("identity provider", "identity_providers"),
            "group": ("group", "groups"),
        }.get(kind, (kind, "lists"))
        near = did_you_mean(word, self.names[section])
        self.problems.append(Problem(file, *mark, f"there is no {what} “{word}”{near}"))

    def list_type(self, file: str, rule: Rule, kind: str, word: str) -> None:
        for one in self.config.lists:
            if word in (one.name, one.id) and one.type != kind:
                self.problems.append(
                    Problem(file, *rule.at, f"the list “{word}” is of type {one.type}, not {kind}")
                )

    def application(self, app: Application) -> None:
        for policy in app.policies:
            self.references(policy)
        seen: dict[str, Policy] = {}
        for policy in app.policies:
            if policy.name in seen:
                _, mark = seen[policy.name].place("name")
                self.complain(
                    policy, f"this application has another policy “{policy.name}”, in line "
                            f"{mark.line}",
                    "name",
                )  # fmt: skip
            seen.setdefault(policy.name, policy)
        for number, word in enumerate(app.allowed_idps):
            if not self.known("provider", word):
                near = did_you_mean(word, self.names["identity_providers"])
                self.complain(
                    app, f"there is no identity provider “{word}”{near}", "allowed_idps", number
                )
        offered = len(app.allowed_idps) or len(self.config.identity_providers)
        if app.auto_redirect_to_identity and offered > 1:
            self.complain(
                app,
                "“auto_redirect_to_identity” needs exactly one identity provider; name it in "
                "“allowed_idps”",
                "auto_redirect_to_identity",
            )

    # -- groups

    def group_cycles(self) -> None:
        names = {word: g.name for g in self.config.groups for word in (g.id, g.name) if word}
        groups = {group.name: group for group in self.config.groups}
        depths: dict[str, int] = {}  # of those that are done
        deep: list[Group] = []
        endless = False
        for start in groups:
            if start in depths:
                continue
            trail = {start: 1}  # group: depth below it so far
            walk = [self.inner_groups(groups[start], names)]
            while walk:
                here = next(reversed(trail))
                for rule, inner in walk[-1]:
                    if inner in trail:
                        endless = True
                        way = list(trail)
                        self.cycle(groups[here], rule, [*way[way.index(inner) :], inner])
                    elif inner not in depths:
                        trail[inner] = 1
                        walk.append(self.inner_groups(groups[inner], names))
                        break
                    else:
                        trail[here] = max(trail[here], depths[inner] + 1)
                else:
                    _, depth = trail.popitem()
                    depths[here] = depth
                    walk.pop()
                    if trail:
                        above = next(reversed(trail))
                        trail[above] = max(trail[above], depth + 1)
                    if depth == limits.MAX_GROUP_DEPTH + 1:  # not each one above it too
                        deep.append(groups[here])
        for group in () if endless else deep:
            self.complain(group, f"groups nest deeper than {limits.MAX_GROUP_DEPTH} levels")

    @staticmethod
    def inner_groups(group: Group, names: Mapping[str, str]) -> Iterable[tuple[Rule, str]]:
        return iter(
            [
                (rule, names[word])
                for rule in group.rules
                for kind, word in rule.criterion.references()
                if kind == "group" and word in names
            ]
        )

    def cycle(self, group: Group, rule: Rule, trail: list[str]) -> None:
        shown = trail if len(trail) <= 9 else [*trail[:4], "…", *trail[-4:]]
        way = " → ".join(name if name == "…" else f"“{name}”" for name in shown)
        self.problems.append(
            Problem(group.place()[0], *rule.at, f"groups may not contain each other: {way}")
        )

    # -- lists

    def read_lists(self) -> dict[str, ListItems]:
        items: dict[str, ListItems] = {}
        used: set[bytes] = set()
        for one in self.config.lists:
            lines: list[str] = []
            if one.file is not None:
                self.stamp(one.file)
                try:
                    lines = read_regular(one.file, MAX_LIST).decode().splitlines()
                except OSError as error:
                    self.complain(one, f"{one.file} can't be read: {error.strerror}", "file")
                except UnicodeDecodeError as error:
                    line = error.object.count(b"\n", 0, error.start) + 1
                    self.complain(one, f"{one.file}, line {line}: not UTF-8", "file")
            text = "\n".join([one.type, *one.items, "", *lines])
            digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
            used.add(digest)
            if digest not in self.kept_lists:
                self.kept_lists[digest] = lists.parse(one.type, digest, one.items, lines)
            found, wrong = self.kept_lists[digest]
            items[one.name] = found
            for number, sentence in wrong:
                if number < len(one.items):
                    self.complain(one, sentence, "items", number)
                else:
                    line = number - len(one.items) + 1
                    self.problems.append(Problem(str(one.file), line, 1, sentence))
        for stale in self.kept_lists.keys() - used:
            del self.kept_lists[stale]
        return items

    # -- listeners

    def listeners(self) -> None:
        config = self.config
        seen: dict[object, str] = {}
        for key in ("listen", "redirect", "plain", "tunnel_listen", "monitor"):
            value = getattr(config, key)
            for number, address in enumerate(
                value if isinstance(value, list) else [value] if value else []
            ):
                if address in seen:
                    self.complain(
                        config, f"“{address}” is listened on by “{seen[address]}” too", key, number
                    )
                seen.setdefault(address, key)
        for number, address in enumerate(config.proxy_protocol):
            if seen.get(address) not in ("listen", "redirect", "plain", "tunnel_listen"):
                self.complain(
                    config, f"nothing listens on “{address}”: name an address of “listen”, "
                            f"“plain” or "
                    f"“redirect”", "proxy_protocol", number,
                )  # fmt: skip
        if config.proxy_protocol and "trusted_proxies" not in self.given:
            self.complain(
                config, "“proxy_protocol” needs “trusted_proxies”: it believes nobody else",
                "proxy_protocol",
            )  # fmt: skip
        for number, address in enumerate(config.plain):
            if config.demo and address.loopback:
                continue
            if not config.trusted_proxies and "trusted_proxies" not in self.given:
                self.complain(
                    config, "“plain” needs “trusted_proxies”: sessions would cross the network "
                            "in the clear",
                    "plain", number,
                )  # fmt: skip
        if config.demo and config.plain:
            self.demo_names()
        if not self.given & {"listen", "plain"}:
            self.complain(config, "“listen” is missing: nobody could come in")
        if config.listen and "certificates" not in self.given and not config.demo:
            self.complain(config, "“certificates” is missing; “listen” needs one", "listen")

    def demo_names(self) -> None:
        names: list[tuple[Located, str, str]] = [
            (self.config, "auth_domain", self.config.auth_domain)
        ]
        names += [(route, "hostname", route.hostname) for route in self.config.routes]
        for part, key, host in names:
            if not host.endswith(".localhost"):
                self.complain(
                    part, f"with “demo” every name ends in .localhost, and “{host}” does not", key
                )

    # -- files

    def files(self) -> None:
        config = self.config
        for certificate in config.certificates:
            self.readable(certificate, "certificate", certificate.certificate, private=False)
            self.readable(certificate, "key", certificate.key, private=True)
        if config.mail is not None:
            self.readable(config.mail, "password_file", config.mail.password_file, private=True)
            self.readable(config.mail, "ca_file", config.mail.ca_file, private=False)
        for provider in config.identity_providers:
            self.readable(provider, "client_secret_file", provider.client_secret_file, private=True)
            self.readable(provider, "ca_file", provider.ca_file, private=False)
        for route in config.routes:
            self.readable(
                route.origin_request, "ca_pool", route.origin_request.ca_pool, private=False
            )
        if config.master_key_file is not None and not is_missing(config.master_key_file):
            self.readable(config, "master_key_file", config.master_key_file, private=True)

    def readable(self, part: Located, key: str, path: Path | None, *, private: bool) -> None:
        if path is None:
            return
        self.stamp(path)
        try:
            found = stat_regular(path)
        except OSError as error:
            self.complain(part, f"{path} can't be read: {error.strerror}", key)
            return
        if not stat.S_ISREG(found.st_mode):
            self.complain(part, f"{path} is not a file", key)
        elif private and (why := too_open(path, found)) is not None:
            self.complain(part, f"{path} {why}; chmod 600 it", key)

    # -- identity providers

    def providers(self) -> None:
        for provider in self.config.identity_providers:
            if provider.type == "onetimepin" and "mail" not in self.given:
                self.complain(provider, "one-time PINs are sent by mail: “mail” is missing", "type")
            if provider.email_claim != "email" and provider.email_verified != "trusted":
                self.complain(
                    provider, "“email_verified” of a provider speaks of the claim “email” only: "
                    "with another “email_claim” it has to be “trusted”", "email_claim",
                )
            if (
                provider.issuer is not None
                and provider.issuer.startswith("http://")
                and not provider.allow_private_address
            ):
                self.complain(
                    provider, "an issuer is https; only with “allow_private_address” it may be "
                              "http",
                    "issuer",
                )  # fmt: skip
        pins = [p for p in self.config.identity_providers if p.type == "onetimepin"]
        for second in pins[1:]:
            self.complain(second, f"“{pins[0].name}” sends one-time PINs already", "type")
        if (
            not self.config.identity_providers
            and any(
                policy.decision == "allow"
                for app in self.config.applications
                for policy in app.policies
            )
            and not self.names["identity_providers"]
        ):
            self.complain(
                self.config,
                "“identity_providers” is missing: nobody could sign in, and there are allow "
                "policies",
            )

    def renames(self, previous: Mapping[str, Mapping[str, Any]]) -> None:
        by_domain = {d: one for one in previous.values() for d in one.get("domains", ())}
        names = {app.name for app in self.config.applications}
        for app in self.config.applications:
            before = by_domain.get(str(app.covers[0]))
            if (
                app.aud is None
                and before
                and before["name"] != app.name
                and before["name"] not in names
            ):
                self.warn(
                    app.place("name"),
                    f"this application was called “{before['name']}”: its AUD tag changes with "
                    f"the name and "
                    f"origins that check the old one refuse everybody. Keep it with aud: "
                    f"{aud_before(previous, before)}",
                )


def aud_before(previous: Mapping[str, Mapping[str, Any]], application: Mapping[str, Any]) -> str:
    return next(aud for aud, one in previous.items() if one is application)


def too_open(path: Path, found: os.stat_result) -> str | None:
    """Return why a file with a secret is too open, or None.

    Files below $CREDENTIALS_DIRECTORY are systemd's affair."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    # resolved: `..` or a link must not lead out of the folder
    if credentials and path.resolve().is_relative_to(Path(credentials).resolve()):
        return None
    if found.st_mode & (stat.S_IRWXO & ~stat.S_IXOTH):
        return f"can be read or written by anybody (mode {stat.S_IMODE(found.st_mode):04o})"
    if found.st_mode & stat.S_IWGRP:
        return f"can be written by its group (mode {stat.S_IMODE(found.st_mode):04o})"
    if found.st_mode & stat.S_IRGRP and found.st_gid != os.getegid():
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        return f"can be read by a group other than the service's (mode {mode})"
    return None
