"""Model -> snapshot: fragments for applications, tables for what they share, one file around
them."""

import hashlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from _fastpath.snapshot import DIGEST_AT, FORMAT_VERSION, HEADER_SIZE, SECTION_NAMES
from edge.config.fingerprint import Fingerprints
from edge.config.fragment import Fragment, Identity, TooLarge, aligned, compile_fragment, padded
from edge.config.hosts import Strings, host_tables
from edge.config.identifiers import default_aud, default_id
from edge.config.load import Loaded
from edge.config.model import Application, Config, Route, RuleSet
from edge.config.problem import Problem, did_you_mean, suggestions_bounded
from edge.config.service import SCHEMES
from edge.config.settings import settings_of
from edge.config.tables import Built
from edge.config.world import ConfigWorld, InstallationKeys, StoreObjects

HEAD = struct.Struct("<8sIIQQ16s32s20Q")
APP = struct.Struct("<QIIII")
TABLE = struct.Struct("<IIIIQQ")
ROUTE = struct.Struct("<20I")
TUNNEL, SERVICE, CONTROL = 1, 2, 3
NO_TLS_VERIFY, NO_CHUNKED = 1, 2
COOKIE = "CF_Authorization"


class ConfigRefused(Exception):
    """A configuration that can't become a snapshot; `problems` says why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class FragmentCache:
    """Fragments by what they depend on, tables by what they hold; what a compile didn't use is
    forgotten."""

    def __init__(self) -> None:
        self.fragments: dict[bytes, Fragment] = {}
        self.tables: dict[bytes, Built] = {}
        self.hash_key = b""
        self.compiled = 0  # fragments that the last compile had to make

    def compile(self, config: Config, world: ConfigWorld, names: list[Identity]) -> list[Fragment]:
        if world.keys.hash_key != self.hash_key:
            self.fragments, self.tables = {}, {}
            self.hash_key = world.keys.hash_key
        prints = Fingerprints(world)
        fragments: dict[bytes, Fragment] = {}
        tables: dict[bytes, Built] = {}
        order: list[Fragment] = []
        self.compiled = 0

        def need(digest: bytes, build: Callable[[], Built]) -> None:
            if digest not in tables:
                tables[digest] = self.tables.get(digest) or build()

        for application, identity in zip(config.applications, names, strict=True):
            key = prints.of(application, identity)
            fragment = fragments.get(key) or self.fragments.get(key)
            if fragment is None:
                self.compiled += 1
                try:
                    fragment = compile_fragment(application, identity, world, self.hash_key, need)
                except TooLarge as error:
                    file, mark = application.place()
                    raise ConfigRefused([Problem(file, *mark, str(error))]) from error
            for digest in fragment.tables:
                if digest not in tables:
                    tables[digest] = self.tables[digest]
            fragments[key] = fragment
            order.append(fragment)
        self.fragments, self.tables = fragments, tables
        return order


def compile_snapshot(
    loaded: Loaded,
    *,
    version: int,
    objects: StoreObjects | None = None,
    keys: InstallationKeys,
    extra: Mapping[str, Any] | None = None,
    cache: FragmentCache | None = None,
) -> bytes:
    """Return the bytes of a snapshot; raises ConfigRefused. loaded must be ok.

    extra is merged into the settings. What only the store shows (a tunnel that does not exist)
    becomes a warning of loaded."""
    if not loaded.ok or loaded.config is None:
        raise ConfigRefused(loaded.errors)
    config, objects, cache = loaded.config, objects or StoreObjects(), cache or FragmentCache()
    world = ConfigWorld(config, loaded.list_items, objects, keys)
    with suggestions_bounded():
        loaded.store_warnings = store_warnings(config, world)
    names = identities(config, keys)
    fragments = cache.compile(config, world, names)
    strings = Strings()
    routes = [control_row(config, strings), *(route_row(r, world, strings) for r in config.routes)]
    hosts, paths = host_tables(
        keys.hash_key,
        strings,
        [config.auth_domain, *(route.hostname for route in config.routes)],
        [(app.covers, app.case_insensitive_paths) for app in config.applications],
    )
    apps, packed, imports, tables, data = assemble(fragments, cache.tables)
    settings = settings_of(config, world, objects, names) | dict(extra or {})
    sections = {
        "strings": bytes(strings.data), "hosts": hosts, "paths": paths, "apps": apps,
        "fragments": packed, "imports": imports, "tables": tables, "data": data,
        "routes": b"".join(routes), "settings": msgpack.packb(settings),
    }  # fmt: skip
    return sealed(version, keys.hash_key, sections)


def assemble(
    fragments: list[Fragment], tables: Mapping[bytes, Built]
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return APPS, FRAGMENTS, IMPORTS, TABLES and DATA."""
    numbers = {digest: number for number, digest in enumerate(tables)}
    rows: list[bytes] = []
    pieces: list[bytes] = []
    imports: list[int] = []
    at = 0
    for fragment in fragments:
        rows.append(APP.pack(at, len(fragment.data), len(imports), len(fragment.tables), 0))
        imports.extend(numbers[digest] for digest in fragment.tables)
        pieces.append(fragment.data)
        at += len(fragment.data)
    table_rows, blobs, at = [], [], 0
    for built in tables.values():
        table_rows.append(
            TABLE.pack(built.kind, built.slots, built.count, built.n6, at, len(built.data))
        )
        blob = padded(built.data)
        blobs.append(blob)
        at += len(blob)
    numbered = struct.pack(f"<{len(imports)}I", *imports)
    return (
        b"".join(rows), b"".join(pieces), numbered, b"".join(table_rows), b"".join(blobs),
    )  # fmt: skip


