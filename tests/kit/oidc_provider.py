"""The real OpenID provider (npm oidc-provider) as a process, and a person who signs in at it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2

from edge.demo.processes import Child, answers, free_port
from tests.kit.node import node
from tests.kit.sign_in import Page

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
USERS = {
    "taro": {
        "email": "taro@example.com",
        "name": "Taro",
        "groups": ["eng", "admins"],
        "department": "engineering",
    },
    "hanako": {"email": "hanako@example.com", "name": "Hanako", "groups": ["sales"]},
}
CLIENT_ID, CLIENT_SECRET = "edge", "edge-secret-edge-secret-edge-secret"


class OpenIDProvider:
    """Signs in whoever types a login name (any password). `redirect` are the allowed callbacks."""

    def __init__(
        self,
        folder: Path,
        redirect: list[str],
        users: dict[str, Any] | None = None,
        *,
        conform: bool = False,
    ) -> None:
        modules = ROOT / "build" / "peers"
        assert (modules / "node_modules" / "oidc-provider").exists(), (
            "npm's oidc-provider is missing: make test installs or names it"
        )
        self.port = free_port()
        client = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": redirect,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
        }
        env = {
            "PORT": str(self.port),
            "ISSUER": self.issuer,
            "CLIENTS": json.dumps([client]),
            "USERS": json.dumps(users or USERS),
            "MODULES": str(modules),
            "NODE_NO_WARNINGS": "1",
            "CONFORM": "1" if conform else "0",  # 1: claims at the userinfo endpoint only
        }
        self.child = Child("oidc", [node(), str(HERE / "oidc.mjs")], folder / "oidc.log", env)
        self.child.start()
        well_known = f"{self.issuer}/.well-known/openid-configuration"
        self.child.wait_until(lambda: answers(well_known), "discovery")

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.child.stop()


async def sign_in_at(url: str, login: str) -> str:
    """Walk the provider's own pages as this person; return the address that it sends the browser
    to."""
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
