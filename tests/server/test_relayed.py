"""A WebSocket whose client is in one worker and whose link is in the other: who ends it, and how soon.

The worker of the client holds the token and judges the stream as it judges its own; the worker of the link only
follows. Each revocation and a changed policy must end it within 5 s."""

import asyncio
import base64
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from edge.demo.visitor import Visitor
from tests.kit.edge_process import SEKISHO, EdgeProcess, edge_process, free_port, wait_until
from tests.kit.mail import MailSink
from tests.kit.origin import RecordingOrigin
from tests.kit.raw import Raw
from tests.security.test_e_upgrades import WEBSOCKET, switch
from tests.security.test_h_streams import HELLO, ended

HOST = "wiki.sekisho.localhost"
ALICE = "alice@example.com"
CONFIG = """
auth_domain: login.sekisho.localhost
demo: true
plain: ["127.0.0.1:{port}"]
tunnel_listen: ["127.0.0.1:{tunnel}"]
workers: 2
access_log: {folder}/access.log
identity_providers: [{{name: One-time PIN, type: onetimepin}}]
mail: {{server: "smtp://127.0.0.1:{smtp}", from: "access@sekisho.localhost"}}
routes:
  - {{hostname: wiki.sekisho.localhost, tunnel: office}}
applications:
  - name: Wiki
    domain: wiki.sekisho.localhost
    policies: [{{name: Alice, decision: allow, include: [{{email: alice@example.com}}]}}]
"""


class Node:
    """Two workers, and one link that lives in one of them."""

    def __init__(
        self, edge: EdgeProcess, mail: MailSink, origin: RecordingOrigin, port: int, tunnel: int
    ) -> None:
        self.edge, self.mail, self.origin, self.port, self.tunnel = edge, mail, origin, port, tunnel
        self.visitor = Visitor(port)

    def sign_in(self) -> None:
        asyncio.run(self._sign_in())

    async def _sign_in(self) -> None:
        self.origin.clear()
        for jar in self.visitor.jar.values():  # a browser that is known may ask for more mails (O10)
            jar.pop("CF_Authorization", None)
        visitor = self.visitor
        page = await visitor.get(f"http://{HOST}:{self.port}/", follow=True)
        sent = await visitor.submit(page, page.form("email"), email=ALICE)
        code = await asyncio.to_thread(self.mail.code, ALICE)
        done = await visitor.submit(sent, sent.form("code"), code=code)
        assert done.status == 200, f"{done.status} at {done.url}"

    def opened(self) -> Raw:
        """Return an open WebSocket that is relayed: its worker isn't the one with the link."""
        self.origin.answer = switch
        linked = self.edge.holder(self.tunnel)
        assert linked
        spare = []
        try:
            for _ in range(40):
                c = Raw(("127.0.0.1", self.port))
                if self.edge.holder(self.port, c.sock.getsockname()[1]) not in (0, linked):
                    break
                spare.append(c)
            else:
                raise AssertionError("every connection came to the worker with the link")
        finally:
            for one in spare:
                one.sock.close()
        lines = ["GET / HTTP/1.1", f"Host: {HOST}:{self.port}", f"Cookie: {self.visitor.cookies(HOST)}",
                 f"Origin: http://{HOST}:{self.port}", *WEBSOCKET, "", ""]
        c.send("\r\n".join(lines).encode())
        assert c.answer().status == 101
        assert c.send(HELLO).exactly(len(HELLO), time.monotonic() + 2) == HELLO
        return c


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("relayed")
    port, tunnel, mail, origin = free_port(), free_port(), MailSink(folder), RecordingOrigin()
    text = CONFIG.format(port=port, tunnel=tunnel, folder=folder, smtp=mail.port)
    connector = None
    with edge_process(text, folder) as edge:
        try:
            edge.command("tunnel", "create", "office", "--credentials-file", str(folder / "office.json"),
                         "--edge-config", str(edge.config))
            (folder / "config.yml").write_text(
                f"credentials-file: office.json\nlinks: 1\ningress: [{{service: '{origin.url}'}}]\n")
            with (folder / "connector.log").open("ab") as log:
                connector = subprocess.Popen(
                    [*SEKISHO, "tunnel", "--config", str(folder / "config.yml"), "run"], stderr=log)
            found = Node(edge, mail, origin, port, tunnel)
            wait_until(lambda: edge.holder(tunnel) != 0, 20)
            yield found
        finally:
            if connector is not None:
                connector.send_signal(signal.SIGKILL)
                connector.wait()
            mail.close()
            origin.close()


def changed(node: Node) -> None:
    node.edge.reload(node.edge.config.read_text().replace(ALICE, "carol@example.com"))


def revoked(*what: str) -> Callable[[Node], None]:
    def run(node: Node) -> None:
        node.edge.command("edge", "revoke", "-c", str(node.edge.config), *what)

    return run


def by_session(node: Node) -> None:
    token = next(v for k, v in node.visitor.jar[HOST].items() if k.startswith("CF_Authorization"))
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    revoked("--session", claims["sekisho"]["sid"])(node)


@pytest.mark.parametrize(
    ("what", "reasons"),
    [
        (by_session, {b"session-revoked"}),
        (revoked("--user", ALICE), {b"session-revoked", b"session-outdated"}),
        (revoked("--application", "Wiki"), {b"session-outdated"}),
        (changed, {b"policy-no-match"}),
    ],
    ids=["session", "user", "application", "policy"],
)
def test_a_relayed_stream_ends_as_a_local_one(node: Node, what: Callable[[Node], None], reasons: set[bytes]) -> None:
    node.sign_in()
    with node.opened() as c:
        what(node)
        assert ended(c, 5.0) in reasons
