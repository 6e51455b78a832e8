"""A sign-in counts for as long as the way it came by does: an identity provider that goes from the configuration, or
from an application's allowed_idps, takes its sessions along."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.kit.edge_process import wait_until
from tests.kit.raw import Answer
from tests.security.checkpoint import Checkpoint, standing
from tests.security.rows import A, B, request
from tests.security.test_e_upgrades import WEBSOCKET, switch
from tests.security.test_h_streams import ended

PIN = "  - {name: One-time PIN, type: onetimepin}\n"
AT_A = "    domain: app-a.sekisho.localhost\n"
LOGIN = "login.sekisho.localhost"


class TwoWays(Checkpoint):
    """The one-time PIN, by which the visitor comes, and a company's provider, by which nobody does."""

    providers = """\
  - {name: Company SSO, type: oidc, issuer: "https://sso.example.org", client_id: x, client_secret_file: SECRET,
     allow_private_address: true}
"""


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWays]:
    secret = tmp_path_factory.mktemp("secret") / "client"
    secret.touch(mode=0o600)
    secret.write_text("secret")
    TwoWays.providers = TwoWays.providers.replace("SECRET", str(secret))
    yield from standing(TwoWays, tmp_path_factory)


def got(ways: TwoWays, host: str, token: str) -> Answer:
    fields = [f"Cookie: CF_Authorization={token}", "Accept: application/json"]
    with ways.client() as c:
        return c.send(request(*fields, host=host, first="GET / HTTP/1.1")).answer()


def test_a_provider_that_is_no_longer_taken_takes_its_sessions_along(ways: TwoWays) -> None:
    text = ways.edge.config.read_text()
    visitor = ways.fresh(A, B)
    tokens = {host: visitor.jar[host]["CF_Authorization"] for host in (A, B)}
    ways.origin.answer = switch
    stream = ways.client()
    stream.send(request(f"Cookie: CF_Authorization={tokens[A]}", *WEBSOCKET, f"Origin: {ways.url(A, '')}",
                        host=A, first="GET /socket HTTP/1.1"))
    assert stream.answer().status == 101
    ways.clear()
    assert {got(ways, host, tokens[host]).status for host in (A, B)} == {200}

    ways.edge.reload(text.replace(AT_A, AT_A + "    allowed_idps: [Company SSO]\n"))
    wait_until(lambda: got(ways, A, tokens[A]).status == 401, 5)
    ways.clear()
    assert ended(stream, 5.0) == b"login-method-not-allowed"
    stream.sock.close()
    refused = got(ways, A, tokens[A])
    assert b'"login-method-not-allowed"' in refused.body and b'"login_url"' in refused.body
    assert ways.line(refused.get("cf-ray") or "")["reason"] == "login-method-not-allowed"
    assert not ways.origin.requests
    page = asyncio.run(visitor.get(ways.url(A), follow=True))  # a browser is offered what A takes
    assert LOGIN in page.url and "Company SSO" in page.text and 'name="email"' not in page.text
    assert got(ways, B, tokens[B]).status == 200

    ways.edge.reload(text.replace(PIN, ""))
    wait_until(lambda: got(ways, B, tokens[B]).status == 401, 5)
    ways.clear()
    page = asyncio.run(visitor.get(ways.url(B), follow=True))
    assert LOGIN in page.url and "Company SSO" in page.text
    assert not ways.origin.requests

    ways.edge.reload(text)  # taken back: nothing was revoked
    wait_until(lambda: {got(ways, host, tokens[host]).status for host in (A, B)} == {200}, 5)
