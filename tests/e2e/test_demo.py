"""`make demo` and `make demo-check` as a person starts them: the real command, in a session of its own."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.demo.processes import crowding
from edge.demo.walk import STEPS
from tests.kit.bare_node import wait_until

ROOT = Path(__file__).resolve().parents[2]
MARK = "SEKISHO_TEST_DEMO"     # in the environment of all that a run starts, whatever session it is in


class Run:
    """One `sekisho demo …` without a terminal, and everything that it started."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.began = folder, time.monotonic()
        self.mark = f"{MARK}={folder}".encode()
        self.before = {e.name for e in Path("/tmp").iterdir() if e.name.startswith("sekisho-")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from edge.cli.main import main; main()", "demo",
             "--folder", str(folder / "demo-state"), *words],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1, start_new_session=True,
            # as from a terminal: what starts the tests in the background may have Ctrl-C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", MARK: str(folder)},
        )
        self.lines: list[str] = []
        self.patience = threading.Timer(120, self.process.kill)     # a run that hangs fails, and hangs nobody
        self.patience.daemon = True
        self.patience.start()

    def until(self, words: str) -> str:
        """Read on to the line with these words; AssertionError when the run ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return self.lines[-1]
        raise AssertionError("\n".join(self.lines))

    def end(self) -> int:
        assert self.process.stdout is not None
        self.lines += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait(20)

    def family(self) -> list[int]:
        """Return every process that this run started and that lives, in whatever session."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def ports(self) -> set[int]:
        """Return the TCP ports that these processes listen on."""
        sockets = set()
        for pid in self.family():
            with contextlib.suppress(OSError):
                sockets |= {os.readlink(fd) for fd in (Path("/proc") / str(pid) / "fd").iterdir()}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {int(row[1].split(":")[1], 16) for row in rows
                if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}

    def nothing_is_left(self, ports: set[int]) -> None:
        wait_until(lambda: not self.family(), 3)
        for port in ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        assert [entry.name for entry in self.folder.iterdir()] == ["demo-state"]
        after = {e.name for e in Path("/tmp").iterdir() if e.name.startswith("sekisho-")}
        assert not [name for name in after - self.before if (Path("/tmp") / name / "run").exists()]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[object]:
    runs: list[Run] = []

    def start(*words: str) -> Run:
        runs.append(Run(tmp_path, *words))
        return runs[-1]

    yield start
    for run in runs:
        run.patience.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGTERM)
        run.end()
        for pid in run.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_without_a_terminal_plain_lines_and_ctrl_c_leaves_nothing(demo: object) -> None:
    run = demo()                                                          # type: ignore[operator]
    run.until("stop with Ctrl-C")
    said = "\n".join(run.lines)
    assert "\x1b" not in said and "─" not in said and "│" not in said, "no drawing without a terminal"
    for what in ("starting: edge", "open:", "may enter:", "may not:", "mail arrives:"):
        assert sum(line.startswith(what) for line in run.lines) == 1, said
    tries = [line for line in run.lines if line.startswith("try: ")]
    assert len(tries) == 3 and "edge revoke" in tries[1] and "kill -9 " in tries[2]
    assert tries[0].count(": ") == 2, "a label, what to do, what comes of it"
    revoke = tries[1].partition("close: ")[2]
    done = subprocess.run(shlex.split(revoke), cwd="/", capture_output=True, text=True)
    assert "there is no user alice@example.com" in done.stderr, "it reaches the edge from anywhere"
    worker = int(tries[2].rsplit(" ", 1)[1])
    assert b"edge.server.worker" in Path(f"/proc/{worker}/cmdline").read_bytes()
    page = re.search(r"http://wiki\.sekisho\.localhost:(\d+)/", said)
    assert page is not None
    ports = run.ports()
    assert int(page.group(1)) in ports and len(ports) >= 6, ports     # edge 3, inbox 2, connector 1
    assert len(run.family()) >= 8        # demo, inbox, application, master, control, 2 workers, connector

    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() == 0, run.lines
    assert run.lines[-1] == "stopping"
    run.nothing_is_left(ports)


def test_a_second_one_in_the_same_folder_is_refused_and_changes_nothing(demo: object) -> None:
    run = demo()                                                          # type: ignore[operator]
    run.until("stop with Ctrl-C")

    def laid() -> dict[str, tuple[int, bytes]]:
        folder = run.folder / "demo-state"
        files = [folder / "sekisho.yml", folder / "edge.pem", folder / ".sekisho-demo"]
        return {file.name: (file.stat().st_ino, file.read_bytes()) for file in files}

    before = laid()
    for words in ((), ("--check",)):
        second = demo(*words)                                             # type: ignore[operator]
        assert second.end() == 1
        assert second.lines == [
            f"a demo already runs here (pid {run.process.pid}): {run.folder}/demo-state"
        ]
    assert laid() == before and (run.folder / "demo-state" / "application.sock").is_socket()
    os.killpg(run.process.pid, signal.SIGKILL)      # however it ends, the folder is free again
    run.end()
    wait_until(lambda: not run.family(), 10)
    third = demo()                                                        # type: ignore[operator]
    third.until("stop with Ctrl-C")
    assert laid().keys() == before.keys() and laid() != before


def test_check_walks_every_step_and_leaves_nothing(demo: object) -> None:
    run = demo("--check")                                                 # type: ignore[operator]
    run.until("are up")
    ports = run.ports()
    status = run.end()
    taken = time.monotonic() - run.began
    steps = [line for line in run.lines if re.match(r"(ok|FAILED) +\d+\.\d\d s  \S", line)]
    assert status == 0, "\n".join(run.lines)
    assert [line[:2] for line in steps] == ["ok"] * (1 + len(STEPS)), run.lines
    assert re.fullmatch(r"all steps hold, \d+\.\d s", run.lines[-1]), run.lines
    assert taken < 32 * crowding(), "30 s, and the interpreter's own start and end"
    run.nothing_is_left(ports)


def test_a_step_that_fails_is_named_and_the_exit_status_says_so(demo: object) -> None:
    run = demo("--check")                                                 # type: ignore[operator]
    run.until("are up")
    victims = [pid for pid in run.family()
               if b"edge.demo.application" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(victims[0], signal.SIGKILL)          # the private application is gone in the middle
    assert run.end() == 1, run.lines
    failed = [line for line in run.lines if line.startswith("FAILED")]
    assert len(failed) == 1 and re.match(r"FAILED +\d+\.\d\d s  [a-z ]+: \S", failed[0]), run.lines
    assert any(line.startswith("a step failed, ") for line in run.lines)
    assert run.lines[-1] == f"logs: {run.folder}/demo-state/*.log"
    run.nothing_is_left(set())
