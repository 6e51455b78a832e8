"""The host and path tables of a snapshot (route.pxd tells what they mean)."""

import struct
from collections.abc import Sequence

from _fastpath.route import hash_text
from edge.config.domain import Domain

HOST = struct.Struct("<Q8I")
PATH = struct.Struct("<6I")
FOLDED = 1


class Strings:
    """A run of text, every piece once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.places: dict[bytes, tuple[int, int]] = {b"": (0, 0)}

    def place(self, text: str) -> tuple[int, int]:
        raw = text.encode()
        found = self.places.get(raw)
        if found is None:
            found = self.places[raw] = (len(self.data), len(raw))
            self.data += raw
        return found


def row_name(host: str) -> str:
    """Return the name a host pattern has in the table: `.example.com` for `*.example.com`."""
    return host.removeprefix("*")


class PathTable:
    def __init__(self, strings: Strings) -> None:
        self.strings = strings
        self.rows: list[bytes] = []

    def add(self, paths: list[tuple[str, int, bool]]) -> tuple[int, int, int, int]:
        """Add one host's (path, application, folded); return first and count of the plain ones and
        of the patterns."""
        plain = sorted(
            ((path, app) for path, app, folded in paths if not is_pattern(path, folded)),
            key=lambda one: one[0].encode().replace(b"/", b"\0"),
        )
        patterns = sorted(
            (
                (path.lower() if folded else path, app, folded)
                for path, app, folded in paths
                if is_pattern(path, folded)
            ),
            key=lambda one: specificity(one[0]),
        )
        first = len(self.rows)
        above: list[int] = []
        for number, (path, app) in enumerate(plain):
            while above and not covers(plain[above[-1]][0], path):
                above.pop()
            parent = above[-1] + 1 if above else 0
            above.append(number)
            self.rows.append(
                PATH.pack(*self.strings.place(path), app, parent, len(path.encode()), 0)
            )
        second = len(self.rows)
        for path, app, folded in patterns:
            self.rows.append(
                PATH.pack(
                    *self.strings.place(path), app, len(path.encode().replace(b"*", b"")),
                    len(path.encode().partition(b"*")[0]), FOLDED if folded else 0,
                )
            )  # fmt: skip
        return first, len(plain), second, len(patterns)


def is_pattern(path: str, folded: bool) -> bool:
    return "*" in path or (folded and path != "")


def specificity(path: str) -> tuple[int, int, str]:
    """Sort key, the most specific first: longest literal beginning, then most literal text."""
    return -len(path.partition("*")[0]), -len(path.replace("*", "")), path


def covers(path: str, other: str) -> bool:
    return other == path or other.startswith(path + "/")


def host_tables(
    key: bytes,
    strings: Strings,
    routes: Sequence[str],
    applications: Sequence[tuple[list[Domain], bool]],
) -> tuple[bytes, bytes]:
    """Return the sections HOSTS and PATHS. routes: host patterns in the order of their numbers."""
    route_of: dict[str, int] = {}
    paths: dict[str, list[tuple[str, int, bool]]] = {}
    for number, host in enumerate(routes):
        route_of[row_name(host)] = number + 1
    for number, (domains, folded) in enumerate(applications):
        for domain in domains:
            paths.setdefault(row_name(domain.host), []).append((domain.path, number, folded))
    names = sorted(route_of.keys() | paths.keys())
    slots = 1
    while slots * 2 < len(names) * 3 + 1:  # two thirds full at most
        slots *= 2
    table: list[bytes | None] = [None] * slots
    path_table = PathTable(strings)
    for name in names:
        digest = hash_text(key, name.encode())
        at = digest & (slots - 1)
        while table[at] is not None:
            at = (at + 1) & (slots - 1)
        table[at] = HOST.pack(
            digest,
            *strings.place(name),
            route_of.get(name, 0),
            *path_table.add(paths.get(name, [])),
            0,
        )
    free = bytes(HOST.size)
    return b"".join(row or free for row in table), b"".join(path_table.rows)
