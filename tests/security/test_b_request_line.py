"""Section B of negative-cases.md: request line, target, Host, version."""

import pytest

from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, PATHS, A, B, Pass, Row, request, table


def get(target: str | bytes, host: str | None = OPEN, *fields: str) -> bytes:
    raw = target.encode("latin-1") if isinstance(target, str) else target
    return request(*fields, first=b"GET " + raw + b" HTTP/1.1", host=host)


def hosted(value: str) -> bytes:
    return request(f"Host: {value}", host=None)


REFUSED = [
    Row("B01", "HTTP/0.9", b"GET /\r\n", (400, 505)),
    *[
        Row("B02", f"version {n}", request(first=f"GET / {v}"), (400, 505))
        for n, v in enumerate((
            "HTTP/1.2", "HTTP/2.0", "HTTP/1.32", "HTTP/01.1", "http/1.1",
            "HTTP/4294967295.255", "HTTP/1.1 ", "HTTP/1,1",
        ))
    ],
    Row("B03", "h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    *[
        Row("B04", f"separator {n}", request(first=line))
        for n, line in enumerate((
            b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1",
            b"GET\x0b/ HTTP/1.1", b"GET\n/ HTTP/1.1", b" GET / HTTP/1.1",
        ))
    ],
    *[
        Row("B05", f"method {n}", request(first=m + b" / HTTP/1.1"), (400, 405, 501))
        for n, m in enumerate((b'G="x"', b"get", b"G\xc9T", b"G" * 1024, b""))
    ],
    Row("B06", "no Host", request(host=None)),
    Row("B06", "two Hosts, same", request(f"Host: {OPEN}")),
    Row("B06", "two Hosts", request(f"Host: {A}")),
    Row("B06", "empty Host", request("Host:", host=None)),
    *[
        Row("B07", f"host {n}", hosted(v))
        for n, v in enumerate((
            f"{OPEN}, {B}", f"{OPEN} {B}", f"u@{OPEN}", f"{OPEN}/x", f"{OPEN}#x", f"{OPEN}?x",
            "open%2dx.sekisho.localhost", f"{OPEN}\x02", f"{OPEN}:98777", f"{OPEN}:80:80",
            f"{OPEN}:1.2",
        ))
    ],
    *[
        Row("B09", f"host {n}", hosted(v), (400, 404, 421))
        for n, v in enumerate((f"..{OPEN}", f"{OPEN}..", ".", "[::1", "[::1].", "extra[::1]"))
    ],
    Row("B11", "absolute form of another host", get(f"http://{B}/")),
    *[
        Row("B12", f"absolute form {n}", get(t))
        for n, t in enumerate((
            f"https://u:p@{OPEN}/", f"ftp://{OPEN}/", f"http:{OPEN}", "http:///x",
        ))
    ],
    *[Row("B13", f"target {n}", get(t)) for n, t in enumerate((f"{OPEN}:443", "foo", "?x", "*"))],
    *[
        Row("B14", f"raw {n}", get(t))
        for n, t in enumerate((
            b"/#frag", b"/a b", b"/a\tb", b'/a"b', b"/a<b", b"/a\\b", b"/a\x7fb", "/é".encode(),
        ))
    ],
    *[
        Row("B15", f"escape {n}", get(t))
        for n, t in enumerate(("/%", "/%1", "/%zz", "/%u002e", "/%00"))
    ],
]


@pytest.mark.parametrize("row", table(REFUSED))
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_refused(checkpoint: Checkpoint, row: Row, tls: bool) -> None:
    checkpoint.refused(row, tls=tls)


def test_b05_unknown_method_goes_on_as_it_is(checkpoint: Checkpoint) -> None:
    """B05: a valid token that we have no number for is the policy's business, then forwarded."""
    seen = checkpoint.accepted(Pass("B05", "token", request(first="BREW /pot HTTP/1.1")))
    assert seen[0].line == "BREW /pot HTTP/1.1"


@pytest.mark.parametrize("host", [
    A.upper(), f"{A}:{{port}}", f"{A}.", "App-A.Sekisho.LocalHost.",
])
def test_b08_host_spellings_are_one_application(checkpoint: Checkpoint, host: str) -> None:
    """B08: the same application and the same policy, with and without a session."""
    host = host.format(port=checkpoint.plain_port)
    with checkpoint.client() as c:
        assert c.send(request(host=host)).answer().status in (302, 401)
    assert not checkpoint.origin.requests
    with checkpoint.client() as c:
        answer = c.send(request(f"Cookie: {checkpoint.cookie(A)}", host=host)).answer()
    assert answer.status == 200
    assert len(checkpoint.origin.wait(1)) == 1


