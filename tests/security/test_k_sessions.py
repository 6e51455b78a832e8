"""Section K of negative-cases.md as a visitor meets it: cookies and sessions through a real edge."""

import asyncio

import pytest

from edge.demo.visitor import Visitor
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, PATHS, A, B, request


def status(checkpoint: Checkpoint, *fields: str | bytes, host: str = A, path: str = "/") -> int:
    with checkpoint.client() as c:
        return c.send(request(*fields, first=f"GET {path} HTTP/1.1", host=host)).answer().status


def test_k01_two_cookies_of_one_name(checkpoint: Checkpoint) -> None:
    """K01: two session cookies are none; both forms are cleared; the origin sees nothing."""
    cookie = checkpoint.cookie(A)
    checkpoint.clear()
    name = next(c for c in cookie.split("; ") if c.startswith("CF_Authorization")).split("=")[0]
    for fields in ([f"Cookie: {cookie}; {name}=planted"], [f"Cookie: {name}=planted; {cookie}"],
                   [f"Cookie: {cookie}", f"Cookie: {name}=planted"], [f"Cookie: {cookie}; {cookie}"]):
        with checkpoint.client() as c:
            answer = c.send(request(*fields, host=A)).answer()
        assert answer.status in (302, 401), fields
        cleared = [v for v in answer.all("set-cookie") if v.startswith("CF_Authorization")]
        assert cleared and all("max-age=0" in v.lower() for v in cleared)
        assert any("domain=" in v.lower() for v in cleared)
        assert any("domain=" not in v.lower() for v in cleared)
    assert not checkpoint.origin.requests


@pytest.mark.parametrize("name", [
    b"CF_Authorization\xa0", b"\xe2\x80\x80CF_Authorization", b"CF_Authorization\x85",
    b"cf_authorization", b"CF_Authorization ", b"CF_Authorization[]", b"XCF_Authorization",
])
def test_k02_names_that_look_like_ours(checkpoint: Checkpoint, name: bytes) -> None:
    """K02: not trimmed, not folded, not ours."""
    token = checkpoint.token(A).encode()
    checkpoint.clear()
    assert status(checkpoint, b"Cookie: " + name + b"=" + token) in (302, 400, 401)
    assert not checkpoint.origin.requests


@pytest.mark.parametrize("form", [
    b"=CF_Authorization=%s", b"CF_Authorization %s", b'CF_Authorization="%s"',
    b"$Version=1; $Path=/; CF_Authorization*=%s", b'x="a; CF_Authorization=%s"; y',
])
def test_k03_no_old_cookie_grammar(checkpoint: Checkpoint, form: bytes) -> None:
    """K03: nameless, valueless, quoted and RFC 2109 forms are not ours. (RFC 6265 knows no quoted
    strings, so the last form's cookie ends with a quote and is no token.)"""
    token = checkpoint.token(A).encode()
    checkpoint.clear()
    assert status(checkpoint, b"Cookie: " + form % token) in (302, 400, 401)
    assert not checkpoint.origin.requests


def test_k04_our_cookies(checkpoint: Checkpoint) -> None:
    """K04: host-only, HttpOnly, Secure, Path=/, SameSite, under 4096 bytes; others are __Host-."""
    async def lines() -> list[str]:
        visitor, out = Visitor(checkpoint.plain_port), []
        keep = visitor._keep
        visitor._keep = lambda host, line: (out.append(line), keep(host, line))[1]  # type: ignore[method-assign]
        page = await visitor.get(checkpoint.url(A), follow=True)
        sent = await visitor.submit(page, page.form("email"), email="alice@example.com")
        field = "code" if 'name="code"' in sent.text else "pin"
        code = await asyncio.to_thread(checkpoint.mail.code, "alice@example.com")
        await visitor.submit(sent, sent.form(field), **{field: code})
        return out

    seen = asyncio.run(lines())
    assert any(line.startswith("CF_Authorization=") for line in seen)
    for line in seen:
        name = line.split("=")[0]
        attributes = [a.strip().lower() for a in line.split(";")[1:]]
        assert "httponly" in attributes and "secure" in attributes and "path=/" in attributes, line
        assert any(a.startswith("samesite=") for a in attributes), line
        assert not any(a.startswith("domain") for a in attributes) or "max-age=0" in attributes, line
        assert len(line) < 4096
        assert name.startswith(("CF_", "__Host-")), line


