"""One edge, one connector, nginx as origin and as peer, and somebody signed in."""

import asyncio
import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.macro import nginx
from bench.macro.pinned import PROXY, REST, Load, pin
from edge.demo.processes import family
from edge.demo.stage import CONFIG, CONNECTOR, MAY_ENTER, Stage
from edge.demo.visitor import Visitor
from tests.kit.mail import Letters

DIRECT = '  - {{hostname: direct.sekisho.localhost, service: "http://127.0.0.1:ORIGIN"}}\n'
APPLICATION = """\
  - name: Direct
    domain: direct.sekisho.localhost
    policies:
      - {{name: Staff, decision: allow, include: [{{email_domain: example.com}}]}}
"""


class Cast:
    """`direct` is an application that the edge dials itself, `wiki` one behind the tunnel."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        """One worker is measured on a core of its own; more of them run where they like."""
        self.folder = folder
        self.origin, self.origin_port = nginx.origin(folder)
        config = CONFIG.replace("workers: 2", f"workers: {workers}").replace(
            "applications:\n",
            DIRECT.replace("ORIGIN", str(self.origin_port)) + "applications:\n" + APPLICATION)
        connector = CONNECTOR.replace(
            "unix:{sockets}/application.sock", f"http://127.0.0.1:{self.origin_port}")
        self.stage = Stage(folder / "stage", tls=False, tell=lambda text: None, config=config,
                           connector=connector)
        self.stage.prepare()
        self.stage.start()
        pair = self.stage.folder / "edge.pem", self.stage.folder / "edge.key"
        self.peer, self.peer_port, self.peer_tls = nginx.proxy(folder, self.origin_port, *pair)
        if workers == 1:
            for child in self.stage.children.values():
                pin(family(child.pid), REST)
            pin(self.stage.workers() + self.peer.workers(), PROXY)
            pin(self.origin.workers(), REST)
        self.sign_in_page = ""
        self.visitor = asyncio.run(self._sign_in())

    async def _sign_in(self) -> Visitor:
        visitor, mail = Visitor(self.stage.port), Letters(self.stage.inbox_url.rstrip("/"))
        page = await visitor.get(self.stage.url("direct", "/named"), follow=True)
        self.sign_in_page = page.url
        sent = await visitor.submit(page, page.form("email"), email=MAY_ENTER)
        code = await asyncio.to_thread(mail.code, MAY_ENTER)
        done = await visitor.submit(sent, sent.form("code"), code=code)
        there = await visitor.get(self.stage.url("wiki", "/named"), follow=True)
        for one in (done, there):
            if one.status != 200 or one.body != nginx.BODY:
                raise RuntimeError(f"sign-in ended with {one.status} at {one.url}")
        return visitor

    def headers(self, name: str = "direct") -> dict[str, str]:
        """Return a browser's request head of about 1 KB, the session cookie in it."""
        host = f"{name}.sekisho.localhost"
        cookie = self.visitor.cookies(host)
        token = re.sub(r"__Host-CF_AppSession=[^;]*;? ?", "", cookie)
        return {
            "Host": host, "Cookie": token,
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari",
            "Accept": "text/html,application/xhtml+xml",
            "Accept-Language": "en-US,en;q=0.9,ja;q=0.8",
        }

    def load(self, tls: bool, ours: bool, name: str = "direct", connections: int = 64) -> Load:
        port = {
            (True, True): self.stage.tunnel_port, (False, True): self.stage.port,
            (True, False): self.peer_tls, (False, False): self.peer_port,
        }[(tls, ours)]
        scheme = "https" if tls else "http"
        # wrk takes the TLS name from the URL, and every *.localhost name is this machine
        host = f"{name}.sekisho.localhost" if tls else "127.0.0.1"
        # our path answers 200 only to a request that tells the origin who asks
        path = "named" if ours else "small"
        return Load(f"{scheme}://{host}:{port}/{path}", self.headers(name), connections)

    def close(self) -> None:
        self.stage.stop()
        self.peer.stop()
        self.origin.stop()


@contextlib.contextmanager
def cast(workers: int = 1) -> Iterator[Cast]:
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as name:
        one = Cast(Path(name), workers)
        try:
            yield one
        finally:
            one.close()
