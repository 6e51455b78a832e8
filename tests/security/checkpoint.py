"""The harness of the attack rows: a real edge before a recording origin, and a person signed in by PIN."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from edge.demo.authority import DemoAuthority
from edge.demo.processes import free_port
from edge.demo.visitor import Visitor
from tests.kit.edge_process import EdgeProcess, wait_until
from tests.kit.mail import MailSink
from tests.kit.origin import RecordingOrigin, Seen
from tests.kit.raw import Answer, Raw
from tests.security.rows import OPEN, PATHS, A, B, Pass, Row, request

Dialled = TypeVar("Dialled", Raw, ssl.SSLSocket)
Place = TypeVar("Place", bound="Checkpoint")

CONFIG = """\
auth_domain: login.sekisho.localhost
listen: ["127.0.0.1:{tls}"]
{plain}
workers: {workers}
monitor: 127.0.0.1:{monitor}
access_log: {folder}/access.log
state: sqlite:///{folder}/state.db
state_folder: {folder}/state
certificates:
{certificates}
mail: {{server: "smtp://127.0.0.1:{smtp}", from: "access@sekisho.localhost"}}
{settings}
identity_providers:
  - {{name: One-time PIN, type: onetimepin}}
{providers}
routes:
{routes}
  - {{hostname: "*.sekisho.localhost", service: "{origin}"}}
