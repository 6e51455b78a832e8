"""The pages in a real Chromium: styled under our own policy, usable at 320 px and by keyboard
alone."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.async_api import async_playwright

from edge.identity.world import Application
from tests.control.conftest import Place
from tests.kit.sign_in import WIKI_AUD

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts" / "pages"


@pytest.fixture
async def served(place: Place) -> AsyncIterator[tuple[Place, str]]:
    """Serve the public application on loopback under names that browsers take for secure."""
    server = uvicorn.Server(uvicorn.Config(place.app, port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    place.worlds.append(
        dataclasses.replace(
            place.worlds[-1],
            auth_domain="login.sekisho.localhost",
            scheme="http",
            suffix=f":{port}",
            applications={WIKI_AUD: Application(WIKI_AUD, "Wiki", ("wiki.sekisho.localhost",))},
        )
    )
    place.judge.listed["wiki.sekisho.localhost"] = {"ann@example.com"}
    yield place, f"http://wiki.sekisho.localhost:{port}"
    server.should_exit = True
    await task


@pytest.mark.parametrize(
    ("locale", "width", "scheme"), [("en-US", 1280, "light"), ("ja-JP", 320, "dark")]
)
async def test_sign_in_by_keyboard(
    served: tuple[Place, str], locale: str, width: int, scheme: Any
) -> None:
    place, wiki = served
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        context = await browser.new_context(
            locale=locale, viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page = await context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        foreign: list[str] = []
        page.on(
            "request",
            lambda r: (
                foreign.append(r.url)
                if ".sekisho.localhost" not in r.url and not r.url.startswith("data:")
                else None
            ),
        )

        async def look(name: str) -> None:
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, name
            rounded = await page.evaluate(
                "getComputedStyle(document.querySelector('main')).borderRadius"
            )
            assert rounded in ("14px", "16px"), "the style sheet was not admitted"
            await page.screenshot(path=str(ARTEFACTS / f"{name}-{locale}.png"), full_page=True)

        async def focused(field: str) -> None:
            await page.wait_for_function(f"document.activeElement?.id === '{field}'")

        await page.goto(f"{wiki}/cdn-cgi/access/login?redirect_url=/")
        assert await page.get_attribute("html", "lang") == locale[:2]
        await look("sign-in")
        await focused("email")
        await page.keyboard.type("ann@example.com")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/cdn-cgi/access/pin/*")
        await place.mail_for("ann@example.com")
        right = place.inbox.code_for("ann@example.com")
        await focused("code")
        await page.keyboard.type(f"{(int(right) + 1) % 10**6:06d}")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**note=wrong")
        await look("wrong-code")
        assert await page.get_by_role("alert").count() == 1
        await focused("code")
        await page.keyboard.type(right)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{wiki}/")
        kept = {(c["name"], c["domain"]): c for c in await context.cookies()}
        session = kept["CF_Authorization", "wiki.sekisho.localhost"]
        assert session["httpOnly"] and session["secure"] and session["sameSite"] == "Lax"
        assert kept["__Host-CF_Device", "login.sekisho.localhost"]["sameSite"] == "Strict"
        assert ("__Host-CF_Flow", "login.sekisho.localhost") not in kept

        await page.goto(f"{wiki}/cdn-cgi/access/logout")  # a typed address ends it at once
        await look("signed-out")
        assert not [c for c in await context.cookies(wiki) if c["name"] == "CF_Authorization"]
        await browser.close()
    assert not [line for line in said if "Content Security Policy" in line], said
    assert foreign == []
