"""The page where a code is typed: asking for one, and trying."""

import re

from tests.control.conftest import Place
from tests.kit.sign_in import Browser, Page

WIKI = "https://wiki.example.com/"
ANN = "ann@example.com"


async def ask(place: Place, browser: Browser, address: str = ANN, url: str = WIKI) -> Page:
    """Ask for a code and return the page where it is typed."""
    page = await browser.open_application(url)
    page = await browser.submit(page, "email", email=address)
    assert "/cdn-cgi/access/pin/" in page.url
    return page


async def code(
    place: Place, browser: Browser, address: str = ANN, url: str = WIKI
) -> tuple[Page, str]:
    before = len(place.inbox.for_(address))
    page = await ask(place, browser, address, url)
    await place.mail_for(address, before + 1)
    return page, place.inbox.code_for(address)


def other(right: str) -> str:
    """Return a wrong code of the same length."""
    return f"{(int(right) + 1) % 10 ** len(right):0{len(right)}d}"


async def tried(browser: Browser, page: Page, typed: str) -> str:
    """Type a code; return "in", or what the code page says."""
    answer = await browser.submit(page, "code", code=typed, follow=False)
    if "authorized" in answer.location:
        return "in"
    found = re.search(r"note=(\w+)", answer.location)
    return found[1] if found else f"status {answer.status}"
