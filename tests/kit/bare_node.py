"""A node of real processes without a data path: starts it, asks it, kills parts of it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.demo.processes import crowding
from edge.server.folder import Folder
from edge.server.plan import Listener, Plan

__all__ = [
    "BareNode", "TooSlow", "alive", "crowding", "free_port", "wait_until"
]
ROOT = Path(__file__).resolve().parents[2]


class TooSlow(OSError):
    """The test itself got no processor for so long that what it saw says nothing."""


def wait_until(true: Callable[[], Any], limit: float = 5.0, what: str = "") -> Any:
    """Return what `true` returned when it was; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = true()
            if found:
                return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {what or true}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def alive(pid: int) -> bool:
    """True while the process runs (a zombie doesn't)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class BareNode:
    """One master with its children, in a folder of its own."""

    def __init__(self, folder: Path, *, workers: int = 2, drain: float = 5.0) -> None:
        self.config = folder / "text"
        self.config.write_text("first")
        self.folder = Folder(folder / "state", folder / "run")
        self.port = free_port()
        self.plan = Plan(
            config=str(self.config), state_folder=str(self.folder.state),
            run_folder=str(self.folder.run), workers=workers, drain=drain,
            listeners=(Listener("plain", "127.0.0.1", self.port),),
        )
        self.plan_path = folder / "plan.json"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        self.plan_path.write_bytes(self.plan.encode())
        return [sys.executable, "-m", "tests.kit.bare_master", str(self.plan_path)]

    def start(self, *, wait: bool = True, env: dict[str, str] | None = None, **popen: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=environment, stderr=log, cwd=ROOT, **popen
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, limit: float = 15.0) -> None:
        wait_until(lambda: len(self.workers()) == self.plan.workers, limit, "all workers")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def admin(self, **ask: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folder.admin_socket))
            sock.sendall(json.dumps(ask).encode() + b"\n")
            return json.loads(sock.makefile().readline())

    def workers(self) -> dict[str, Any]:
        """Workers that run the newest version, by slot."""
        status = self.admin(do="status")
        return {
            slot: worker for slot, worker in status["workers"].items()
            if worker["version"] == status["version"]
        }

    def ask(self, path: str = "/", limit: float = 5.0) -> Any:
        """One request on a connection of its own; raises OSError where it fails."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit) as sock:
            begin = time.monotonic()
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            try:
                return read_answer(sock)
            except ConnectionResetError:
                if time.monotonic() - begin > 0.2:
                    # We were held up ourselves between connecting and asking
                    raise TooSlow from None
                raise

    def answers_of(self, count: int) -> list[Any]:
        return [self.ask() for _ in range(count)]

    def text(self) -> str:
        return self.log.read_text()

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        os.kill(pid, number)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def read_answer(sock: socket.socket) -> Any:
    """Read one response; return its JSON body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += _more(sock)
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ConnectionResetError("closed before the answer was whole")
    return data


@contextlib.contextmanager
def bare_node(folder: Path, **more: Any) -> Iterator[BareNode]:
    node = BareNode(folder, **more)
    try:
        node.start()
        yield node
    finally:
        node.stop()
