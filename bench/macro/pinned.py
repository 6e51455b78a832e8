"""Where processes run and what they cost: one core for the proxy, the others for everybody else."""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from bench.macro.nginx import BODY

CORES = sorted(os.sched_getaffinity(0))
PROXY = {CORES[0]}                        # what is measured
REST = set(CORES[1:]) or {CORES[0]}       # load, origin, everything else


def pin(pids: list[int], cores: set[int]) -> None:
    """Put every thread of these processes on the cores."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in (Path("/proc") / str(pid) / "task").iterdir():
                os.sched_setaffinity(int(task.name), cores)


def cpu(pids: list[int]) -> float:
    """Return the CPU time in µs that the threads of these processes have run (schedstat)."""
    total = 0
    for pid in pids:
        for task in (Path("/proc") / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1000


def resident(pids: list[int]) -> float:
    """Return the memory in kB that belongs to these processes alone (private pages)."""
    total = 0
    for pid in pids:
        rollup = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
        total += sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", rollup, re.M))
    return float(total)


def named_here(url: str) -> list[str]:
    """Return the words before a command in whose eyes the URL's host is this machine.

    wrk takes the TLS name from the URL and asks the resolver; a hosts file of its own, in a mount
    namespace of its own, answers without touching the machine's."""
    host = urlsplit(url).hostname or ""
    if not host.endswith("localhost"):
        return []
    hosts = Path(tempfile.gettempdir()) / f"sekisho-bench-hosts-{os.getuid()}"
    hosts.write_text(f"127.0.0.1 localhost {host}\n")
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    return ["unshare", *root, "--mount", "sh", "-c", mount, "named-here"]


TOTALS = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("TOTAL %d bytes %d errors\\n", summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Load:
    """wrk with keep-alive connections. `requests` and `p99` are of the last run."""

    def __init__(self, url: str, headers: dict[str, str], connections: int = 64) -> None:
        self.url, self.headers, self.connections = url, headers, connections
        self.requests, self.p50, self.p99 = 0, 0.0, 0.0
        self.size = 0     # bytes of one whole answer
        self.script = Path(tempfile.gettempdir()) / f"sekisho-bench-{os.getuid()}.lua"
        self.script.write_text(TOTALS)

    def look(self) -> int:
        """Ask once, compare the whole body, and return the bytes of the answer."""
        argv = [*named_here(self.url), "curl", "-sSki", self.url]
        for name, value in self.headers.items():
            argv += ["-H", f"{name}: {value}"]
        answer = subprocess.run(argv, capture_output=True, check=True).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        if head.split()[1] != b"200" or body != BODY:
            raise RuntimeError(f"{self.url}: {answer[:300]!r}")
        return len(answer)

    def run(self, seconds: float) -> int:
        """Run and return the completed requests; raises when any answer was a wrong one.

        Status by wrk itself, one whole answer compared before each run, and the sum of all bytes:
        wrk's own check of each body would cost the load's core what it is there to give."""
        self.size = self.look()
        argv = [*named_here(self.url), "wrk", "-t1", f"-c{self.connections}", f"-d{seconds:g}s",
                "--latency", "-s", str(self.script)]
        for name, value in self.headers.items():
            argv += ["-H", f"{name}: {value}"]
        done = subprocess.run(
            [*argv, self.url], capture_output=True, text=True, check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, REST),
        )
        bad = re.search(r"(Non-2xx.*|Socket errors.*)", done.stdout)
        if bad:
            raise RuntimeError(f"{self.url}: {bad.group(1)}")
        found = re.search(r"(\d+) requests in", done.stdout)
        if not found:
            raise RuntimeError(done.stdout)
        self.requests = int(found.group(1))
        totals = re.search(r"TOTAL (\d+) bytes (\d+) errors", done.stdout)
        if not totals or int(totals[2]):
            raise RuntimeError(f"{self.url}: {done.stdout}")
        over = int(totals[1]) - self.requests * self.size
        # what was under way at the end, and a head that is a few bytes shorter or longer (an id)
        if abs(over) > self.connections * self.size + 8 * self.requests:
            raise RuntimeError(f"{self.url}: {over} bytes too many in {self.requests} answers")
        self.p50, self.p99 = (
            self._milliseconds(re.search(rf"{p}%\s+([\d.]+)(us|ms|s)", done.stdout))
            for p in (50, 99)
        )
        return self.requests

    def _milliseconds(self, found: re.Match[str] | None) -> float:
        if found is None:
            return 0.0
        return float(found.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found.group(2)]


def cost(pids: list[int], load: Load, seconds: float) -> float:
    """Return µs of CPU per completed request of these processes under the load."""
    before = cpu(pids)
    done = load.run(seconds)
    return (cpu(pids) - before) / done
