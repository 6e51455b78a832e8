"""A browser's manners without a browser: cookies, redirects and forms, over one dialled address.

It never resolves a name: every host of the demo is 127.0.0.1 at the given port."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote_plus, urljoin, urlsplit

LIMIT = 1 << 20   # bytes of one line or of a body that is kept


@dataclass
class Form:
    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)


class Forms(HTMLParser):
    """Collects a page's forms with the values that they were sent with."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {k: v or "" for k, v in attrs}
        if tag == "form":
            self.forms.append(Form(a.get("action", ""), a.get("method", "get").lower()))
        elif tag == "input" and self.forms and a.get("name"):
            self.forms[-1].fields[a["name"]] = a.get("value", "")


@dataclass
class Reply:
    url: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def get(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def form(self, *names: str) -> Form:
        """Return the first form that has all these inputs; raises LookupError."""
        parser = Forms()
        parser.feed(self.text)
        for form in parser.forms:
            if all(name in form.fields for name in names):
                return form
        raise LookupError(f"{self.url} ({self.status}) shows no form with {', '.join(names)}")


class Visitor:
    """One browser profile. Not safe for two requests at once that set cookies."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port, self.tls = port, tls
        self.jar: dict[str, dict[str, str]] = {}   # host: {cookie: value}; all ours are host-only

    def cookies(self, host: str) -> str:
        return "; ".join(f"{k}={v}" for k, v in self.jar.get(host, {}).items())

    def _keep(self, host: str, line: str) -> None:
        pair, *attributes = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        gone = any(a.lower().replace(" ", "") == "max-age=0" for a in attributes)
        jar = self.jar.setdefault(host, {})
        if gone or not value:
            jar.pop(name, None)
        else:
            jar[name] = value

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        stream: AsyncIterator[bytes] | None = None,
        length: int = 0,
        cookies: bool = True,
    ) -> AsyncIterator[tuple[Reply, Callable[[], AsyncIterator[bytes]]]]:
        """Send one request; yield the reply without its body, and how to iterate over that."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, limit=LIMIT, ssl=self.tls,
            server_hostname=host if self.tls else None,
        )
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            lines = {"Host": parts.netloc, "Accept": "text/html", "Connection": "close"}
            if stream is not None or body or method in ("POST", "PUT"):
                lines["Content-Length"] = str(length if stream is not None else len(body))
            if cookies and self.jar.get(host):
                lines["Cookie"] = self.cookies(host)
            lines.update(headers or {})
            head = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
            writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
            sending: asyncio.Task[None] | None = None
            if stream is not None:
                sending = asyncio.create_task(self._pour(writer, stream))
            else:
                await writer.drain()
            reply = await self._head(reader, url)
            for name, value in reply.headers:
                if name.lower() == "set-cookie":
                    self._keep(host, value)

            async def blocks() -> AsyncIterator[bytes]:
                async for block in self._body(reader, reply, method):
                    yield block

            yield reply, blocks
            if sending is not None:
                await sending
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _pour(self, writer: asyncio.StreamWriter, stream: AsyncIterator[bytes]) -> None:
        async for block in stream:
            writer.write(block)
            await writer.drain()

    async def _head(self, reader: asyncio.StreamReader, url: str) -> Reply:
        while True:
            raw = await reader.readuntil(b"\r\n\r\n")
            first, *rest = raw[:-4].decode("latin-1").split("\r\n")
            status = int(first.split(" ", 2)[1])
            if status >= 200:
                break
        headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in rest)]
        return Reply(url, status, headers)

    async def _body(
        self, reader: asyncio.StreamReader, reply: Reply, method: str
    ) -> AsyncIterator[bytes]:
        if method == "HEAD" or reply.status in (204, 304):
            return
        if (reply.get("transfer-encoding") or "").lower() == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
            return
        length = reply.get("content-length")
        left = int(length) if length is not None else None
        while left is None or left > 0:
            block = await reader.read(1 << 18 if left is None else min(left, 1 << 18))
            if not block:
                if left:
                    raise EOFError(f"{left} bytes short")
                return
            left = None if left is None else left - len(block)
            yield block

    async def request(
        self, method: str, url: str, *, follow: bool = False,
        headers: dict[str, str] | None = None, body: bytes = b"", cookies: bool = True,
    ) -> Reply:
        """Return the whole reply; with follow, the one at the end of the redirects."""
        for _ in range(12):
            async with self.open(
                method, url, headers=headers, body=body, cookies=cookies
            ) as (reply, blocks):
                kept = [block async for block in blocks()]
                reply.body = b"".join(kept)
            where = reply.get("location")
            if not follow or reply.status not in (301, 302, 303, 307, 308) or where is None:
                return reply
            url, body = urljoin(url, where), b""
            method = "GET"
            headers = None
        raise RuntimeError(f"more than 12 redirects, the last to {url}")

    async def get(
        self, url: str, *, follow: bool = False, headers: dict[str, str] | None = None,
        cookies: bool = True,
    ) -> Reply:
        return await self.request("GET", url, follow=follow, headers=headers, cookies=cookies)

    async def submit(self, page: Reply, form: Form, **values: str) -> Reply:
        """Send a form as a browser would, and follow to where it leads."""
        fields = "&".join(
            f"{quote_plus(k)}={quote_plus(v)}" for k, v in {**form.fields, **values}.items()
        )
        url = urljoin(page.url, form.action)
        if form.method != "post":
            return await self.get(url.split("?")[0] + "?" + fields, follow=True)
        parts = urlsplit(page.url)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "navigate",
        }
        return await self.request("POST", url, follow=True, headers=headers, body=fields.encode())
