"""M11 M12: where a sign-in may lead back to. More than a thousand payloads, made from their
parts."""

import itertools
from urllib.parse import urljoin, urlsplit

import pytest

from edge.identity.destination import destination, meta_of, safe_redirect
from edge.identity.world import Application, World

HOSTS = ("evil.example", "app-a.evil.example", "127.0.0.1", "[::1]", "evil.example:443")
STARTS = (
    "//",
    "///",
    "////",
    "/\\",
    "\\/",
    "\\\\",
    "\\",
    "/\t/",
    "/\n/",
    "/\r/",
    "/\x00/",
    "/\x0b/",
    "/\x7f/",
    "/ /",
    "/\u00a0/",
    "/\u2028/",
    "/\uff0f",
    "/\u3000/",
    "/%2f",
    "/%2F",
    "/%5c",
    "/%5C",
    "/%09/",
    "/%0a/",
    "/%0d/",
    "/%00/",
    "/.//",
    "/..//",
    "/.%2f",
    "/%2e/%2f",
    "/%2e%2e//",
    "/./\\",
    "https:",
    "https:/",
    "https://",
    "https:///",
    "HtTpS://",
    "http://",
    "//\t",
    "\t//",
    " //",
    "\n//",
    "@",
    "https://app-a.example@",
    "//app-a.example@",
    "//app-a.example%40",
    "/\\\\",
    "javascript:alert(1)//",
    "data:text/html,//",
    "vbscript:",
    "ftp://",
    "file://",
    ":",
    ";//",
    "?//",
    "#//",
    "//;",
    ".",
    "..",
    "./",
    "../",
    "%2f%2f",
    "%5c%5c",
    "%09//",
    "/%e2%80%a8/"[:0] + "\u2029//",
)
ENDS = ("", "/", "/x", "?q=1", "#f", "%2f..")
PAYLOADS = [s + h + e for s, h, e in itertools.product(STARTS, HOSTS, ENDS)]


def as_browser(location: str) -> str:
    """Return the host that a browser would go to: it drops tabs and line ends, and reads \\ as
    /."""
    text = location.strip("".join(map(chr, range(33))))
    text = text.translate({9: None, 10: None, 13: None}).replace("\\", "/")
    return urlsplit(urljoin("https://app-a.example/cdn-cgi/access/authorized", text)).netloc


def test_m11_there_are_enough() -> None:
    assert len(set(PAYLOADS)) >= 1_000


def test_m11_nothing_leads_away() -> None:
    """M11: whatever is asked for, the browser stays at the application, also once decoded."""
    for payload in PAYLOADS:
        kept = safe_redirect(payload)
        assert as_browser(kept) == "app-a.example", payload
        assert kept == "/" or (kept[0] == "/" and kept[1:2] not in ("/", "\\")), payload
        assert all("!" <= c <= "~" and c != "\\" for c in kept), payload
        # what a careless origin might decode and hand to a browser once more
        lower = kept.lower()
        assert not lower.startswith(("/%2f", "/%5c", "/%09", "/%0a", "/%0d", "/%00", "/./", "/.//"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/x",
        "/x?y=1&z=a%2Fb",
        "/a//b",
        "/%E3%81%82",
        "/x?next=https://elsewhere.example/",
        "/x?q=a+b",
        "/~user/;p=1",
        "/.well-known/x",
        "/a/../b",
        "/...",
    ],
)
def test_ordinary_paths_are_kept(path: str) -> None:
    assert safe_redirect(path) == path


def test_too_long() -> None:
    assert safe_redirect("/" + "x" * 5000) == "/"


WORLD = World(
    auth_domain="login.example.com",
    issuer="https://login.example.com",
    auth_aud="f" * 64,
    applications={
        "a" * 64: Application("a" * 64, "Wiki", ("wiki.example.com", "docs.example.com/wiki")),
        "b" * 64: Application("b" * 64, "All", ("*.apps.example.com",)),
    },
    providers={},
    judge=None,  # type: ignore[arg-type]
)
META = meta_of("A" * 22)


@pytest.mark.parametrize(
    ("host", "aud"),
    [
        ("wiki.example.com", "a"),
        ("docs.example.com", "a"),
        ("WIKI.example.com", "a"),
        ("one.apps.example.com", "b"),
    ],
)
def test_parts_that_belong_together(host: str, aud: str) -> None:
    assert destination(WORLD, host, aud * 64, "/x", META) is not None


@pytest.mark.parametrize(
    ("host", "aud", "meta"),
    [
        ("grafana.example.com", "a", META),
        ("wiki.example.com", "b", META),
        ("wiki.example.com", "c", META),
        ("apps.example.com", "b", META),
        ("two.one.apps.example.com", "b", META),
        (".apps.example.com", "b", META),
        ("wiki.example.com.evil.example", "a", META),
        ("", "a", META),
        ("1572395042?.apps.example.com", "b", META),
        ("evil#.apps.example.com", "b", META),
        ("evil/x.apps.example.com", "b", META),
        ("evil\\.apps.example.com", "b", META),
        ("a@evil.apps.example.com", "b", META),
        ("evil:443.apps.example.com", "b", META),
        ("one\n.apps.example.com", "b", META),
        ("x" * 240 + ".apps.example.com", "b", META),
        ("wiki.example.com", "a", ""),
        ("wiki.example.com", "a", META + "A"),
        ("wiki.example.com", "a", META[:-1] + "="),
    ],
)
def test_m12_parts_that_do_not(host: str, aud: str, meta: str) -> None:
    """M12: an application's sign-in leads to its own hosts only."""
    assert destination(WORLD, host, aud * 64, "/x", meta) is None


def test_path_of_an_application() -> None:
    wiki = WORLD.applications["a" * 64]
    assert wiki.path("wiki.example.com") == "/" and wiki.path("docs.example.com") == "/wiki"
