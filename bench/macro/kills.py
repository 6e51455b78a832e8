"""Each process of an installation killed under light load, and what its clients saw of that.

Two kinds of application lanes (dialled by the edge, through the tunnel) and one for the sign-in
page, on kept and on fresh connections, at a steady rate. A client never retries: every refused,
reset or cut connection counts, every answer that isn't 200, and every body that isn't the right
one. The origin answers 200 only when it was told who asks."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.figure import Figure
from bench.macro.cast import Cast, cast
from bench.macro.nginx import BODY
from edge.demo.processes import Child, answers, called, free_port, links_ready
from edge.demo.stage import LINKS, command

RESTART = 0.2        # seconds that systemd waits (RestartSec= of the shipped units)
PATIENCE = 5.0       # seconds that a client waits for an answer
EVERY = 0.1          # seconds between two requests of one lane
KEPT, FRESH = 8, 4   # lanes of each application
SIGN_IN = 2          # lanes of the sign-in page


@dataclass
class Lane:
    """One client: what it sent, what went wrong, and how long it went without a good answer."""

    name: str                              # direct, wiki or login
    head: bytes
    right: Callable[[bytes], bool]         # the body
    kept: bool
    sent: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    good: float = 0.0                      # when the last good answer came
    gap: float = 0.0                       # the longest time between two of them
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    def begin(self) -> None:
        self.sent, self.failed, self.good, self.gap = 0, Counter(), time.monotonic(), 0.0

    def leave(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    async def ask(self, port: int) -> None:
        self.sent += 1
        try:
            async with asyncio.timeout(PATIENCE):
                wrong = await self._exchange(port)
        except TimeoutError:
            wrong = f"no answer in {PATIENCE:g} s"
        except ConnectionRefusedError:
            wrong = "connection refused"
        except asyncio.IncompleteReadError as error:
            wrong = "answer cut short" if error.partial else "closed without an answer"
        except (ConnectionError, OSError):
            wrong = "connection reset"
        now = time.monotonic()
        if wrong:
            self.failed[wrong] += 1
            self.leave()
            return
        self.gap, self.good = max(self.gap, now - self.good), now
        if not self.kept:
            self.leave()

    async def _exchange(self, port: int) -> str:
        """Return what was wrong, or nothing."""
        if self.reader is None or self.reader.at_eof():   # closed while idle: every client looks
            self.leave()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        assert self.writer is not None
        self.writer.write(self.head)
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        fields = {k.lower(): v.strip() for k, _, v in (x.partition(b":") for x in lines)}
        body = await self.reader.readexactly(int(fields[b"content-length"]))
        status = first.split()[1].decode()
        if fields.get(b"connection", b"").lower() == b"close":
            self.leave()
        if status != "200":
            return f"{status} page"
        return "" if self.right(body) else "wrong body"

    async def walk(self, port: int, offset: float) -> None:
        await asyncio.sleep(offset)
        while True:
            due = time.monotonic() + EVERY
            await self.ask(port)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def keep_running(child: Child) -> None:
    """Start it again a moment after it ended, as `Restart=always` does."""
    while True:
        if not child.running():
            await asyncio.sleep(RESTART)
            child.start()
        await asyncio.sleep(0.005)


def lanes(c: Cast) -> list[Lane]:
    made = []
    for name in ("direct", "wiki"):
        fields = "".join(f"{k}: {v}\r\n" for k, v in c.headers(name).items())
        head = f"GET /named HTTP/1.1\r\n{fields}\r\n".encode()
        for number in range(KEPT + FRESH):
            made.append(Lane(name, head, lambda body: body == BODY, number < KEPT))
    host, target = c.sign_in_page.split("//", 1)[1].split("/", 1)
    head = f"GET /{target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n".encode()
    made += [Lane("login", head, lambda body: b'name="email"' in body, True)
             for _ in range(SIGN_IN)]
    return made


async def settle(ready: Callable[[], bool], limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    while not await asyncio.to_thread(ready):
        if time.monotonic() > end:
            raise RuntimeError(f"not whole again {limit:g} s after a kill")
        await asyncio.sleep(0.05)


def table_row(name: str, count: int, all_lanes: list[Lane]) -> dict[str, object]:
    applications = [lane for lane in all_lanes if lane.name != "login"]
    login = [lane for lane in all_lanes if lane.name == "login"]
    saw: Counter[str] = Counter()
    for lane in all_lanes:
        for what, times in lane.failed.items():
            saw[f"{what} ({'sign-in page' if lane.name == 'login' else lane.name})"] += times
    told = ", ".join(f"{times} × {what}" for what, times in saw.most_common()) or "nothing"
    return {
        "killed": name, "times": count,
        "sent": sum(lane.sent for lane in applications),
        "failed": sum(sum(lane.failed.values()) for lane in applications),
        "longest gap ms": round(max(lane.gap for lane in applications) * 1000),
        "sign-in pages": sum(lane.sent for lane in login),
        "failed there": sum(sum(lane.failed.values()) for lane in login),
        "gap there ms": round(max(lane.gap for lane in login) * 1000),
        "what clients saw": told,
    }


async def campaign(c: Cast, quick: bool) -> list[dict[str, object]]:
    stage, rounds, after = c.stage, 1 if quick else 3, 4.0 if quick else 6.0
    edge, connector = stage.children["edge"], stage.children["connector"]
    monitor = f"http://127.0.0.1:{stage.monitor}/ready"
    beside = f"http://127.0.0.1:{stage.metrics}/ready"

    def whole() -> bool:
        return (answers(monitor) and links_ready(beside) >= LINKS
                and len(stage.workers()) == 2)

    def control() -> int:
        return called(edge.pid, "edge.server.control")[0]

    everybody = lanes(c)
    tasks = [asyncio.create_task(keep_running(child)) for child in (edge, connector)]
    tasks += [asyncio.create_task(lane.walk(stage.port, n * EVERY / len(everybody)))
              for n, lane in enumerate(everybody)]
    victims: list[tuple[str, Callable[[], int]]] = [
        ("nobody", lambda: 0),
        ("one of two workers", lambda: stage.workers()[0]),
        ("control", control),
        ("master", lambda: edge.pid),
        ("connector", lambda: connector.pid),
        ("connector, a replica beside it", lambda: connector.pid),
    ]
    rows = []
    try:
        for name, victim in victims:
            if "replica" in name:
                await replica(c)
            await settle(whole)
            await asyncio.sleep(2)
            for lane in everybody:
                lane.begin()
            for _ in range(rounds):
                await asyncio.sleep(1)
                if pid := victim():
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(after)
                await settle(whole)
            rows.append(table_row(name, rounds if victim() else 0, everybody))
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    return rows


async def replica(c: Cast) -> None:
    """Start a second connector of the same tunnel, as another machine would."""
    port = free_port()
    text = (c.stage.folder / "connector" / "config.yml").read_text()
    path = c.stage.folder / "connector" / "replica.yml"
    path.write_text(text.replace(f"metrics: 127.0.0.1:{c.stage.metrics}",
                                 f"metrics: 127.0.0.1:{port}"))
    c.stage.child("replica", command("tunnel", "--config", str(path), "run"))
    await settle(lambda: links_ready(f"http://127.0.0.1:{port}/ready") >= LINKS)


def kills(quick: bool) -> Figure:
    figure = Figure("kills", "", "each process killed with SIGKILL under light load: requests lost")
    with cast(workers=2) as c:
        figure.rows = asyncio.run(campaign(c, quick))
    return figure