def test_k05_origin_sets_our_cookie(checkpoint: Checkpoint) -> None:
    """K05: stripped from the answer; other cookies of the origin stay."""
    checkpoint.visitor()
    checkpoint.clear()
    checkpoint.origin.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: CF_Authorization=evil; Path=/\r\n"
        b"Set-Cookie: __Host-CF_AppSession=evil\r\nSet-Cookie: theme=dark\r\n\r\n")
    with checkpoint.client() as c:
        answer = c.send(request(f"Cookie: {checkpoint.cookie(A)}", host=A)).answer()
    assert answer.status == 200
    assert not any("evil" in v for v in answer.all("set-cookie"))
    assert "theme=dark" in answer.all("set-cookie")


@pytest.mark.parametrize("line", [
    b"=CF_Authorization=evil; Path=/", b"= \tCF_Authorization=evil", b'"CF_Authorization"=evil', b"cf_authorization=evil",
    b"__Host-CF_Flow=evil; Path=/; Secure", b"=__Host-CF_Session=evil", b"__host-cf_device=evil", b"CF_Binding=evil",
    b"CF_Session=evil", b"CF_AppSession=evil", b"__Host-CF_AppSession=evil", b"CF_Authorization",
])
def test_k05_whatever_a_browser_could_read_as_our_name(checkpoint: Checkpoint, line: bytes) -> None:
    """K05: a nameless cookie is sent back as its value alone, so `=NAME=value` is NAME; every name of ours is stripped."""
    checkpoint.origin.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: " + line + b"\r\nSet-Cookie: CF_Other=1\r\n\r\n")
    with checkpoint.client() as c:
        answer = c.send(request(host=OPEN)).answer()
    assert answer.all("set-cookie") == ["CF_Other=1"]


def test_k06_our_cookies_stay_here(checkpoint: Checkpoint) -> None:
    """K06: session and binding cookies never reach the origin; the application's own do."""
    cookie = checkpoint.cookie(A)
    checkpoint.clear()
    assert status(checkpoint, f"Cookie: a=1; {cookie}; __Host-CF_AppSession=x; b=2") == 200
    seen = checkpoint.origin.wait(1)[0]
    assert [c.strip() for v in seen.all("cookie") for c in v.split(";")] == ["a=1", "b=2"]


def test_k10_session_of_another_application(checkpoint: Checkpoint) -> None:
    """K10, L07: A's token opens neither B nor the admin path, under any cookie name."""
    token = checkpoint.token(A)
    name = checkpoint.cookie(B).split("=")[0]
    checkpoint.clear()
    assert status(checkpoint, f"Cookie: {name}={token}", host=B) in (302, 401, 403)
    assert status(checkpoint, f"Cf-Access-Token: {token}", host=B) in (302, 401, 403)
    assert status(checkpoint, f"Cookie: CF_Authorization={token}", host=PATHS, path="/admin") in (
        302, 401, 403)
    assert not checkpoint.origin.requests


