"""A checkpoint whose people sign in at OpenID providers that do what they are told, however wrong."""

import asyncio
import secrets
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from edge.demo.visitor import Forms, Reply, Visitor
from tests.kit.hostile_provider import HostileProvider
from tests.security.checkpoint import Checkpoint
from tests.security.rows import A

CORP = "corp.sekisho.localhost"          # allow: whoever has an address at corp.com
LOGIN = "login.sekisho.localhost"
GROUPS = "groups.sekisho.localhost"      # alice@example.com, unless she is in a group
ALICE: dict[str, object] = {"email": "alice@example.com", "sub": "alice", "groups": []}


APPLICATIONS = f"""\
  - {{name: Corp, domain: {CORP}, policies: [{{name: Corp, decision: allow, include: [{{email_domain: corp.com}}]}}]}}
  - {{name: Empty, domain: empty.sekisho.localhost, policies: []}}
  - {{name: Outsiders, domain: outsiders.sekisho.localhost, policies: [
      {{name: All, decision: allow, include: [everyone], exclude: [{{email: alice@example.com}}]}}]}}
  - {{name: Denied, domain: denied.sekisho.localhost, policies: [
      {{name: No, decision: deny, include: [{{email: alice@example.com}}]}},
      {{name: Yes, decision: allow, include: [{{email: alice@example.com}}]}}]}}
  - {{name: Allowed, domain: allowed.sekisho.localhost, policies: [
      {{name: Yes, decision: allow, include: [{{email: alice@example.com}}]}},
      {{name: No, decision: deny, include: [{{email: alice@example.com}}]}}]}}
  - {{name: Half open, domain: half.sekisho.localhost, policies: [
      {{name: No, decision: deny, include: [{{email: alice@example.com}}]}},
      {{name: Open, decision: bypass, include: [everyone], require: [{{ip: 10.0.0.0/8}}]}}]}}
  - {{name: Whole open, domain: whole.sekisho.localhost, policies: [
      {{name: No, decision: deny, include: [everyone]}},
      {{name: Open, decision: bypass, include: [everyone], require: [{{ip: 127.0.0.0/8}}]}}]}}
"""


class Providers:
    """Several hostile providers on one loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.all: dict[str, HostileProvider] = {}

    def add(self, name: str, **lies: object) -> HostileProvider:
        one = HostileProvider(clock=time.time, claims=dict(ALICE), **lies)  # type: ignore[arg-type]
        asyncio.run_coroutine_threadsafe(one.start(), self.loop).result(5)
        self.all[name] = one
        return one

    def close(self) -> None:
        async def end() -> None:
            for one in self.all.values():
                await one.stop()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


LIES: dict[str, dict[str, object]] = {      # providers whose discovery document is not what it must be
    "no-issuer": {"issuer": None}, "other-issuer": {"issuer": "https://evil.example"},
    "no-token-endpoint": {"token_endpoint": None}, "private-token-endpoint": {"token_endpoint": "http://10.0.0.1/token"},
    "file-keys": {"jwks_uri": "file:///etc/passwd"}, "gopher": {"token_endpoint": "gopher://127.0.0.1/"},
    "metadata-service": {"jwks_uri": "http://169.254.169.254/latest/meta-data/"},
}


class Federated(Checkpoint):
    """`sso` is honest until a test says otherwise; `promising` says that it always sends `iss`; LIES; `local` is at a
    loopback address without leave to be."""

    def __init__(self, folder: Path) -> None:
        self.secret = secrets.token_urlsafe(24)
        path = folder / "client-secret"
        path.touch(mode=0o600)
        path.write_text(self.secret)
        self.people = Providers()
        self.sso = self.people.add("sso")
        self.people.add("promising", discovery={"authorization_response_iss_parameter_supported": True})
        for name, lie in LIES.items():
            self.people.add(name, discovery=lie)
        self.people.add("local")
        self.providers = "\n".join(
            f"  - {{name: {name}, id: {name}, type: oidc, issuer: \"{self.issuer(name)}\", client_id: edge, groups_claim: groups,"
            f" client_secret_file: {path}, allow_private_address: {str(name != 'local').lower()}}}"
            for name in self.people.all)
        self.applications = APPLICATIONS
        super().__init__(folder)

    def issuer(self, name: str) -> str:
        issuer = self.people.all[name].issuer
        return issuer.replace("http:", "https:") if name == "local" else issuer    # a plain one is no configuration

    def close(self) -> None:
        super().close()
        self.people.close()

    def clear(self) -> None:
        super().clear()
        sso = self.sso
        sso.claims, sso.header, sso.userinfo, sso.token, sso.sign_with = dict(ALICE), {}, None, None, None
        sso.asked.clear()
        sso.bodies.clear()
        sso.raw.clear()
        sso.stall.clear()
        del sso.keys[1:]

    # --- a sign-in, step by step -------------------------------------------------------------------

    async def choose(self, visitor: Visitor, host: str = A, provider: str = "sso", path: str = "/") -> Reply:
        """Ask for an application and choose the provider; return the answer: a redirect to the provider, or a problem."""
        page = await visitor.get(self.url(host, path), follow=True)
        return await self.choose_on(visitor, page, provider)

    async def choose_on(self, visitor: Visitor, page: Reply, provider: str = "sso") -> Reply:
        parser = Forms()
        parser.feed(page.text)
        form = next(one for one in parser.forms if one.fields.get("method") == provider)
        parts = urlsplit(page.url)
        return await visitor.request(
            "POST", urljoin(page.url, form.action), body=urlencode(form.fields).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": f"{parts.scheme}://{parts.netloc}"})

    async def begin(self, visitor: Visitor, host: str = A, provider: str = "sso", path: str = "/") -> dict[str, str]:
        """Go as far as the provider's door; return what was asked of it. Its next ID token has the right nonce."""
        sent = await self.choose(visitor, host, provider, path)
        assert sent.status == 303, sent.text
        asked = dict(parse_qsl(urlsplit(sent.get("location") or "").query))
        self.people.all[provider].nonce = asked["nonce"]
        return asked

    async def back(self, visitor: Visitor, *, follow: bool = True, raw: str = "", **query: str) -> Reply:
        """Come back from the provider with these parameters."""
        return await visitor.get(
            self.url(LOGIN, "/cdn-cgi/access/callback?" + (raw or urlencode(query, quote_via=quote))), follow=follow)

    async def sign_in(self, visitor: Visitor, host: str = A, provider: str = "sso", path: str = "/", **more: str) -> Reply:
        """The whole way; return where it ended."""
        asked = await self.begin(visitor, host, provider, path)
        return await self.back(visitor, code="c" * 20, state=asked["state"], **more)

    def signed_in(self, host: str = A) -> Visitor:
        """Return a browser in which alice is signed in at this application by `sso`; the origin forgets it."""
        visitor = self.browser()
        reply = asyncio.run(self.sign_in(visitor, host))
        assert reply.status == 200, f"{reply.status} at {reply.url}: {reply.text[:300]}"
        self.origin.clear()
        return visitor

    def nobody_came_in(self, visitor: Visitor, host: str = A) -> None:
        """The browser holds no session, asking again leads to sign-in, and the origin saw nothing of it all."""
        for jar in (visitor.jar.get(LOGIN, {}), visitor.jar.get(host, {})):
            assert "CF_Authorization" not in jar
        again = asyncio.run(visitor.get(self.url(host)))
        assert again.status in (302, 403)
        assert not self.origin.requests, f"the origin saw {self.origin.requests[0].raw!r}"
