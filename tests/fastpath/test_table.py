"""Service tables with cloudflared's semantics, and what is refused in one."""

import time

import pytest

from _fastpath.table import Table, TableError


def table(*rules: tuple[str, str, str]) -> Table:
    return Table(
        1,
        [
            {"index": index, "hostname": host, "path": path, "service": service}
            for index, (host, path, service) in enumerate(rules)
        ],
    )


RULES = (
    ("wiki.test", "^/api/", "http://api:1"),
    ("wiki.test", r"\.png$", "http://images:1"),
    ("wiki.test", "", "https://wiki:1"),
    ("*.test", "/admin", "http_status:403"),
    ("*.test", "", "http://all:1"),
    ("", "", "hello_world"),
)


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        ("wiki.test", "/api/v1", "http://api:1"),
        ("wiki.test", "/v1/api/", "https://wiki:1"),  # ^ is the pattern's own anchor
        ("wiki.test", "/a.png", "http://images:1"),
        ("wiki.test", "/api/a.png", "http://api:1"),  # both match: the first in the file
        ("wiki.test", "/a.pngx", "https://wiki:1"),
        ("a.test", "/x/admin/y", "http_status:403"),  # unanchored
        ("a.b.c.test", "/", "http://all:1"),  # a suffix of any depth
        ("test", "/", "hello_world"),  # the wildcard wants a label in front
        ("xtest", "/", "hello_world"),
        ("other.example", "/", "hello_world"),
    ],
)
def test_first_match_wins(host: str, path: str, service: str) -> None:
    found = table(*RULES).find(host, path)
    assert found is not None and found.service.decode() == service


def test_no_match_without_a_catch_all() -> None:
    assert table(("a.test", "", "http://a:1")).find("b.test", "/") is None


def test_a_host_with_patterns_only_may_match_nothing() -> None:
    found = table(("a.test", "^/x", "http://a:1"))
    assert found.find("a.test", "/x") is not None
    assert found.find("a.test", "/y") is None


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ("http://a:1", 1),
        ("https://a:1", 1),
        ("ws://a:1", 1),
        ("wss://a:1", 1),
        ("unix:/run/a.sock", 1),
        ("unix+tls:/run/a.sock", 1),
        ("http_status:204", 2),
        ("hello_world", 3),
        ("ssh://a:22", 4),
        ("rdp://a:3389", 4),
        ("anything://a:1", 4),
    ],
)
def test_kind_of_a_service(service: str, kind: int) -> None:
    assert table(("", "", service)).entries[0].kind == kind


def test_options_of_the_edge() -> None:
    options = {
        "httpHostHeader": "wiki.lan", "disableChunkedEncoding": True, "matchSNItoHost": True,
        "a-key-of-next-year": 1,
    }  # fmt: skip
    [entry] = Table(1, [{"index": 0, "service": "http://a:1", "options": options}]).entries
    assert (entry.host_header, entry.disable_chunked, entry.match_sni) == (b"wiki.lan", True, True)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([{"index": 0}], "no such service"),
        ([{"index": "0", "service": "http://a:1"}], "index has the wrong type"),
        ([{"index": True, "service": "http://a:1"}], "index has the wrong type"),
        ([{"index": -1, "service": "http://a:1"}], "index has the wrong type"),
        ([{"index": 0, "service": 7}], "service has the wrong type"),
        ([{"index": 0, "service": "http_status:99"}], "http_status takes"),
        ([{"index": 0, "service": "http_status:1000"}], "http_status takes"),
        ([{"index": 0, "service": "http://a:1", "path": "("}], "is not understood"),
        ([{"index": 0, "service": "http://a:1", "path": r"(a)\1"}], "is not understood"),
        ([{"index": 0, "service": "http://a:1", "options": []}], "options is not a map"),
        (
            [{"index": 0, "service": "http://a:1", "options": {"httpHostHeader": "a\r\nb"}}],
            "httpHostHeader has a byte",
        ),
        ([{"index": 0, "service": "http://a:1", "hostname": "a\x1b[2J"}], "hostname has a byte"),
        ([{"index": 0, "service": "http://a\n:1"}], "service has a byte"),
        ([{"index": 0, "service": "http://a:1", "path": "/\x07"}], "path has a control byte"),
        ([{"index": 0, "service": "http://a:1", "path": "x" * 1025}], "over 1024 long"),
        ([{"index": 0, "service": "http://a:1"}] * 2, "two entries have one index"),
        (
            [{"index": i, "service": "http://a:1", "path": "/x"} for i in range(65)],
            "more than 64 entries have a path",
        ),
        ([{"index": i, "service": "http://a:1"} for i in range(1001)], "more than 1000 entries"),
    ],
)
def test_a_table_that_is_refused(entries: list[dict[str, object]], sentence: str) -> None:
    with pytest.raises(TableError, match=sentence):
        Table(1, entries)


def test_patterns_take_linear_time() -> None:
    found = table(("a.test", "(x+x+)+y", "http://a:1"), ("", "", "http://b:1"))
    begun = time.perf_counter()
    entry = found.find("a.test", "/" + "x" * 8000)
    assert entry is not None and entry.service == b"http://b:1"
    assert time.perf_counter() - begun < 0.5
