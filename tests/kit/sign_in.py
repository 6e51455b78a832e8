"""A sign-in desk for tests: real store, real keys, real SMTP, and a small strict browser."""

import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpx2

AUTH = "login.example.com"
WIKI_AUD, GRAFANA_AUD = "a" * 64, "b" * 64


class ManualClock:
    """Time that moves only when a test says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _Forms(HTMLParser):
    """Collects a page's forms and links as a browser would submit them."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.links: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({"action": a.get("action", ""), "fields": {}, "inputs": set()})
            self._open = True
        elif tag == "input" and self._open:
            self.forms[-1]["inputs"].add(a.get("name"))
            if a.get("type") == "hidden":
                self.forms[-1]["fields"][a["name"]] = a.get("value", "")
        elif tag == "a":
            self.links.append(a.get("href", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False


@dataclass
class Page:
    url: str
    status: int
    headers: Any
    text: str

    @property
    def _parsed(self) -> _Forms:
        parser = _Forms()
        parser.feed(self.text)
        return parser

    @property
    def forms(self) -> list[dict[str, Any]]:
        return self._parsed.forms

    @property
    def links(self) -> list[str]:
        return self._parsed.links

    @property
    def location(self) -> str:
        return str(self.headers.get("location", ""))

    def form(self, has: str) -> dict[str, Any]:
        return next(f for f in self.forms if has in f["inputs"] or has in f["fields"])


@dataclass
class Browser:
    """Keeps host-only cookies, follows redirects when told, sends what the worker would add."""

    app: Any
    address: str = "192.0.2.10"
    language: str = "en"
    auds: dict[str, str] = field(default_factory=dict)  # host -> AUD that the worker would match
    jar: dict[str, dict[str, str]] = field(default_factory=dict)  # host -> cookies
    set_cookies: list[str] = field(default_factory=list)
    outside: Any = None  # a client for hosts that aren't ours

    async def send(
        self,
        method: str,
        url: str,
        *,
        data: dict[str, str] | None = None,
        follow: bool = False,
        headers: dict[str, str] | None = None,
        site: str | None = None,
        cookie: str | None = None,
    ) -> Page:
        parts = urlsplit(url)
        host = parts.hostname or ""
        jar = self.jar.setdefault(host, {})
        sent = {
            "host": parts.netloc,
            "cf-connecting-ip": self.address,
            "cf-ray": "0123456789abcdef",
            "accept": "text/html,application/xhtml+xml",
            "accept-language": self.language,
            "sec-fetch-mode": "navigate",
            "sec-fetch-site": site or ("same-origin" if method == "POST" else "none"),
        }
        if host in self.auds:
            sent["cf-sekisho-aud"] = self.auds[host]
        line = cookie if cookie is not None else "; ".join(f"{n}={v}" for n, v in jar.items())
        if line:
            sent["cookie"] = line
        if method == "POST":
            sent["origin"] = f"{parts.scheme}://{parts.netloc}"
            sent["content-type"] = "application/x-www-form-urlencoded"
        sent.update(headers or {})
        sent = {name: value for name, value in sent.items() if value is not None}
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        ) as client:
            answer = await client.request(
                method,
                url,
                headers=sent,
                content=urlencode(data or {}) if method == "POST" else None,
            )
        self.set_cookies = answer.headers.get_list("set-cookie")
        for line in self.set_cookies:
            self._keep(host, line)
        page = Page(url, answer.status_code, answer.headers, answer.text)
        if follow and page.status in (301, 302, 303, 307, 308):
            return await self.get(urljoin(url, page.location), follow=True)
        return page

    def _keep(self, host: str, line: str) -> None:
        pair, *attributes = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        known = {a.partition("=")[0].lower(): a.partition("=")[2] for a in attributes}
        if "domain" in known or known.get("path") != "/":
            assert known.get("max-age") == "0"
            return  # only ever used to clear what somebody planted
        assert "secure" in known
        if known.get("max-age") == "0":
            self.jar[host].pop(name, None)
        else:
            self.jar[host][name] = value

    async def get(self, url: str, **options: Any) -> Page:
        return await self.send("GET", url, **options)

    async def submit(self, page: Page, has: str, *, follow: bool = True, **fields: str) -> Page:
        form = page.form(has)
        data = {**form["fields"], **fields}
        return await self.send(
            "POST", urljoin(page.url, form["action"] or page.url), data=data, follow=follow
        )

    async def open_application(self, url: str) -> Page:
        """Go where a worker sends somebody who isn't signed in, and return the sign-in page."""
        parts = urlsplit(url)
        redirect = parts.path + (f"?{parts.query}" if parts.query else "")
        begin = f"{parts.scheme}://{parts.netloc}/cdn-cgi/access/login?" + urlencode(
            {"redirect_url": redirect or "/"}
        )
        return await self.get(begin, follow=True)


class Inbox:
    """A real SMTP server's handler: keeps what arrives, by recipient."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []

    def for_(self, address: str) -> list[EmailMessage]:
        return [letter for letter in self.letters if letter["To"] == address]

    def code_for(self, address: str) -> str:
        return code_in(self.for_(address)[-1])


def code_in(letter: EmailMessage) -> str:
    """Return the code that a letter's text holds."""
    body = letter.get_body(("plain",))
    assert body is not None
    found = re.search(r"^\s+(\d{6,8})\s*$", body.get_content(), re.MULTILINE)
    assert found is not None, body.get_content()
    return found[1]
