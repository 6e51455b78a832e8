"""Where a planted cookie of ours may sit, and what takes it away."""

import re

import pytest

from _fastpath.clearing import (
    MAX_CLEARED_BYTES,
    MAX_CLEARED_LINES,
    MAX_CLEARED_SEGMENTS,
    clearings,
)


def places(host: bytes, path: bytes) -> list[tuple[str, str]]:
    """[(path, domain)] of the lines, each of which has to be one that clears."""
    found = []
    for line in clearings(b"CF_Authorization", host, path):
        match = re.fullmatch(
            r"CF_Authorization=; Path=([^;]+)(?:; Domain=([^;]+))?; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
            line.decode(),
        )
        assert match, line
        found.append((match[1], match[2] or ""))
    return found


def test_every_prefix_and_every_parent() -> None:
    paths = ["/", "/deep", "/deep/", "/deep/x"]
    domains = ["", "a.b.example", "b.example"]
    assert places(b"a.b.example", b"/deep/x") == [(p, d) for p in paths for d in domains]


@pytest.mark.parametrize(
    ("path", "cleared"),
    [
        (b"/", ["/"]),
        (b"*", ["/"]),
        (b"", ["/"]),
        (b"/a/", ["/", "/a", "/a/"]),
        (b"//a", ["/", "//", "//a"]),
        (b"/a/b;Domain=x/c", ["/", "/a", "/a/"]),  # never an attribute of a stranger's making
        (b"/a/\r\nX: y", ["/", "/a", "/a/"]),
        (b"/a/" + b"b" * 2000 + b"/c", ["/", "/a", "/a/"]),
    ],
)
def test_paths(path: bytes, cleared: list[str]) -> None:
    assert [p for p, _ in places(b"localhost", path)] == cleared


def test_bounds() -> None:
    deep = b"/s" * 40
    assert len(places(b"localhost", deep)) == 1 + 2 * MAX_CLEARED_SEGMENTS
    many = clearings(b"CF_Authorization", b".".join([b"a"] * 60), deep)
    assert len(many) <= MAX_CLEARED_LINES
    long = clearings(b"CF_Authorization", b"a.example.com", (b"/" + b"s" * 120) * 20)
    assert len(many) > 20 < len(long) < MAX_CLEARED_LINES
    assert sum(map(len, long)) <= MAX_CLEARED_BYTES