@pytest.mark.parametrize("host", ["nobody.example.com", "127.0.0.1", "[::1]", "localhost", "x.y"])
def test_b10_unknown_host_says_nothing(checkpoint: Checkpoint, host: str) -> None:
    """B10: 404 or 421, no cookie, no list of applications."""
    with checkpoint.client() as c:
        answer = c.send(request(host=host)).answer()
    assert answer.status in (404, 421)
    assert not answer.all("set-cookie") and answer.get("location") is None
    for word in (b"app-a", b"open", b"sekisho.localhost"):
        assert word not in answer.body.replace(b"login.sekisho.localhost", b"")
    assert not checkpoint.origin.requests


def test_b11_absolute_form_of_the_same_host(checkpoint: Checkpoint) -> None:
    """B11: where both agree, the origin gets origin-form and that Host."""
    with checkpoint.client() as c:
        assert c.send(get(f"http://{OPEN}/path?q=1")).answer().status == 200
    seen = checkpoint.origin.wait(1)[0]
    assert seen.line == "GET /path?q=1 HTTP/1.1" and seen.all("host") == [OPEN]


def test_b11_absolute_form_decides_nothing(checkpoint: Checkpoint) -> None:
    """B11: an absolute form of the open application doesn't open the closed one."""
    with checkpoint.client() as c:
        assert c.send(get(f"http://{OPEN}/", A)).answer().status == 400
    assert not checkpoint.origin.requests


def test_b13_options_star(checkpoint: Checkpoint) -> None:
    """B13: OPTIONS * is the edge's to answer."""
    with checkpoint.client() as c:
        answer = c.send(request(first="OPTIONS * HTTP/1.1")).answer()
    assert answer.status in (200, 204, 400, 405)
    assert not checkpoint.origin.requests


STEERING = [
    f"X-Forwarded-Host: {OPEN}", f"X-Host: {OPEN}", "X-Original-URL: /", "X-Rewrite-URL: /",
    "X-Forwarded-Uri: /", "X-Forwarded-Prefix: /", "X-HTTP-Method-Override: DELETE",
    f"Forwarded: for=10.1.1.1;host={OPEN}", f"X-Original-Host: {OPEN}", "X-Forwarded-Server: x",
]


@pytest.mark.parametrize("field", STEERING, ids=lambda f: f.split(":")[0])
def test_b16_headers_never_steer(checkpoint: Checkpoint, field: str) -> None:
    """B16, B17: neither host nor path of the decision comes from a header."""
    with checkpoint.client() as c:
        assert c.send(request(field, host=A)).answer().status in (302, 401)
        assert c.send(request(field, first="GET /admin HTTP/1.1", host=PATHS)).answer().status in (
            302, 401)
    assert not checkpoint.origin.requests


def test_b16_ours_are_overwritten(checkpoint: Checkpoint) -> None:
    """B16, B17: what the origin may trust is the edge's own."""
    with checkpoint.client() as c:
        c.send(request(*STEERING)).answer()
    seen = checkpoint.origin.wait(1)[0]
    assert seen.all("x-forwarded-host") == [OPEN]
    for name in ("x-original-url", "x-rewrite-url", "forwarded", "x-forwarded-uri",
                 "x-forwarded-prefix", "x-forwarded-server"):
        assert not seen.all(name), name


@pytest.mark.parametrize("first,field", [
    ("GET /admin HTTP/1.1", "User-Agent: kube-probe/1.30"),
    ("GET /admin HTTP/1.1", "User-Agent: GoogleHC/1.0"),
    ("GET /admin?skip=/public HTTP/1.1", "X: 1"),
    ("GET /admin?x=/public/ HTTP/1.1", "X: 1"),
])
def test_b18_nothing_skips_the_policy(checkpoint: Checkpoint, first: str, field: str) -> None:
    """B18: no user agent and no query is a pass."""
    with checkpoint.client() as c:
        assert c.send(request(field, first=first, host=PATHS)).answer().status in (302, 401)
    assert not checkpoint.origin.requests


def test_b19_the_origin_gets_the_query_that_was_judged(checkpoint: Checkpoint) -> None:
    """B19: a query too long is refused whole; one that fits arrives byte for byte."""
    query = "&".join(f"a{i}={i}" for i in range(500)) + "&last=1"
    with checkpoint.client() as c:
        assert c.send(get(f"/?{query}")).answer().status == 200
    assert checkpoint.origin.wait(1)[0].line == f"GET /?{query} HTTP/1.1"
    checkpoint.clear()
    many = "&".join(f"a{i}={i}" for i in range(20_000)) + "&last=1"
    with checkpoint.client() as c:
        answer = c.send(get(f"/?{many}")).answer()
    if answer.status == 200:
        assert checkpoint.origin.wait(1)[0].line == f"GET /?{many} HTTP/1.1"
    else:
        assert answer.status in (414, 431) and not checkpoint.origin.requests
