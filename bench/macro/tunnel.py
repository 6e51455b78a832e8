"""The tunnel beside `ssh -R`: small requests and bulk, by CPU of all between client and origin."""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figure import Figure
from bench.macro.cast import Cast, cast
from bench.macro.nginx import BIG
from bench.macro.pinned import REST, Load, cost, cpu, pin
from edge.demo.processes import Child, family, free_port


class Ssh:
    """sshd where the edge would be, ssh -R beside the origin; one TCP connection."""

    def __init__(self, folder: Path, origin_port: int) -> None:
        keys = Path(tempfile.mkdtemp(prefix="ssh-", dir=folder))
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)],
                           check=True)
        shutil.copy(keys / "user.pub", keys / "authorized")
        port, self.port = free_port(), free_port()
        Path("/run/sshd").mkdir(exist_ok=True)
        self.server = Child("sshd", [
            shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null",
            "-p", str(port), "-h", str(keys / "host"), "-o", "ListenAddress=127.0.0.1",
            "-o", f"AuthorizedKeysFile={keys / 'authorized'}", "-o", "StrictModes=no",
            "-o", "UsePAM=no", "-o", "PermitRootLogin=yes", "-o", "MaxSessions=200",
        ], folder / "sshd.log").start()
        user = pwd.getpwuid(os.getuid()).pw_name
        self.client = Child("ssh", [
            "ssh", "-N", "-p", str(port), "-i", str(keys / "user"),
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "ExitOnForwardFailure=yes",
            "-R", f"127.0.0.1:{self.port}:127.0.0.1:{origin_port}", f"{user}@127.0.0.1",
        ], folder / "ssh.log")
        time.sleep(0.3)
        self.client.start()
        self.client.wait_until(self._forwards, "its forwarding")

    def _forwards(self) -> bool:
        import socket

        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True

    def pids(self) -> list[int]:
        return family(self.server.pid) + family(self.client.pid)

    def stop(self) -> None:
        self.client.stop()
        self.server.stop()


def ends(c: Cast) -> list[int]:
    return c.stage.workers() + family(c.stage.children["connector"].pid)


def tunnel(quick: bool) -> Figure:
    """Requests over plain HTTP to the edge, through the tunnel; all CPU in between."""
    figure = Figure("tunnel", "µs", "CPU of edge and connector per request over both ssh ends'")
    seconds, rounds = (2, 3) if quick else (5, 7)
    with cast() as c:
        ssh = Ssh(c.folder, c.origin_port)
        try:
            pin(ssh.pids() + ends(c), {min(os.sched_getaffinity(0))})
            ours = c.load(False, True, "wiki")
            theirs = Load(f"http://127.0.0.1:{ssh.port}/small", c.headers("wiki"))
            ours.run(1), theirs.run(1)
            figure.interleave(
                rounds,
                lambda: cost(ends(c), ours, seconds),
                lambda: cost(ssh.pids(), theirs, seconds),
            )
        finally:
            ssh.stop()
    return figure


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pull(url: str, headers: dict[str, str], into: str = "/dev/null") -> float:
    """Download once with curl; return MB/s."""
    argv = ["curl", "-s", "-o", into, "-w", "%{http_code} %{size_download} %{time_total}", url]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, REST))
    status, size, taken = done.stdout.split()
    if status != "200" or int(size) != BIG:
        raise RuntimeError(f"{url}: {status}, {size} bytes")
    return int(size) / float(taken) / 1e6


def bulk(quick: bool) -> Figure:
    """One download of 200 MB; µs of CPU per MB in between, and the speed in the notes."""
    figure = Figure("bulk-down", "µs/MB", "CPU of edge and connector per MB over both ssh ends'")
    with cast() as c:
        ssh = Ssh(c.folder, c.origin_port)
        speeds: dict[str, list[float]] = {"ours": [], "theirs": []}

        urls = {"ours": f"http://127.0.0.1:{c.stage.port}/named/big",
                "theirs": f"http://127.0.0.1:{ssh.port}/big"}

        def one(pids: list[int], whose: str) -> float:
            before = cpu(pids)
            speeds[whose].append(pull(urls[whose], c.headers("wiki")))
            return (cpu(pids) - before) / (BIG / 1e6)

        try:
            for url in urls.values():     # once each, every byte compared
                came = c.folder / "came"
                pull(url, c.headers("wiki"), str(came))
                if digest(came) != digest(c.folder / "files" / "big"):
                    raise RuntimeError(f"{url}: other bytes than the origin's")
            figure.interleave(
                2 if quick else 5,
                lambda: one(ends(c), "ours"),
                lambda: one(ssh.pids(), "theirs"),
            )
        finally:
            ssh.stop()
        figure.notes = {f"MB/s {k}": max(v) for k, v in speeds.items()}
    return figure
