"""Who may know whom: cimport direction in _fastpath, and what compiled rooms must not touch.

The Python layers are import-linter's (pyproject.toml); it can't read .pyx files, so this does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FASTPATH = ROOT / "_fastpath"

# Storeys of DESIGN §3, low to high. A module cimports from its own storey or a lower one.
STOREYS = [
    ["limits", "slice", "errors", "buffer", "head", "cookie", "openssl", "out", "address", "clearing"],
    ["http1", "body", "frame", "preface", "hints"],
    [
        "route",
        "jwt",
        "token",
        "revocations",
        "servicetoken",
        "facts",
        "policy",
        "explain",
        "stream",
        "roster",
        "schedule",
        "pulse",
        "window",
        "muxevents",
        "mux",
        "session",
        "table",
        "streamheader",
        "snapshot",
        "pem",
        "contexts",
        "tls",
        "accesslog",
        "cookie",
    ],
    ["endpoint", "carrier", "muxpipe", "inbound", "dialled", "probe"],
    ["checkpoint", "exchange", "answers", "judge", "rewrite", "watch"],
    ["relay", "upstream", "tunnel"],
    ["downstream", "forward", "upgrade", "deliver", "serve"],
    ["accept", "worker"],
]
STOREY = {name: height for height, names in enumerate(STOREYS) for name in names}
CIMPORT = re.compile(
    r"^\s*(?:from\s+_fastpath\.(\w+)\s+c?import|c?import\s+_fastpath\.(\w+))", re.M
)
SOURCES = sorted(p for p in FASTPATH.glob("*.p*") if p.suffix in {".pyx", ".pxd"})


def imports(path: Path) -> set[str]:
    return {a or b for a, b in CIMPORT.findall(path.read_text())} - {path.stem}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_cimports_go_down(path: Path) -> None:
    assert path.stem in STOREY, f"{path.name} has no storey: STOREYS names every module"
    upwards = {n for n in imports(path) if STOREY[n] > STOREY[path.stem]}
    assert not upwards, f"{path.name} reaches up to {sorted(upwards)}"


def test_declarations_form_no_cycle() -> None:
    """A cycle between .pxd files is one module in two files."""
    graph = {p.stem: imports(p) for p in FASTPATH.glob("*.pxd")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_compiled_source_keeps_the_rules(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"^\s*include\s+[\"']", text, re.M), "share by cimport, never include"
    assert not re.search(r"^\s*DEF\s", text, re.M), "cdef enum, not DEF"
    code = re.sub(r"(\"\"\".*?\"\"\"|#[^\n]*|[bc]?\"[^\"\n]*\")", "", text, flags=re.S)
    quotients = re.findall(r"[\w\])] ?/ ?(?!/)(\S+)", code.replace("//", ""))
    whole = [q for q in quotients if not re.match(r"\d+(\.\d|e\d)", q)]
    assert not whole, f"/ {whole} truncates between C integers: write // or a float"
    assert not re.search(r"^\s*(?:from|c?import)\s+edge\b", text, re.M), "edge is above"
    if STOREY.get(path.stem, 0) < STOREY["endpoint"] and path.stem != "accesslog":
        # accesslog writes its file from a thread of its own, off the path of every request
        forbidden = r"(?:from|c?import)\s+(?:posix|socket|libc\.time)\b|sys/socket\.h|unistd\.h"
        assert not re.search(forbidden, text), "sans-IO until the last storey: no socket, no clock"


@pytest.mark.parametrize("path", sorted(FASTPATH.glob("*.pyx")), ids=lambda p: p.name)
def test_every_module_has_contents_and_stubs(path: Path) -> None:
    missing = [s for s in (".pxd", ".pyi") if not path.with_suffix(s).exists()]
    assert not missing, f"{path.stem} lacks {missing}"


def test_no_file_is_named_for_nothing() -> None:
    banned = {"utils", "util", "helpers", "common", "misc", "manager", "connection"}
    named = [
        str(p.relative_to(ROOT))
        for folder in ("edge", "_fastpath", "bench", "tests")
        for p in (ROOT / folder).rglob("*")
        if p.suffix in {".py", ".pyx", ".pxd"} and p.stem.lstrip("_") in banned
    ]
    assert not named, f"name the one thing that it does: {named}"