applications:
  - name: Open
    domain: open.sekisho.localhost
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
  - name: A
    domain: app-a.sekisho.localhost
    policies: [{{name: Alice, decision: allow, include: [{{email: alice@example.com}}]}}]
  - name: B
    domain: app-b.sekisho.localhost
    policies: [{{name: Alice, decision: allow, include: [{{email: alice@example.com}}]}}]
  - name: Public
    domain: paths.sekisho.localhost
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
  - name: Admin
    domain: paths.sekisho.localhost/admin
    policies: [{{name: Alice, decision: allow, include: [{{email: alice@example.com}}]}}]
  - name: Office
    domain: office.sekisho.localhost
    policies: [{{name: Office, decision: bypass, include: [{{ip: 10.0.0.0/8}}]}}]
  - name: Robots
    domain: robots.sekisho.localhost
    policies: [{{name: Machines, decision: non_identity, include: [any_valid_service_token]}}]
  - name: Contractors out
    domain: groups.sekisho.localhost
    policies: [{{name: Staff, decision: allow, include: [{{email: alice@example.com}}], exclude: [{{idp_group: contractors}}]}}]
{applications}
"""


# faults that only show inside a body
BODY_ROWS = frozenset({"A28", "A29", "A30", "A31", "A32", "A33", "A34", "A35"})


class Checkpoint:
    """One edge for a whole test session; `clear()` between tests forgets what the origin saw."""

    body_idle = 2
    workers = 1
    tls_only = False                     # True: no plain listener, so that every public address is https
    certificates: ClassVar[dict[str, list[str]]] = {      # name of the pair: what it is for
        "edge": [OPEN, A, B, PATHS, "login.sekisho.localhost", "office.sekisho.localhost", "*.sekisho.localhost"],
    }
    settings = "timeouts: {body_idle: 2s}"
    providers = ""                       # YAML items after the one-time PIN
    routes = ""                          # YAML items before the one to the recording origin
    applications = ""                    # YAML items after those that every checkpoint has

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = RecordingOrigin()
        self.mail = MailSink(folder)
        self.tls_port, self.plain_port = free_port(), free_port()
        self.authority = DemoAuthority()
        for name, names in self.certificates.items():
            self.authority.issue(names, folder / f"{name}.pem", folder / f"{name}.key")
        self.edge = EdgeProcess(
            CONFIG.format(
                folder=folder, tls=self.tls_port, monitor=free_port(), workers=self.workers,
                plain="" if self.tls_only else f'demo: true\nplain: ["127.0.0.1:{self.plain_port}"]',
                certificates="\n".join(
                    f"  - {{certificate: {folder}/{name}.pem, key: {folder}/{name}.key}}"
                    for name in self.certificates),
                smtp=self.mail.port, origin=self.origin.url, settings=self.settings,
                providers=self.providers, routes=self.routes, applications=self.applications,
            ),
            folder,
        )
        self.edge.start()
        self.tls = ssl.create_default_context(cadata=self.authority.pem().decode())
        self._visitor: Visitor | None = None
        self.refusals: list[tuple[str, str, int]] = []   # row, request id, status: each owes a log line

    def close(self) -> None:
        self.edge.stop()
        self.mail.close()
        self.origin.close()

    def clear(self) -> None:
        self.origin.clear()

    # --- clients ---------------------------------------------------------------------------------

    def client(self, *, tls: bool = False, name: str = OPEN, timeout: float = 5.0) -> Raw:
        if tls or self.tls_only:
            return Raw(("127.0.0.1", self.tls_port), tls=self.tls, server_name=name, timeout=timeout)
        return Raw(("127.0.0.1", self.plain_port), timeout=timeout)

    def url(self, host: str, path: str = "/") -> str:
        scheme, port = ("https", self.tls_port) if self.tls_only else ("http", self.plain_port)
        return f"{scheme}://{host}:{port}{path}"

    def browser(self) -> Visitor:
        """Return a browser that nobody has used."""
        return Visitor(self.tls_port, self.tls) if self.tls_only else Visitor(self.plain_port)

    def visitor(self) -> Visitor:
        """Return a browser in which alice@example.com is signed in at A, B and /admin."""
        if self._visitor is None:
            self._visitor = asyncio.run(self._sign_in())
        return self._visitor

    def fresh(self, *hosts: str) -> Visitor:
        """Return a browser of alice's with sessions of its own at these hosts, from the sign-in that she
        has: it costs no mail, of which there are five an hour (O10)."""
        visitor = self.browser()
        visitor.jar["login.sekisho.localhost"] = dict(self.visitor().jar["login.sekisho.localhost"])

        async def enter() -> None:
            for host in hosts:
                reply = await visitor.get(self.url(host), follow=True)
                assert reply.status == 200, f"{reply.status} at {reply.url}"

        asyncio.run(enter())
        self.origin.clear()
        return visitor

    def forget_visitor(self) -> None:
        """The session was ended: the next test that needs one signs in anew."""
        self._visitor = None

    def cookie(self, host: str) -> str:
        return self.visitor().cookies(host)

    def token(self, host: str) -> str:
        jar = self.visitor().jar[host]
        return next(v for k, v in jar.items() if k.startswith("CF_Authorization"))

    async def _sign_in(self) -> Visitor:
        visitor = self.browser()
        page = await visitor.get(self.url(A), follow=True)
        sent = await visitor.submit(page, page.form("email"), email="alice@example.com")
        field = "code" if 'name="code"' in sent.text else "pin"
        code = await asyncio.to_thread(self.mail.code, "alice@example.com")
        done = await visitor.submit(sent, sent.form(field), **{field: code})
        assert done.status == 200, f"{done.status} at {done.url}"
        for url in (self.url(B), self.url(PATHS, "/admin")):
            reply = await visitor.get(url, follow=True)
            assert reply.status == 200, f"{reply.status} at {reply.url}"
        self.origin.clear()
        return visitor

    # --- verdicts --------------------------------------------------------------------------------

    def refused(self, row: Row, *, tls: bool = False) -> None:
        """One answer with a status of the row, the connection closed, and the origin saw nothing."""
        with self.client(tls=tls) as c:
            pieces = [row.send] if isinstance(row.send, bytes) else list(row.send)
            pieces[-1] += row.after
            c.send(*pieces, pause=row.pause)
            answer = c.answer(timeout=row.wait)
            assert answer.status in row.status, f"{answer.status}: {answer.body[:200]!r}"
            assert (answer.get("connection") or "").lower() == "close"
            self.refusals.append((f"{row.id} {row.note}", answer.get("cf-ray") or "", answer.status))
            rest = c.closed()
            assert rest is not None, "the connection stayed open"
            assert rest == b"", f"more than one answer: {rest[:200]!r}"
        if row.id in BODY_ROWS:
            # The body is streamed: its head may be on its way before the fault shows. What the origin
            # must never get is a whole request; what it got of one is waited for, and forgotten.
            time.sleep(0.1)
            assert not [r for r in self.origin.requests if r.complete]
            self.origin.requests.clear()
        assert not self.origin.requests, f"the origin saw {self.origin.requests[0].raw!r}"

    def accepted(self, row: Pass, *, tls: bool = False) -> list[Seen]:
        """The row's answers come back, the origin saw its requests, and the row's check holds."""
        with self.client(tls=tls) as c:
            pieces = [row.send] if isinstance(row.send, bytes) else list(row.send)
            c.send(*pieces)
            got = [c.answer(row.method).status for _ in row.answers]
            assert got == row.answers
        seen = self.origin.wait(row.count)
        assert len(self.origin.requests) == row.count
        if row.check:
            row.check(seen)
        return seen

    # --- the log ---------------------------------------------------------------------------------

    def log(self, since: int = 0) -> list[dict[str, object]]:
        path = self.folder / "access.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines[since:]]

    def line(self, ray: str, patience: float = 3.0) -> dict[str, object]:
        """Return the one log line of the request with this id (`CF-Ray` of its answer)."""
        deadline = time.monotonic() + patience
        while True:
            found = [line for line in self.log() if line["id"] == ray]
            if found:
                assert len(found) == 1, found
                return found[0]
            assert time.monotonic() < deadline, f"no log line of request {ray}"
            time.sleep(0.02)

    def unlogged(self) -> list[str]:
        """Return the refusals since the last call that have no log line with their status and a reason."""
        refusals, self.refusals = self.refusals, []
        wrong = []
        for row, ray, status in refusals:
            line = self.line(ray)
            if line["status"] != status or not line.get("reason"):
                wrong.append(f"{row}: answered {status}, logged {line}")
        return wrong

    def logged(self, since: int, count: int, patience: float = 3.0) -> list[dict[str, object]]:
        deadline = time.monotonic() + patience
        while len(self.log(since)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.log(since)


def standing(kind: type[Place], folders: pytest.TempPathFactory) -> Iterator[Place]:
    """The body of a fixture: one of this kind, for as long as the fixture's scope lasts."""
    one = kind(folders.mktemp(kind.__name__.lower()))
    yield one
    one.close()


