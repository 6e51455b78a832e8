"""Section K in a real Chromium: what a hostile sibling application can do with cookies for the parent domain, and what
comes of it. Each visit is a fresh browser profile."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from edge.demo.visitor import Visitor
from tests.kit.origin import Seen
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, A, B

LOGIN = "login.sekisho.localhost"
T = TypeVar("T")
DEEP = "/1/2/3/4/5/6/7/8/9/10"       # deeper than what is cleared


def apart(work: Callable[[], T]) -> T:
    """Run what runs an event loop in a thread of its own: Playwright has one in this."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.fixture
def plant(checkpoint: Checkpoint, chromium: Browser) -> Iterator[Callable[[str, str, str], Page]]:
    """Return what opens the hostile sibling in a fresh profile, where its script plants a cookie (name, value, path)."""
    script, contexts = [""], []

    def answer(seen: Seen) -> bytes:
        body = script[0].encode() if "open." in (seen.get("host") or "") else (
            f"you are {seen.get('cf-access-authenticated-user-email')}".encode())
        return (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body)) + body

    def planted(name: str, value: str, path: str) -> Page:
        script[0] = (f"<script>document.cookie='{name}={value}; domain=sekisho.localhost; path={path};"
                     " max-age=34000000'</script>")
        checkpoint.origin.answer = lambda seen, _sock: answer(seen)
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.goto(checkpoint.url(OPEN))
        kept = [c for c in page.context.cookies() if c["name"] == name]
        assert bool(kept) != name.startswith("__Host-"), "a browser takes no __Host- cookie for a parent domain"
        return page

    apart(checkpoint.visitor)
    yield planted
    for context in contexts:
        context.close()
    checkpoint.clear()


def test_k07_a_planted_global_session_counts_for_nothing(
    checkpoint: Checkpoint, plant: Callable[[str, str, str], Page]
) -> None:
    """K07: the attacker's token at the sign-in domain: the victim is asked who they are, at every application."""
    attacker = checkpoint.visitor().jar[LOGIN]
    for name, value in attacker.items():
        page = plant(name, value, "/cdn-cgi/access/login")
        for host in (A, B):
            page.goto(checkpoint.url(host))
            assert urlsplit(page.url).hostname == LOGIN, name
            assert page.locator("input[name=email]").count() == 1
    assert not [r for r in checkpoint.origin.requests if "open." not in (r.get("host") or "")]


def test_k08_a_planted_start_nonce_binds_nothing(
    checkpoint: Checkpoint, plant: Callable[[str, str, str], Page]
) -> None:
    """K08: a hand-off address that the attacker made for a nonce of their own, opened by a victim who was given it."""
    nonce, attacker = "A" * 22, apart(checkpoint.fresh)
    meta = base64.urlsafe_b64encode(hashlib.sha256(nonce.encode()).digest()).rstrip(b"=").decode()

    async def handed() -> str:
        began = urlsplit((await Visitor(checkpoint.plain_port).get(checkpoint.url(A))).get("location") or "")
        query = urlencode(dict(parse_qsl(began.query)) | {"meta": meta})
        reply = await attacker.get(f"{began.scheme}://{began.netloc}{began.path}?{query}")
        return reply.get("location") or ""

    for name in ("CF_AppSession", "__Host-CF_AppSession"):
        where = apart(lambda: asyncio.run(handed()))
        assert "/cdn-cgi/access/authorized?code=" in where
        page = plant(name, nonce, "/")
        reply = page.goto(where)
        assert reply is not None and reply.status == 403 and "code-refused" in page.inner_text("main")
        assert not [c for c in page.context.cookies(checkpoint.url(A)) if c["name"] == "CF_Authorization"]


def signed_in(page: Page, victim: Visitor) -> None:
    """The victim has a session of their own at the sign-in domain and at A."""
    for host, jar in victim.jar.items():
        page.context.add_cookies(
            [{"name": k, "value": v, "url": f"https://{host}/", "secure": True} for k, v in jar.items()])


def test_k01_a_planted_cookie_locks_nobody_out_of_a_path(
    checkpoint: Checkpoint, plant: Callable[[str, str, str], Page]
) -> None:
    """K01: two cookies below /deep are none; both are cleared there, too, and the person is back without a word."""
    victim = apart(lambda: checkpoint.fresh(A))
    page = plant("CF_Authorization", "x", "/deep")
    signed_in(page, victim)
    page.goto(checkpoint.url(A, "/deep/x"))
    assert page.url == checkpoint.url(A, "/deep/x") and page.inner_text("body") == "you are alice@example.com"
    assert {c["path"] for c in page.context.cookies() if c["name"] == "CF_Authorization"} == {"/"}


def test_k01_a_cookie_that_does_not_go_away_ends_in_a_page(
    checkpoint: Checkpoint, plant: Callable[[str, str, str], Page]
) -> None:
    """K01: out of reach of what is cleared: a page that says why, never a loop; elsewhere the person is in."""
    victim = apart(lambda: checkpoint.fresh(A))
    page = plant("CF_Authorization", "x", DEEP)
    signed_in(page, victim)
    reply = page.goto(checkpoint.url(A, f"{DEEP}/x"))
    assert reply is not None and reply.status == 401
    assert "session-duplicate" in page.inner_text("main")
    page.goto(checkpoint.url(A))
    assert page.inner_text("body") == "you are alice@example.com"
