"""A real worker process around the smallest core: answers who it is, over HTTP/1.1.

For tests of master, feed and worker that need no TLS, policy or store."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from edge.server.worker import Surroundings, serve

DAMAGED = b"damaged"


class BareSnapshot:
    """A snapshot file is JSON here: {"version": n, "text": "…"}."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        if raw.startswith(DAMAGED):
            raise ValueError("damaged")
        body = json.loads(raw)
        self.version, self.text = body["version"], body["text"]
        self.settings: dict[str, Any] = {}


class Answering(asyncio.Protocol):
    def __init__(self, core: "BareCore") -> None:
        self.core = core
        self.held = b""
        self.busy = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.core.open.add(self)
        self.core.counted["accepted"] += 1

    def data_received(self, data: bytes) -> None:
        self.held += data
        while b"\r\n\r\n" in self.held:
            head, _, self.held = self.held.partition(b"\r\n\r\n")
            self.busy += 1
            self.answer(head.split(b" ")[1].decode())

    def answer(self, path: str) -> None:
        core = self.core
        core.counted["requests"] += 1
        if path == "/slow":
            core.loop.call_later(0.5, self.write, b"slow")
        elif path == "/hang":
            pass
        elif path == "/ask":
            core.loop.create_task(self.ask())
        elif path == "/stop":
            os.kill(os.getpid(), 19)
        else:
            self.write(json.dumps(core.describe()).encode())

    async def ask(self) -> None:
        self.write(json.dumps(await self.core.around.ask({"what": "echo", "x": 1})).encode())

    def write(self, body: bytes) -> None:
        self.busy -= 1
        close = b"Connection: close\r\n" if self.core.draining else b""
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), close, body)
        )
        if self.core.draining:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.core.open.discard(self)


class BareCore:
    def __init__(self, snapshot: BareSnapshot, around: Surroundings) -> None:
        self.set_snapshot(snapshot)
        self.around = around
        self.loop = around.loop
        self.open: set[Answering] = set()
        self.revocations: list[str] = []
        self.seq = 0
        self.stale_after = -1.0
        self.draining = False
        self.tickets = 0
        self.counted = {"requests": 0, "accepted": 0, "reopened": 0, "certificates": 0}
        self.events: list[Any] = []

    def describe(self) -> dict[str, Any]:
        return {
            "slot": self.around.plan.slot, "pid": os.getpid(), "version": self.snapshot.version,
            "text": self.snapshot.text, "revocations": self.revocations, "seq": self.seq,
            "stale_after": self.stale_after, "tickets": self.tickets, **self.counted,
        }

    async def start(self) -> None:
        pass

    def greeting(self) -> list[Any]:
        return []

    def acceptor(self, listener: Any) -> Any:
        return lambda: Answering(self)

    def prepare(self, path: Path) -> BareSnapshot:
        return BareSnapshot(path)

    def set_snapshot(self, snapshot: BareSnapshot) -> BareSnapshot:
        if snapshot.text == "refuse me":
            raise ValueError("the core refuses it")
        self.snapshot = snapshot
        return snapshot

    def revoke(self, entries: list[Any], full: bool, seq: int) -> None:
        names = [entry["id"] for entry in entries]
        self.revocations = names if full else self.revocations + names
        self.seq = seq

    def set_stale_after(self, seconds: float) -> None:
        self.stale_after = seconds

    def set_tickets(self, keys: list[bytes]) -> None:
        self.tickets = len(keys)

    def reload_certificates(self) -> None:
        self.counted["certificates"] += 1

    def reopen_log(self) -> None:
        self.counted["reopened"] += 1

    def counters(self) -> dict[str, Any]:
        return {"connections": len(self.open), **self.counted}

    def take_events(self) -> list[Any]:
        taken, self.events = self.events, []
        return taken

    async def drain(self) -> None:
        self.draining = True
        for idle in [each for each in self.open if not each.busy]:
            idle.transport.close()
        while self.open:
            await asyncio.sleep(0.02)

    def close_all(self) -> None:
        pass

    def live(self) -> int:
        return len(self.open)


if __name__ == "__main__":
    sys.exit(serve(BareCore, BareSnapshot))
