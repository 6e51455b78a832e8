"""A real OpenID provider (npm oidc-provider) on loopback, and a person who signs in at it."""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2

from tests.kit.sign_in import Page

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build" / "peers"
PACKAGE = "oidc-provider@9.13.3"


def install() -> None:
    """Install the provider below build/peers unless it is there."""
    PEERS.mkdir(parents=True, exist_ok=True)
    with open(PEERS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (PEERS / "node_modules" / "oidc-provider").exists():
            return
        npm = shutil.which("npm")
        assert npm is not None, "npm is needed: apt install nodejs npm"
        subprocess.run(  # noqa: S603
            [npm, "i", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE], cwd=PEERS, check=True,
            capture_output=True, timeout=240,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(redirect_uri: str, *, conform: bool = False) -> Iterator[str]:
    """Run a provider and give its issuer."""
    install()
    node = shutil.which("node")
    assert node is not None, "node is needed: apt install nodejs"
    script = PEERS / "oidc_provider.mjs"  # beside node_modules, where imports are looked up
    script.write_text((ROOT / "tests" / "kit" / "oidc_provider.mjs").read_text())
    port = free_port()
    process = subprocess.Popen(  # noqa: S603
        [node, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PORT": str(port), "REDIRECT_URI": redirect_uri,
             "CONFORM": "1" if conform else "0"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "up"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def sign_in_at(url: str, login: str) -> str:
    """Walk the provider's own pages as this person; return the address that it sends the browser to."""
    async with httpx2.AsyncClient(follow_redirects=False) as client:
        answer: Any = await client.get(url)
        for _ in range(12):
            while answer.status_code in (302, 303):
                to = urljoin(str(answer.request.url), answer.headers["location"])
                if not to.startswith(str(httpx2.URL(url).copy_with(raw_path=b"/"))):
                    return to
                answer = await client.get(to)
            page = Page(str(answer.request.url), answer.status_code, answer.headers, answer.text)
            assert page.status == 200, (page.status, page.text[:300])
            form = page.forms[0]
            fields = dict(form["fields"])
            if "login" in form["inputs"]:
                fields.update(login=login, password="any")
            answer = await client.post(urljoin(page.url, form["action"]), data=fields)
    raise AssertionError("the provider never sent the browser back")
