"""What a person meets, in a real Chromium: sign-in, refusal, the application, leaving."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Theatre, Visit, outsider, somebody

Open = Callable[..., Visit]
LANGUAGES = pytest.mark.parametrize("language", ["en-US", "ja-JP"])
SIZES = pytest.mark.parametrize("size", ["desktop", "phone"])


@LANGUAGES
@SIZES
def test_one_time_pin(theatre: Theatre, visit: Open, language: str, size: str) -> None:
    """PIN by mail, and back at the exact address asked for, in both languages and sizes."""
    v = visit(language, size)
    person = somebody()
    v.page.goto(theatre.wiki + "?page=7&q=%E9%96%A2#deep")
    assert "login.sekisho.localhost" in v.page.url
    assert v.page.locator("html").get_attribute("lang") == language[:2]
    assert "Wiki" in v.page.inner_text("h1")
    assert v.fits()
    v.picture("1-sign-in")
    v.page.fill("input[name=email]", person)
    v.page.locator("form:has(input[name=email]) button").click()
    v.page.wait_for_selector("input[name=code]")
    assert v.fits()
    v.picture("2-code")
    letter = theatre.mail.letter(person)
    japanese = re.search(r"[\u3040-\u30ff]", letter["text"]) is not None
    assert japanese == (language == "ja-JP"), "the mail is in the reader's language"
    code = re.search(r"(?<!\d)\d{6}(?!\d)", letter["text"])
    assert code and letter["html"] and code.group() not in letter["subject"]
    v.page.fill("input[name=code]", code.group())
    v.page.locator("form:has(input[name=code]) button").first.click()
    v.page.wait_for_selector("h1:has-text('You are in')")
    assert v.page.url.startswith(theatre.wiki + "?page=7&q=%E9%96%A2")
    assert person in v.page.inner_text("h1")
    v.page.wait_for_selector("#socket-state.on")
    v.page.wait_for_selector("#events-state.on")
    assert v.fits()
    v.picture("3-application")
    assert v.hosts <= {"wiki.sekisho.localhost", "login.sekisho.localhost"}, v.hosts
    assert not v.complaints, v.complaints


@LANGUAGES
@SIZES
def test_openid_connect(theatre: Theatre, visit: Open, language: str, size: str) -> None:
    """A certified provider signs the person in; the application hears the address from there."""
    v = visit(language, size)
    v.page.goto(theatre.wiki + "?from=sso")
    v.page.locator("button", has_text="Company SSO").click()
    v.page.fill("input[name=login]", "taro")
    v.page.fill("input[name=password]", "anything")
    v.page.locator("button[type=submit]").click()
    v.page.wait_for_load_state()
    if "wiki." not in v.page.url:   # the provider asks for consent once
        v.page.locator("button[type=submit]").click()
    v.page.wait_for_selector("h1:has-text('You are in')")
    assert "taro@example.com" in v.page.inner_text("h1")
    assert v.page.url == theatre.wiki + "?from=sso"


@LANGUAGES
@SIZES
def test_refusal(theatre: Theatre, visit: Open, language: str, size: str) -> None:
    """A refused person reads why, as whom, and what to do; the page has a request id."""
    v = visit(language, size)
    person = outsider()
    v.sign_in(theatre, person)
    text = v.page.inner_text("main")
    assert person in text and "403" in text
    assert "You are in" not in text
    assert v.page.locator("html").get_attribute("lang") == language[:2]
    assert v.fits()
    v.picture("4-refused")


def test_wrong_code(theatre: Theatre, visit: Open) -> None:
    """A wrong code says so, to a screen reader too, and the right one still works."""
    v = visit()
    person = somebody()
    v.page.goto(theatre.wiki)
    v.page.fill("input[name=email]", person)
    v.page.locator("form:has(input[name=email]) button").click()
    right = theatre.mail.code(person)
    v.page.fill("input[name=code]", "000000" if right != "000000" else "000001")
    v.page.locator("form:has(input[name=code]) button").first.click()
    v.page.wait_for_selector("[role=alert]")
    v.picture("5-wrong-code")
    v.page.fill("input[name=code]", right)
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("h1:has-text('You are in')")


def test_by_keyboard_alone(theatre: Theatre, visit: Open) -> None:
    """The whole sign-in without a mouse, the focus always visible."""
    v = visit()
    person = somebody()
    v.page.goto(theatre.wiki)

    def reach(name: str) -> None:
        for _ in range(12):
            focused = "document.activeElement && document.activeElement.getAttribute('name')"
            if v.page.evaluate(focused) == name:
                return
            v.page.keyboard.press("Tab")
        raise AssertionError(f"Tab never reached {name}")

    reach("email")
    outline = "getComputedStyle(document.activeElement)"
    style = v.page.evaluate(f"[{outline}.outlineStyle, {outline}.boxShadow].join()")
    assert style != "none,none", "the focus is invisible"
    v.page.keyboard.type(person)
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("input[name=code]")
    reach("code")
    v.page.keyboard.type(theatre.mail.code(person))
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("h1:has-text('You are in')")


def test_every_field_has_a_name(theatre: Theatre, visit: Open) -> None:
    """What a screen reader hears: every field and button has a name, headings begin at h1."""
    v = visit("ja-JP", "phone")
    v.page.goto(theatre.wiki)
    nameless = v.page.evaluate("""[...document.querySelectorAll('input:not([type=hidden]),button,a')]
        .filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).length""")
    assert nameless == 0
    assert v.page.locator("h1").count() == 1
    assert v.page.locator("main").count() == 1


def test_narrow_screen(theatre: Theatre, visit: Open) -> None:
    """320 pixels are enough."""
    v = visit("ja-JP")
    v.page.set_viewport_size({"width": 320, "height": 640})
    v.page.goto(theatre.wiki)
    assert v.fits()
    v.picture("6-narrow")


@LANGUAGES
@SIZES
def test_websocket_and_events(theatre: Theatre, visit: Open, language: str, size: str) -> None:
    """A message comes back; events keep coming."""
    v = visit(language, size)
    v.sign_in(theatre, somebody())
    v.page.wait_for_selector("#socket-state.on")
    v.page.fill("#words", "関所を通る")
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("#echoes li:has-text('関所を通る')")
    v.page.wait_for_selector("#events-state.on")
    v.page.locator("#count", has_text=re.compile("^[2-9]$")).wait_for()
    assert int(v.page.inner_text("#delay")) < 100


@SIZES
def test_upload_and_download(theatre: Theatre, visit: Open, tmp_path: Path, size: str) -> None:
    """A file of 30 MB goes up through the page, and one comes down whole."""
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(range(256)) * 120_000)
    v = visit(size=size)
    v.sign_in(theatre, somebody())
    v.page.set_input_files("#file", big)
    v.page.wait_for_selector(f"#uploaded:has-text('{big.stat().st_size} bytes arrived')")
    with v.page.expect_download() as download:
        v.page.locator("a.button", has_text="10 MB").click()
    saved = tmp_path / "down.bin"
    download.value.save_as(saved)
    assert saved.stat().st_size == 10_000_000


@LANGUAGES
@SIZES
def test_leaving(theatre: Theatre, visit: Open, language: str, size: str) -> None:
    """Sign out ends it: the next visit asks who it is, and the WebSocket is closed."""
    v = visit(language, size)
    v.sign_in(theatre, somebody())
    v.page.wait_for_selector("#socket-state.on")
    second = v.context.new_page()
    second.goto(theatre.wiki)
    second.locator("a.leave").click()
    second.wait_for_load_state()
    v.page.wait_for_selector("#socket-state:not(.on)", timeout=6000)
    assert not any(c["name"].startswith("CF_Authorization") and "wiki" in c["domain"]
                   for c in v.context.cookies())
    v.page.goto(theatre.wiki)
    v.page.wait_for_selector("input[name=email]")


def test_cookies_in_the_browser(theatre: Theatre, visit: Open) -> None:
    """K04 as a browser keeps them: host-only, HttpOnly, Secure, SameSite."""
    v = visit()
    v.sign_in(theatre, somebody())
    ours = [c for c in v.context.cookies() if c["name"].startswith(("CF_", "__Host-"))]
    assert any(c["name"] == "CF_Authorization" and c["domain"] == "wiki.sekisho.localhost"
               for c in ours)
    for cookie in ours:
        assert cookie["httpOnly"] and cookie["secure"], cookie["name"]
        assert not cookie["domain"].startswith("."), cookie["name"]
        assert cookie["sameSite"] in ("Lax", "Strict"), cookie["name"]


def test_no_certificate_warning(theatre: Theatre, visit: Open) -> None:
    """The demo's plain names count as secure: a WebSocket, a Secure cookie and no warning."""
    v = visit()
    v.page.goto(theatre.wiki)
    assert v.page.evaluate("window.isSecureContext") is True


@LANGUAGES
def test_pages_of_our_own(theatre: Theatre, visit: Open, language: str) -> None:
    """An unknown host gets a page with a reason and an id, and no list of what there is."""
    v = visit(language)
    v.page.goto(theatre.stage.url("nobody"))
    text = v.page.inner_text("main")
    assert "404" in text and "wiki" not in text.lower()
    assert v.page.locator("html").get_attribute("lang") == language[:2]
    v.picture("7-unknown-host")
