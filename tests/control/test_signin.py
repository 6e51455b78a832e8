"""Signing in by one-time PIN, end to end over HTTP and real SMTP; sections K and O."""

import pytest

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


@pytest.mark.parametrize(
    "odd", ["%00" * 22, "A" * 21, "A" * 23, "..%2f..", "%ef%bf%bd" * 22, "'--"]
)
async def test_what_is_no_flow_of_ours_reaches_no_database(place: Place, odd: str) -> None:
    """M01 O06: PostgreSQL raises for a NUL, and a stranger's text is none of its business."""
    browser = place.browser()
    await browser.open_application("https://wiki.example.com/")
    asked: list[str] = []
    real = place.desk.store.flows.get

    async def get(flow: str, now: int) -> object:
        asked.append(flow)
        return await real(flow, now)

    place.desk.store.flows.get = get  # type: ignore[assignment, method-assign]
    for path in (f"callback?code=x&state={odd}", f"pin/{odd}"):
        answer = await browser.get(f"https://login.example.com/cdn-cgi/access/{path}")
        assert answer.status in (400, 404)
    assert asked == []
    await browser.get("https://login.example.com/cdn-cgi/access/pin/" + "A" * 22)
    assert asked == ["A" * 22]
