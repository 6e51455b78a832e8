"""Signing in by one-time PIN, end to end over HTTP and real SMTP; sections K and O."""

from tests.control.conftest import Place


async def test_whole_path(place: Place) -> None:
    browser = place.browser()
    page = await browser.open_application("https://wiki.example.com/x?y=1&z=a%2Fb")
    assert page.status == 200 and "Sign in to Wiki" in page.text
    page = await browser.submit(page, "email", email="Ann@Example.com ")
    assert page.url.startswith("https://login.example.com/cdn-cgi/access/pin/")
    await place.mail_for("ann@example.com")
    page = await browser.submit(
        page, "code", code=place.inbox.code_for("ann@example.com"), follow=False
    )
    assert page.status == 303 and page.location.startswith(
        "https://wiki.example.com/cdn-cgi/access/authorized?code="
    )
    page = await browser.get(page.location)
    assert page.status == 302 and page.location == "/x?y=1&z=a%2Fb"
    assert "CF_Authorization" in browser.jar["wiki.example.com"]
