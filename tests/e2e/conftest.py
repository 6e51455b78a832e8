"""A real Chromium before the demo's whole cast, with a certified OpenID provider beside the PIN."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from edge.demo.stage import CONFIG, Stage
from tests.kit.mail import Letters
from tests.kit.oidc_provider import CLIENT_ID, CLIENT_SECRET, OpenIDProvider

ROOT = Path(__file__).parent.parent.parent
ARTEFACTS = ROOT / "artefacts"
SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True,
              "device_scale_factor": 2},
    "narrow": {"viewport": {"width": 320, "height": 640}},
}
NUMBERS = itertools.count(1)
SSO = """  - {{name: Company SSO, type: oidc, issuer: "ISSUER", client_id: CLIENT,
     client_secret_file: SECRET, groups_claim: groups, scopes: [openid, email, groups, profile],
     allow_private_address: true}}
routes:
  - {{hostname: gone.sekisho.localhost, tunnel: nowhere}}"""
GONE = """applications:
  - name: Gone
    domain: gone.sekisho.localhost
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
"""


class Theatre:
    """The running demo, its mail, and the provider."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        secret = folder / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text(CLIENT_SECRET)
        self.stage = Stage(folder / "stage", tls=False, tell=lambda text: None)
        callback = self.stage.url("login", "/cdn-cgi/access/callback")
        self.provider = OpenIDProvider(folder, [callback])
        self.stage.config_text = CONFIG.replace("routes:", SSO, 1).replace(
            "ISSUER", self.provider.issuer).replace("CLIENT", CLIENT_ID).replace(
            "SECRET", str(secret)).replace("applications:\n", GONE, 1).replace(
            "{{email: {may_not}}}", "{{email_domain: contractor.example}}")
        self.stage.prepare()
        self.stage.start()
        self.mail = Letters(self.stage.inbox_url.rstrip("/"))
        self.wiki = self.stage.url("wiki")

    def close(self) -> None:
        self.stage.stop()
        self.provider.close()


@pytest.fixture(scope="session")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    one = Theatre(tmp_path_factory.mktemp("theatre"))
    yield one
    one.close()


def somebody() -> str:
    """Return a new address that may enter: one address gets at most five mails an hour (O10)."""
    return f"person{next(NUMBERS)}@example.com"


def outsider() -> str:
    """Return a new address that gets a code and is refused (the demo's own knows one only)."""
    return f"outsider{next(NUMBERS)}@contractor.example"


class Visit:
    """One fresh browser profile, of a language and a size. It notes what a page must not do."""

    def __init__(self, browser: Browser, language: str = "en-US", size: str = "desktop") -> None:
        settings: Any = SIZES[size]
        self.context: BrowserContext = browser.new_context(locale=language, **settings)
        self.page: Page = self.context.new_page()
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda r: self.hosts.add(r.url.split("/")[2].split(":")[0]))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.label = f"{language[:2]}-{size}"

    def picture(self, name: str) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        whole = "desktop" not in self.label
        self.page.screenshot(path=ARTEFACTS / f"{name}-{self.label}.png", full_page=whole)

    def fits(self) -> bool:
        """True when nothing has to be scrolled sideways."""
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        return bool(self.page.evaluate(wide))

    def sign_in(self, theatre: Theatre, email: str, url: str | None = None) -> None:
        """From an application's address through the PIN to wherever that leads."""
        self.page.goto(url or theatre.wiki)
        self.page.locator("input[name=email]").fill(email)
        self.page.locator("form:has(input[name=email]) button").click()
        self.page.locator("input[name=code]").fill(theatre.mail.code(email))
        self.page.locator("form:has(input[name=code]) button").first.click()
        self.page.wait_for_load_state()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Any]:
    """Return a function that opens a fresh profile; all are closed at the end."""
    opened: list[Visit] = []

    def open_one(language: str = "en-US", size: str = "desktop") -> Visit:
        opened.append(Visit(chromium, language, size))
        opened[-1].page.set_default_timeout(8000)
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()
