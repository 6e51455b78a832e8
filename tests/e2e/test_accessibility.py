"""Every page that we make, before axe-core (WCAG 2.1 A and AA) and before a keyboard: in both
languages, at 320 px and on a desktop, light and dark. A picture of each is kept."""

import itertools
import json
import re
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import ROOT, Theatre, Visit, outsider, somebody

AXE = ROOT / "build" / "peers" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
ASK = """async rules => (await axe.run(document, {runOnly: rules})).violations.map(v =>
    v.id + ': ' + v.nodes.map(n => n.target.join(' ') + ' (' + n.failureSummary + ')').join('; '))"""
STOPS = """[...document.querySelectorAll('a[href],button,input,select,textarea,[tabindex]')].filter(
    e => e.type !== 'hidden' && !e.disabled && e.tabIndex >= 0 && e.getClientRects().length)"""
FOCUS = f"""() => {{
  const e = document.activeElement, s = getComputedStyle(e);
  const seen = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none';
  const r = e.getBoundingClientRect();
  return [{STOPS}.indexOf(e), seen && r.bottom > 0 && r.top < innerHeight];
}}"""

Open = Callable[..., Visit]


def complaints(v: Visit) -> list[str]:
    """Return what axe-core finds on the page, in the light and in the dark."""
    found: list[str] = []
    for scheme in ("light", "dark"):
        v.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        if not v.page.evaluate("typeof axe === 'object'"):
            v.page.evaluate(AXE.read_text())
        found += [f"{scheme}: {one}" for one in v.page.evaluate(ASK, RULES)]
    v.page.emulate_media(color_scheme="light")
    return found


def lost(v: Visit) -> list[str]:
    """Return what a keyboard can't do: Tab visits every stop in the order of reading, visibly."""
    count = v.page.evaluate(f"{STOPS}.length")
    seen: list[int] = []
    found: list[str] = []
    for _ in range(count + 2):
        v.page.keyboard.press("Tab")
        stop, visible = v.page.evaluate(FOCUS)
        if stop >= 0:
            seen.append(stop)
            if not visible:
                found.append(f"the focus on stop {stop} can't be seen")
    if set(seen) != set(range(count)):
        found.append(f"Tab reached {sorted(set(seen))} of {count} stops")
    backwards = [(a, b) for a, b in itertools.pairwise(seen) if b != (a + 1) % count]
    if backwards:
        found.append(f"Tab jumps: {backwards}")
    return found


class Tour:
    """Goes from page to page and keeps what was wrong with each."""

    def __init__(self, theatre: Theatre, open_one: Open, language: str, size: str) -> None:
        self.theatre, self.open, self.language, self.size = theatre, open_one, language, size
        self.wrong: dict[str, list[str]] = {}
        self.seen: set[str] = set()

    def visit(self) -> Visit:
        return self.open(self.language, self.size)

    def look(self, v: Visit, name: str, *, foreign: bool = False) -> None:
        """Judge the page that is shown; `foreign`: it has one language only."""
        found = complaints(v)
        v.picture(name)
        found += lost(v)
        if not v.fits():
            found.append("has to be scrolled sideways")
        if not foreign and v.page.locator("html").get_attribute("lang") != self.language[:2]:
            found.append("is in another language than it says")
        if v.page.locator("h1").count() != 1 and not foreign:
            found.append("has not one h1")
        self.seen.add(name)
        if found:
            self.wrong[name] = found


@pytest.fixture(params=["en-US", "ja-JP"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["narrow", "desktop"])
def tour(
    theatre: Theatre, visit: Open, language: str, request: pytest.FixtureRequest
) -> Iterator[Tour]:
    assert AXE.exists(), "axe-core is missing: .ci/peers installs it"
    one = Tour(theatre, visit, language, request.param)
    yield one
    assert not one.wrong, json.dumps(one.wrong, indent=2, ensure_ascii=False)


def test_sign_in_pages(tour: Tour) -> None:
    """Choosing a way, the code with each thing it may say, the application, leaving."""
    v, person, theatre = tour.visit(), somebody(), tour.theatre
    v.page.goto(theatre.wiki)
    tour.look(v, "sign-in")
    v.page.goto(v.page.url + "&note=address")
    tour.look(v, "sign-in-address")
    v.page.fill("input[name=email]", person)
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("input[name=code]")
    tour.look(v, "code")
    here = v.page.url
    for note in ("wrong", "dead", "malformed", "longer", "busy", "sent"):
        v.page.goto(f"{here.split('?')[0]}?note={note}")
        assert v.page.locator(".note").count() == 1, note
        tour.look(v, f"code-{note}")
    other = tour.visit()
    other.page.goto(here)
    assert "flow-unknown" in other.page.inner_text("main")
    tour.look(other, "elsewhere")
    v.page.fill("input[name=code]", theatre.mail.code(person))
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("h1:has-text('You are in')")
    tour.look(v, "application", foreign=True)
    v.page.goto(theatre.stage.url("login"))
    assert person in v.page.inner_text("main")
    tour.look(v, "landing-signed-in")
    # from another site: asked first
    v.page.goto(theatre.stage.inbox_url)
    v.page.evaluate(f"location.href = '{theatre.stage.url('wiki', '/cdn-cgi/access/logout')}'")
    v.page.wait_for_selector("form button[name=all]")
    tour.look(v, "logout-asked")
    v.page.locator("form button[name=all]").click()
    v.page.wait_for_selector("h1")
    tour.look(v, "logout-done")
    v.page.goto(theatre.stage.url("login"))
    tour.look(v, "landing")


def test_refusals(tour: Tour) -> None:
    """What a person reads who doesn't get what they asked for."""
    v, theatre = tour.visit(), tour.theatre
    person = outsider()
    v.sign_in(theatre, person, theatre.stage.url("wiki"))
    assert person in v.page.inner_text("main")
    tour.look(v, "refused")
    other = theatre.stage.url
    pages = {
        "unknown-host": (404, other("nobody")),
        "unknown-application": (404, other("login", "/cdn-cgi/access/login/none.test?kid=0")),
        "tunnel-down": (502, other("gone")),
        "sign-in-spent": (403, other("wiki", "/cdn-cgi/access/authorized?code=x")),
    }
    for name, (status, url) in pages.items():
        answer = v.page.goto(url)
        assert answer is not None and answer.status == status, (name, answer and answer.status)
        assert v.page.locator("main").count(), (name, v.page.content())
        assert str(status) in v.page.inner_text("main"), v.page.content()
        tour.look(v, name)


def test_inbox(tour: Tour) -> None:
    """The demo's mail, and the letter itself as a mail program would show it."""
    v, person = tour.visit(), somebody()
    v.page.goto(tour.theatre.wiki)
    v.page.fill("input[name=email]", person)
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("input[name=code]")
    letter = tour.theatre.mail.letter(person)
    assert re.search(r"(?<!\d)\d{6}(?!\d)", letter["text"])
    v.page.goto(tour.theatre.stage.inbox_url)
    tour.look(v, "inbox", foreign=True)
    mail = tour.visit()      # a page of its own: the inbox's policy allows no inline style
    mail.page.set_content(letter["html"])
    tour.look(mail, "letter", foreign=True)
