"""A worker's core on a loop of its own, in a thread: real sockets on both sides, and the test is its control.

    with RecordingOrigin() as origin, CoreThread(origin, applications=[...]) as core:
        core.run(core.core.sweep)"""

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import uvloop

from _fastpath import limits
from _fastpath.accesslog import AccessLog
from _fastpath.snapshot import Snapshot
from _fastpath.worker import WorkerCore
from edge.config import InstallationKeys, StoreObjects, compile_snapshot
from tests.kit import policy_cases
from tests.kit.mint import Mint
from tests.kit.origin import RecordingOrigin
from tests.kit.raw import Raw

T = TypeVar("T")
HOST = "app.example.com"
ISSUER = "https://login.example.com"


class CoreThread:
    """`hooks` of the core: it remembers what is asked, and answers when the test says so."""

    def __init__(
        self, origin: RecordingOrigin, *, log: AccessLog | None = None,
        objects: StoreObjects = policy_cases.OBJECTS, sweep_turn: int = limits.SWEEP_TURN, **parts: Any,
    ) -> None:
        self.origin = origin  # what the routes lead to; closed by who made it
        self.mint = Mint()
        self.objects = objects
        self.version = 0
        self.asked: list[dict[str, Any]] = []
        self.control_up = True
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.core: WorkerCore = self.run(
            lambda: WorkerCore(self.loop, log=log, hooks=self, sweep_turn=sweep_turn))
        self.snapshot: Snapshot
        self.set(**parts)
        self.port = self._listen()

    def __enter__(self) -> "CoreThread":
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.core.close_all)
        self.run(self.core.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns in the loop's thread."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def there() -> None:
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(there)
        return done.result(10)

    def _listen(self) -> int:
        sock = socket.create_server(("127.0.0.1", 0))
        factory = self.core.acceptor("plain")
        serving = self.loop.create_server(factory, sock=sock)
        asyncio.run_coroutine_threadsafe(serving, self.loop).result(10)
        return int(sock.getsockname()[1])

    # Control

    def set(self, **parts: Any) -> None:
        """Compile a configuration and let the core use it; without routes, all leads to `origin`."""
        self.version += 1
        keys = InstallationKeys(b"a" * 32, b"hash key of test", [self.mint.jwk], "0" * 64)
        parts.setdefault("routes", [{"hostname": HOST, "service": self.origin.url}])
        found = policy_cases.loaded(trusted_proxies=["127.0.0.0/8"], **parts)
        assert found.ok, "\n".join(map(str, found.errors))
        self.snapshot = Snapshot(compile_snapshot(
            found, version=self.version, objects=self.objects, keys=keys))
        self.run(lambda: self.core.set_snapshot(self.snapshot))

    def ask(self, question: dict[str, Any]) -> bool:
        if self.control_up:
            self.asked.append(question)
        return self.control_up

    def refused(self, client: bytes, app_id: bytes, email: bytes, reason: bytes) -> None:
        pass

    def answer(self, claims: dict[str, Any] | None) -> None:
        """Answer the oldest question."""
        question = self.asked.pop(0)
        self.run(lambda: self.core.answered(question, None if claims is None else {"facts": claims}))

    # Clients

    def token(self, **claims: Any) -> bytes:
        now = int(time.time())
        aud = self.snapshot.applications()[0]["aud"]
        times = {"iat": now, "nbf": now, "exp": now + 3600}
        return self.mint.token(**({"aud": [aud], "iss": ISSUER, **times} | claims))

    def client(self) -> Raw:
        return Raw(("127.0.0.1", self.port))

    @staticmethod
    def request(path: str = "/", *fields: str, token: bytes = b"") -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "X-Forwarded-Proto: https", *fields]
        if token:
            lines.append(f"Cf-Access-Token: {token.decode()}")
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
