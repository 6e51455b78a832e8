"""A change of configuration with 1,000 applications: how long, and what requests feel of it."""

import os
import socket
import threading
import time
from collections.abc import Callable

from bench.figure import Bar, Figure
from bench.macro.cast import Cast, cast
from bench.macro.nginx import BODY
from bench.macro.pinned import CORES, PROXY, REST

WHOLE, PART, SLOWEST = 5.0, 2.0, 20.0     # seconds, seconds, ms of one request
APPLICATIONS = 1000


def applications(first: int, count: int) -> str:
    lines = []
    for n in range(first, first + count):
        lines.append(f"  - name: App {n}\n    domain: app{n}.sekisho.localhost\n    policies:")
        for p in range(10):
            lines.append(
                f"      - {{name: P{p}, decision: allow, include: ["
                f"{{email_domain: d{p}.example.com}}, {{email: person{n}-{p}@example.org}}]}}")
    return "applications:\n" + "\n".join(lines) + "\n"


class Watch:
    """One signed-in client on the worker's own core that asks every millisecond.

    There it doesn't compete with control, so that what it feels is the worker's; raises when an
    answer wasn't the origin's."""

    def __init__(self, c: Cast) -> None:
        fields = "".join(f"{k}: {v}\r\n" for k, v in c.headers().items())
        self.head = f"GET /named HTTP/1.1\r\n{fields}\r\n".encode()
        self.port = c.stage.port
        self.slowest, self.asked = 0.0, 0     # ms, requests
        self.wrong: bytes | None = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.thread.join()
        if self.wrong is not None or not self.asked:
            raise RuntimeError(f"a request failed during the reload: {self.wrong!r}")

    def _run(self) -> None:
        os.sched_setaffinity(0, PROXY)        # of this thread alone
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            while not self.ending.is_set():
                started, answer = time.perf_counter(), b""
                s.sendall(self.head)
                while not answer.endswith(b"\r\n\r\n" + BODY):
                    block = s.recv(65536)
                    answer += block
                    if not block or not answer.startswith(b"HTTP/1.1 200 "):
                        self.wrong = answer
                        return
                self.slowest = max(self.slowest, (time.perf_counter() - started) * 1000)
                self.asked += 1
                time.sleep(0.001)


def timed(c: Cast, change: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of one `sekisho edge reload` after the change, and the ms of the slowest
    request meanwhile."""
    change()
    with Watch(c) as watch:
        started = time.monotonic()
        c.stage.run("edge", "reload", "-c", str(c.stage.config))
        taken = time.monotonic() - started
    return taken, watch.slowest


def reload(quick: bool) -> Figure:
    figure = Figure("reload", "s", "from the command until every worker runs the new version, "
                    f"{APPLICATIONS} applications of ten policies each")
    rounds = 1 if quick else 5
    with cast() as c:
        os.sched_setaffinity(0, REST)         # the command, too, keeps off the worker's core
        try:
            parts = c.stage.folder / "conf.d"
            parts.mkdir()
            base = c.stage.config.read_text()
            whole = parts / "all.yml"
            c.stage.config.write_text(base + f'include: ["{parts}/*.yml"]\n')
            with Watch(c) as idle:
                time.sleep(3)
            first = [
                timed(c, lambda n=n: whole.write_text(  
                    applications(0, APPLICATIONS).replace("example.com", f"e{n}.example")))
                for n in range(rounds)
            ]
            whole.unlink()
            share = APPLICATIONS // 10
            for n in range(10):
                (parts / f"{n}.yml").write_text(applications(n * share, share))
            c.stage.run("edge", "reload", "-c", str(c.stage.config))
            second = [
                timed(c, lambda n=n: (parts / "0.yml").write_text(  
                    applications(0, share).replace("d0.example", f"changed{n}.example", 1)))
                for n in range(rounds)
            ]
        finally:
            os.sched_setaffinity(0, CORES)
    figure.bars = {   # the worst round counts
        "whole file s": Bar(max(taken for taken, _ in first), WHOLE),
        "one of ten files s": Bar(max(taken for taken, _ in second), PART),
        "slowest request ms, whole file": Bar(max(slow for _, slow in first), SLOWEST),
        "slowest request ms, one of ten": Bar(max(slow for _, slow in second), SLOWEST),
    }
    figure.notes = {"rounds": rounds, "slowest request ms without a reload": idle.slowest}
    return figure
