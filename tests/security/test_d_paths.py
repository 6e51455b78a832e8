"""Section D of negative-cases.md: path rules. /admin needs a session, the rest of the host is public."""

import random

import pytest

from tests.kit.soak import scaled, soak
from tests.security.checkpoint import Checkpoint
from tests.security.rows import PATHS, Row, request, table


def get(path: str | bytes) -> bytes:
    raw = path.encode("latin-1") if isinstance(path, str) else path
    return request(first=b"GET " + raw + b" HTTP/1.1", host=PATHS)


REFUSED = [
    *[Row("D05", f"slash {n}", get(p)) for n, p in enumerate((
        "/public/..%2fadmin", "/admin%2fx", "/%2fadmin", "/public/..%2Fadmin"))],
    *[Row("D06", f"backslash {n}", get(p)) for n, p in enumerate((
        "/public/..%5cadmin", "/public\\..\\admin", "/\\admin"))],
    *[Row("D07", f"parameter {n}", get(p)) for n, p in enumerate((
        "/public/..;/admin", "/public/..;x=1/admin"))],
    *[Row("D08", f"twice {n}", get(p)) for n, p in enumerate((
        "/public/%252e%252e/admin", "/public/..%252fadmin"))],
    *[Row("D09", f"byte {n}", get(p)) for n, p in enumerate((
        "/admin%00", "/admin%09", "/admin%20", "/admin%0d%0a"))],
    *[Row("D11", f"overlong {n}", get(p)) for n, p in enumerate((
        "/%c0%ae%c0%ae/admin", "/%e0%80%af", "/%ff"))],
    Row("D14", "fragment", get("/public#/admin")),
]


@pytest.mark.parametrize("row", table(REFUSED))
def test_refused(checkpoint: Checkpoint, row: Row) -> None:
    checkpoint.refused(row)


@pytest.mark.parametrize("path", [
    pytest.param(p, id=f"{row}-{n}")
    for row, paths in {
        "D01": ["/%61dmin", "/adm%69n"],
        "D02": ["/public/../admin", "/./admin", "/x/./../admin", "/admin/."],
        "D03": ["/public/%2e%2e/admin", "/%2e/admin", "/public/.%2e/admin", "/public/%2E%2e/admin"],
        "D04": ["//admin", "///admin", "/public//..//admin"],
        "D07": ["/admin;x", "/admin;/../public"],
        "D09": ["/admin.", "/admin/"],
        "D13": ["/admin", "/admin/x", "/admin/x/y?z"],
        "D14": ["/admin?x=/public"],
    }.items()
    for n, p in enumerate(paths)
])
def test_needs_a_session(checkpoint: Checkpoint, path: str) -> None:
    """However /admin is spelled, it isn't public: refused, or sent to sign in; `/admin.` and
    `/admin;x` are other names than admin, so they may be public only as exactly those names."""
    with checkpoint.client() as c:
        answer = c.send(get(path)).answer()
    if answer.status == 200:
        seen = checkpoint.origin.wait(1)[0].line.split()[1]
        assert not admits_admin(seen), f"the origin got {seen}"
        assert path in ("/admin.", "/admin;x", "/admin;/../public")
    else:
        assert answer.status in (302, 400, 401)
        assert not checkpoint.origin.requests


def admits_admin(path: str) -> bool:
    """True when an origin that resolves as browsers do would serve /admin for this path."""
    return path.split("?")[0].split("/")[1:2] == ["admin"]


@pytest.mark.parametrize("path", ["/%2561dmin", "/ADMIN", "/Admin", "/administrator", "/admin2",
                                  "/public?x=/admin", "/%EF%BD%81dmin"])
def test_other_names_are_public(checkpoint: Checkpoint, path: str) -> None:
    """D08, D10, D12, D13, D14: not the name admin; goes on under exactly its own name, or is refused."""
    with checkpoint.client() as c:
        answer = c.send(get(path)).answer()
    if answer.status == 400:
        assert path == "/%2561dmin" and not checkpoint.origin.requests
    else:
        assert answer.status == 200
        assert checkpoint.origin.wait(1)[0].line == f"GET {path} HTTP/1.1"


PIECES = ["admin", "public", "..", ".", "", "%2e", "%2E%2e", "%61dmin", "a%64min", "x", "%7e", "~",
          "ADMIN", "admin;x", ";", "%41", "%c3%a9", "%25", "..;", "...", "%2e%2e", "adm%69n"]


@soak
def test_d17_the_origin_gets_the_path_that_was_judged(checkpoint: Checkpoint) -> None:
    """D17: for paths of a grammar, what the origin receives is what an unsigned visitor may see:
    never /admin, and judging the received path again gives the same verdict."""
    dice, count = random.Random(17), scaled(1_000_000)
    client, fixed = checkpoint.client(), 0

    def ask(path: str) -> str | None:
        """Return the path as the origin got it, None when it got nothing."""
        nonlocal client
        checkpoint.origin.requests.clear()
        answer = client.send(get(path)).answer()
        assert answer.status in (200, 302, 400, 401), path
        if (answer.get("connection") or "").lower() == "close":
            client.sock.close()
            client = checkpoint.client()
        if answer.status != 200:
            assert not checkpoint.origin.requests, path
            return None
        [seen] = checkpoint.origin.requests
        return seen.line.split()[1]

    for number in range(count):
        path = "/" + "/".join(dice.choices(PIECES, k=dice.randint(1, 5)))
        got = ask(path)
        if got is not None:
            assert not admits_admin(got), f"{path} reached the origin as {got}"
            if number % 10 == 0:
                assert ask(got) == got, f"{path}: {got} is not a fixed point"
                fixed += 1
        if number % 10_000 == 9_999:
            checkpoint.origin.forget()
    client.sock.close()
    assert fixed > count // 50
