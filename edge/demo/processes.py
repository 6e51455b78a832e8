"""Child processes that can't outlive us: start, wait until ready, measure, stop."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class NotReady(RuntimeError):
    """A program ended, or wasn't ready in time; the message holds the end of its log."""


def free_port(wanted: int = 0) -> int:
    """Return the wanted loopback port when nobody has it, else a free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # without it a port in TIME_WAIT, where nobody listens, counts as taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def crowding() -> float:
    """How many times longer things take here than on a machine with nothing else to do (≥ 1)."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Child:
    """One program of ours, its output in a log file. Dies with us, however we die."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, env: dict[str, str] | None = None
    ) -> None:
        self.name, self.argv, self.log = name, list(argv), log
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Child":
        parent = os.getpid()

        def die_with_parent() -> None:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches only us, and we stop it in order.
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                start_new_session=True, preexec_fn=die_with_parent,
            )
        return self

    @property
    def pid(self) -> int:
        if self.process is None:
            raise NotReady(f"{self.name} was not started")
        return self.process.pid

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Return when ready() is true; raise NotReady when the program ended or time is over."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running():
                raise NotReady(f"{self.name} ended before {what}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name}: no {what} after {timeout:.0f} s\n{self.tail()}")
            time.sleep(0.03)

    def tail(self, lines: int = 15) -> str:
        with contextlib.suppress(OSError):
            text = self.log.read_text(encoding="utf-8", errors="replace")
            return "\n".join("    " + line for line in text.splitlines()[-lines:])
        return ""

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, patience: float = 8.0) -> None:
        """Ask it to end, then make it end. Its own children end with it."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        # whatever it left in its session: that nothing stays behind can't rest on its manners
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def answers(url: str, status: int = 200) -> bool:
    """True when the URL (of a monitor on loopback) answers with this status."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310
            return bool(answer.status == status)
    except urllib.error.HTTPError as refusal:
        return refusal.code == status
    except (OSError, ValueError):
        return False


def links_ready(url: str) -> int:
    """Return how many links a connector's /ready (on loopback) says that the edge acknowledged."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310
            return int(json.load(answer)["readyConnections"])
    except (OSError, ValueError, KeyError):
        return 0


def family(pid: int) -> list[int]:
    """Return pid and every process below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                parent = int(stat.rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += children.get(one, [])
    return found


def called(pid: int, word: str) -> list[int]:
    """Return the processes below pid whose command line holds the word."""
    found = []
    for one in family(pid):
        with contextlib.suppress(OSError):
            line = (Path("/proc") / str(one) / "cmdline").read_bytes()
            if word.encode() in line:
                found.append(one)
    return found


def memory(pid: int) -> int:
    """Return the bytes that pid and everything below it keep in memory (shared pages by share)."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            rollup = (Path("/proc") / str(one) / "smaps_rollup").read_text()
            total += sum(
                int(line.split()[1]) * 1024
                for line in rollup.splitlines()
                if line.startswith("Pss:")
            )
    return total