class Twins(Checkpoint):
    """Two workers, https only, a certificate of its own for app-b: what must hold in every worker."""

    workers = 2
    tls_only = True
    certificates: ClassVar[dict[str, list[str]]] = {"edge": ["*.sekisho.localhost"], "app-b": [B]}

    @contextlib.contextmanager
    def spread_over_both(self, host: str, tries: int = 12) -> Iterator[list[Raw]]:
        """Open connections until each worker has some of them."""
        clients = self.spread(lambda: self.client(name=host), tries)
        try:
            yield clients
        finally:
            for one in clients:
                one.sock.close()

    def both(self, host: str, *fields: str, path: str = "/", tries: int = 12) -> list[Answer]:
        """Return the answers of many connections at once: the kernel deals them to both workers."""
        with self.spread_over_both(host, tries) as clients:
            for one in clients:
                one.send(request(*fields, first=f"GET {path} HTTP/1.1", host=host))
            return [one.answer() for one in clients]

    def spread(self, dial: Callable[[], Dialled], count: int) -> list[Dialled]:
        """Dial `count` times, and on until each worker has one of the connections: the kernel deals them by chance."""
        made = [dial() for _ in range(count)]
        workers = {self.worker_of(one) for one in made}
        while len(workers) < self.workers:
            assert len(made) < count + 40, "one worker has all of them"
            made.append(dial())
            workers.add(self.worker_of(made[-1]))
        return made

    def worker_of(self, one: Raw | ssl.SSLSocket) -> int:
        """Return the pid of the worker that accepted this connection."""
        port = (one.sock if isinstance(one, Raw) else one).getsockname()[1]
        wait_until(lambda: self.edge.holder(self.tls_port, port) != 0, 5)
        return self.edge.holder(self.tls_port, port)