def sealed(version: int, hash_key: bytes, sections: Mapping[str, bytes]) -> bytes:
    """Return header and sections, with length and SHA-256."""
    at, spans, pieces = HEADER_SIZE, [], []
    for name in SECTION_NAMES:
        spans += [at, len(sections[name])]
        piece = padded(sections[name])
        pieces.append(piece)
        at = aligned(at + len(piece))
    head = HEAD.pack(
        b"SEKISHOS", FORMAT_VERSION, HEADER_SIZE, at, version, hash_key, bytes(32), *spans
    )
    whole = bytearray(b"".join([head, *pieces]))
    digest = hashlib.sha256(memoryview(whole)[:DIGEST_AT])
    digest.update(memoryview(whole)[DIGEST_AT + 32 :])
    whole[DIGEST_AT : DIGEST_AT + 32] = digest.digest()
    return bytes(whole)


def identities(config: Config, keys: InstallationKeys) -> list[Identity]:
    """Return every application's id, AUD, cookie name and session duration."""
    hosts: dict[str, int] = {config.auth_domain: 1}
    for app in config.applications:
        for host in {domain.host for domain in app.covers}:
            hosts[host] = hosts.get(host, 0) + 1
    parents = {host[1:] for host in hosts if host.startswith("*.")}
    beneath = {"*." + host.partition(".")[2] for host in hosts}

    def shared(app: Application) -> bool:
        # a cookie is for one host: where several applications may set one there, each
        # needs its own name
        return any(
            hosts[host] > 1
            or (host in beneath if host.startswith("*.") else host[host.find(".") :] in parents)
            for host in {domain.host for domain in app.covers}
        )

    found = []
    for app in config.applications:
        aud = app.aud or default_aud(keys.aud_key, app.name)
        duration = config.session_duration if app.session_duration is None else app.session_duration
        found.append(
            Identity(
                app.id or default_id(keys.aud_key, "application", app.name), aud,
                f"{COOKIE}_{aud[:12]}" if shared(app) else COOKIE, duration,
            )
        )  # fmt: skip
    return found


def control_row(config: Config, strings: Strings) -> bytes:
    place = strings.place(config.auth_domain)
    return ROUTE.pack(CONTROL, 0, 0, 0, 0, 0, *place, *(0,) * 12)


def route_row(route: Route, world: ConfigWorld, strings: Strings) -> bytes:
    place = strings.place
    options = route.origin_request
    if route.service is None:
        tunnel = route.tunnel or ""
        ident = world.tunnels.get(tunnel, "")
        return ROUTE.pack(
            TUNNEL, 0, 0, 0, 0, 0, *place(route.hostname), *place(tunnel), *place(ident), *(0,) * 8
        )
    service = route.service
    flags = (NO_TLS_VERIFY if options.no_tls_verify else 0) | (
        NO_CHUNKED if options.disable_chunked_encoding else 0
    )
    return ROUTE.pack(
        SERVICE, SCHEMES[service.scheme], service.port, service.status, flags, 0,
        *place(route.hostname), 0, 0, 0, 0, *place(service.host), *place(service.path),
        *place(options.http_host_header or ""), *place(options.origin_server_name or ""),
    )  # fmt: skip


def store_warnings(config: Config, world: ConfigWorld) -> list[Problem]:
    """Return what only the store shows: tunnels and service tokens that don't exist (yet)."""
    found = []
    for route in config.routes:
        if route.tunnel is not None and route.tunnel not in world.tunnels:
            file, mark = route.place("tunnel")
            near = did_you_mean(route.tunnel, world.tunnels)
            sentence = (
                f"there is no tunnel “{route.tunnel}” yet{near}: {route.hostname} answers 502 "
                f"until `sekisho tunnel create` makes it"
            )
            found.append(Problem(file, *mark, sentence, "warning"))
    parts: list[RuleSet] = [*config.groups]
    parts += [policy for app in config.applications for policy in app.policies]
    for part in parts:
        for rule in part.rules:
            for kind, word in rule.criterion.references():
                if kind == "service token" and world.service_token(word) is None:
                    near = did_you_mean(word, world.service_tokens)
                    sentence = (
                        f"there is no service token “{word}” yet{near}: this rule is false until "
                        f"there is"
                    )
                    found.append(Problem(part.place()[0], *rule.at, sentence, "warning"))
    return sorted(found)