def test_k09_logout(checkpoint: Checkpoint) -> None:
    """K09: after leaving, a copied cookie fails within 5 s; a cross-site GET ends nothing by itself."""
    async def leave() -> tuple[str, str]:
        visitor = Visitor(checkpoint.plain_port)
        visitor.jar["login.sekisho.localhost"] = {"__Host-CF_Device": device}
        page = await visitor.get(checkpoint.url(A), follow=True)
        sent = await visitor.submit(page, page.form("email"), email="alice@example.com")
        field = "code" if 'name="code"' in sent.text else "pin"
        code = await asyncio.to_thread(checkpoint.mail.code, "alice@example.com")
        await visitor.submit(sent, sent.form(field), **{field: code})
        copied = visitor.cookies(A)
        crossed = await visitor.get(checkpoint.url(A, "/cdn-cgi/access/logout"),
                                    headers={"Sec-Fetch-Site": "cross-site"})
        assert "<form" in crossed.text.lower()
        assert (await visitor.get(checkpoint.url(A))).status == 200
        await visitor.get(checkpoint.url(A, "/cdn-cgi/access/logout"), follow=True,
                          headers={"Sec-Fetch-Site": "same-origin"})
        return copied, visitor.cookies(A)

    # in a browser that is known: unknown ones of one network get three mails an hour
    device = checkpoint.visitor().jar["login.sekisho.localhost"]["__Host-CF_Device"]
    copied, left = asyncio.run(leave())
    assert "CF_Authorization" not in left
    for _ in range(50):
        if status(checkpoint, f"Cookie: {copied}") in (302, 401):
            break
        asyncio.run(asyncio.sleep(0.1))
    else:
        raise AssertionError("the copied cookie still worked after 5 s")


def test_l_forged_tokens_through_the_edge(checkpoint: Checkpoint) -> None:
    """L01, L12: a token with another algorithm, more segments or other alphabet is refused."""
    token = checkpoint.token(A)
    head, body, signature = token.split(".")
    checkpoint.clear()
    for forged in (f"eyJhbGciOiJub25lIn0.{body}.", f"{head}.{body}.", f"{token}.x", f"{token}=",
                   f"{head}.{body}.{signature[::-1]}", f"{head[:-1]}.{body}.{signature}"):
        assert status(checkpoint, f"Cookie: CF_Authorization={forged}") in (302, 401)
        assert status(checkpoint, f"Cf-Access-Token: {forged}") in (302, 401, 403)
    assert not checkpoint.origin.requests


def test_p07_our_answers_are_not_cached(checkpoint: Checkpoint) -> None:
    """P07: redirects, refusals and errors of ours say no-store."""
    for host, path in ((A, "/"), ("nobody.sekisho.localhost", "/"), (A, "/cdn-cgi/access/login")):
        with checkpoint.client() as c:
            answer = c.send(request(first=f"GET {path} HTTP/1.1", host=host)).answer()
        assert "no-store" in (answer.get("cache-control") or ""), (host, path)


@pytest.mark.parametrize("path", [
    "/status", "/tunnels", "/%73tatus", "/admin/status", "/..%2fstatus", "/cdn-cgi/access/../status",
    "/cdn-cgi/access/status", "/revoke", "/cdn-cgi/access/%2e%2e/%2e%2e/tunnels", "/service-tokens",
])
@pytest.mark.parametrize("host", ["login.sekisho.localhost", A, OPEN])
def test_q20_no_second_door_to_administration(checkpoint: Checkpoint, host: str, path: str) -> None:
    """Q20: a path of admin.sock asked for through a worker isn't there, whatever the encoding."""
    for method in ("GET", "POST"):
        with checkpoint.client() as c:
            answer = c.send(request("Content-Length: 0", first=f"{method} {path} HTTP/1.1",
                                    host=host)).answer()
        if host == OPEN and answer.status == 200:
            # it went to the origin, which is its right: the host is public
            assert checkpoint.origin.requests
        elif host == A and ("cdn-cgi" not in path or ".." in path or "%2e" in path):
            # an ordinary path of the application, once normal: the sign-in page, or nothing
            assert answer.status in (302, 400, 401, 404)
        else:
            assert answer.status in (400, 404, 405), (method, host, path, answer.status)
        assert b'"workers"' not in answer.body and b'"tunnels"' not in answer.body
