"""A whole edge of real processes from a configuration, for tests: start, ask, change, kill, stop.

    with edge_process(CONFIG.format(port=free_port()), tmp_path) as edge:
        edge.status()["version"]

The state folder is FOLDER/state, the configuration FOLDER/sekisho.yml, the log FOLDER/edge.log."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edge.cli.admin_client import AdminClient, AdminError
from edge.identity.master_key import MasterKey
from tests.kit.bare_node import alive, free_port, wait_until

__all__ = ["EdgeProcess", "edge_process", "free_port", "wait_until"]

ROOT = Path(__file__).resolve().parents[2]
SEKISHO = (sys.executable, "-c", "from edge.cli.main import main; main()")
START = 60.0  # seconds; on a machine that builds and tests at the same time


class EdgeProcess:
    """`sekisho edge run` on a configuration (text or mapping) in a folder of its own."""

    def __init__(
        self, config: str | dict[str, Any], folder: Path, *, env: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.config = folder / "sekisho.yml"
        self.state = folder / "state"
        self.log = folder / "edge.log"
        self.env = env or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.write(config)

    def write(self, config: str | dict[str, Any]) -> None:
        """Replace the configuration file in one step, as an editor does."""
        if isinstance(config, dict):
            config.setdefault("state", f"sqlite:///{self.state / 'state.db'}")
            config = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        elif "\nstate:" not in f"\n{config}":
            config += f"\nstate: sqlite:///{self.state / 'state.db'}\n"
        new = self.config.with_suffix(".new")
        new.write_text(config, "utf-8")
        new.replace(self.config)

    # Life

    def start(self, *, wait: bool = True) -> "EdgeProcess":
        """Start, and return when every worker runs the snapshot."""
        with contextlib.suppress(FileExistsError):
            MasterKey.create(self.state / "keys" / "master.key")
        self.state.chmod(0o700)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*SEKISHO, "edge", "run", "-c", str(self.config)],
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.env}, cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, limit: float = START) -> dict[str, Any]:
        """Return the status once every worker runs the newest snapshot."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(
                    f"the edge ended with {self.process.returncode}:\n{self.text()}"
                )
            with contextlib.suppress(AdminError):
                status = self.status()
                if status["ready"]:
                    return status
            time.sleep(0.05)
        raise AssertionError(f"not ready within {limit} s:\n{self.text()}")

    def stop(self, limit: float = 40.0) -> int:
        """SIGTERM, drain, and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(limit)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    # Asking

    @property
    def admin(self) -> AdminClient:
        return AdminClient(self.config)

    def status(self) -> dict[str, Any]:
        return self.admin.call("GET", "/status")

    def command(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `sekisho WORDS…` (give -c yourself: `str(edge.config)`)."""
        done = subprocess.run(
            [*SEKISHO, *words], text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, timeout=60,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def text(self) -> str:
        """Return what the edge's processes wrote to standard error."""
        return self.log.read_text("utf-8", "replace")

    def reload(self, config: str | dict[str, Any] | None = None) -> dict[str, Any]:
        """Write a configuration and wait until every worker runs it; AdminError when refused."""
        if config is not None:
            self.write(config)
        return self.admin.call("POST", "/reload", {})

    # Breaking

    def pids(self) -> dict[str, int]:
        """Return {"master": …, "control": …, "worker 0": …}."""
        status = self.status()
        found = {"master": status["master"], "control": status["control"]["pid"]}
        for worker in status["workers"]:
            if worker["pid"] is not None:
                found[f"worker {worker['slot']}"] = worker["pid"]
        return found

    def holder(self, listening: int, client: int = 0) -> int:
        """Return the pid of the worker that has the accepted connection from port `client` (0: any) to port
        `listening`, as the kernel knows it; 0 while none has."""
        inodes = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, here, there, state, *_, = line.split()
            if state == "01" and int(here[-4:], 16) == listening and client in (0, int(there[-4:], 16)):
                inodes.add(f"socket:[{line.split()[9]}]")
        for name, pid in self.pids().items():
            if name.startswith("worker"):
                for fd in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(fd) in inodes:
                            return pid
        return 0

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process by the name that pids() gives it; return its pid."""
        pid = self.pids()[name]
        os.kill(pid, number)
        if number == signal.SIGKILL:
            wait_until(lambda: not alive(pid))
        return pid


@contextlib.contextmanager
def edge_process(config: str | dict[str, Any], folder: Path, **more: Any) -> Iterator[EdgeProcess]:
    """Start an edge, and stop it afterwards whatever happened."""
    edge = EdgeProcess(config, folder, **more)
    try:
        yield edge.start()
    finally:
        if edge.process is not None:
            edge.stop()
