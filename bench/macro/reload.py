"""A change of configuration with 1,000 applications: how long, and what requests feel."""

import threading
import time

from bench.figure import Figure
from bench.macro.cast import Cast, cast

FULL, PART, SLOWEST = 5.0, 2.0, 0.020     # seconds: whole file, one of ten files, one request


def applications(first: int, count: int) -> str:
    lines = []
    for n in range(first, first + count):
        lines.append(f"  - name: App {n}\n    domain: app{n}.sekisho.localhost\n    policies:")
        for p in range(10):
            lines.append(
                f"      - {{name: P{p}, decision: allow, include: ["
                f"{{email_domain: d{p}.example.com}}, {{email: person{n}-{p}@example.org}}]}}")
    return "applications:\n" + "\n".join(lines) + "\n"


def timed(c: Cast, change: "callable") -> tuple[float, float]:  # type: ignore[valid-type]
    """Return the seconds of one reload, and of the slowest request meanwhile."""
    slowest, stop = 0.0, threading.Event()
    load = c.load(False, True, connections=4)

    def watch() -> None:
        nonlocal slowest
        import socket

        fields = "".join(f"{k}: {v}\r\n" for k, v in load.headers.items())
        head = f"GET /small HTTP/1.1\r\n{fields}\r\n".encode()
        with socket.create_connection(("127.0.0.1", c.stage.port), 5) as s:
            while not stop.is_set():
                started = time.perf_counter()
                s.sendall(head)
                s.recv(65536)
                slowest = max(slowest, time.perf_counter() - started)
                time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    change()
    c.stage.run("edge", "reload", "-c", str(c.stage.config))
    taken = time.monotonic() - started
    stop.set()
    watcher.join()
    return taken, slowest


def reload(quick: bool) -> Figure:
    """Seconds over the bar of five (a whole file of 1,000 applications); the rest in the notes."""
    figure = Figure("reload", "s", "seconds of a reload over the bar for a whole file")
    with cast() as c:
        parts = c.stage.folder / "conf.d"
        parts.mkdir()
        base = c.stage.config.read_text()
        whole = parts / "all.yml"
        c.stage.config.write_text(base + f'include: ["{parts}/*.yml"]\n')
        for number in range(1 if quick else 3):
            text = applications(0, 1000).replace("d0.example", f"e{number}.example")
            taken, slowest = timed(c, lambda text=text: whole.write_text(text))  # type: ignore[misc]
            figure.ours.append(taken)
            figure.theirs.append(FULL)
        figure.notes["slowest request ms, whole"] = slowest * 1000
        whole.unlink()
        for n in range(10):
            (parts / f"{n}.yml").write_text(applications(n * 100, 100))
        c.stage.run("edge", "reload", "-c", str(c.stage.config))
        text = applications(0, 100).replace("d0.example", "changed.example", 1)
        taken, slowest = timed(c, lambda: (parts / "0.yml").write_text(text))
        figure.notes["one of ten files s"] = taken
        figure.notes["slowest request ms, one"] = slowest * 1000
    return figure
