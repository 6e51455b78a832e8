"""A worker process: loads the last good state, accepts, and follows the feed.

Everything that a request needs is in the core (compiled); this file only feeds it. Imports are kept
few: a worker that died is back within a second."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import uvloop

from edge.server.channel import Channel, die_with_master, inherited_channel, keep_to_master
from edge.server.feed import FeedClient, FeedError, Message
from edge.server.folder import numbered, read_clock, sha256_file
from edge.server.journal import start_journal
from edge.server.listener import BACKLOG
from edge.server.plan import Inherited, Listener, Plan, inherited_plan
from edge.server.questions import Questions
from edge.server.revoked import newest_revoked

BEAT = 1.0  # seconds between two signs of life to the master, and two batches to control
GRACE = 0.3  # seconds that a caller who has just come has to say what it wants, before a drain
LEAVE = 2.0  # seconds that a draining worker waits for the others to let go of its sockets
NO_SNAPSHOT = 75  # EX_TEMPFAIL: nothing to serve from yet
# Of a process or machine that has run out of something: they say nothing about a snapshot
SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}

log = logging.getLogger("sekisho.worker")


class Snapshot(Protocol):
    """What this file needs of _fastpath.snapshot.Snapshot."""

    @property
    def version(self) -> int: ...
    @property
    def settings(self) -> dict[str, Any]: ...


class Core(Protocol):
    """The data path as its process sees it; every call is quick and never blocks."""

    async def start(self) -> None:
        """Open what needs a running loop."""

    def greeting(self) -> list[Message]:
        """Return what a control process that has just come must know."""

    def acceptor(self, listener: Listener) -> Callable[[], asyncio.BaseProtocol]:
        """Return the protocol factory for connections that come in at this listener."""

    def prepare(self, path: Path) -> Any:
        """Return a snapshot ready for set_snapshot; called in a thread, since it takes its time."""

    def set_snapshot(self, prepared: Any) -> Snapshot:
        """Decide from it from the next request on, and return it; or raise and change nothing."""

    def revoke(self, entries: list[Message], full: bool, seq: int) -> None:
        """Apply revocations: `full` replaces the list, otherwise they are added."""

    def set_stale_after(self, seconds: float) -> None:
        """Identity decisions end in 503 once `seconds` have gone by without another call."""

    def set_tickets(self, keys: list[bytes]) -> None: ...
    def reload_certificates(self) -> None: ...
    def close_links(self, tunnel: str, replica: str) -> None: ...
    def reopen_log(self) -> None: ...
    def counters(self) -> Message: ...
    def take_events(self) -> list[Message]: ...
    async def drain(self) -> None:
        """Finish what runs, keep nobody, return when the last is gone."""

    def close_all(self) -> None:
        """The time to drain is over: cut what is left, write what waits."""

    def live(self) -> int:
        """Return the number of downstream connections."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a core may use of its process."""

    plan: Plan
    loop: asyncio.AbstractEventLoop
    ask: Callable[[Message], Any]  # awaitable: control's answer, or None
    tell: Callable[[Message], bool]  # a message to control; False when it is away
    connected: Callable[[], bool]  # whether control is there


BuildCore = Callable[[Any, Surroundings], Core]
OpenSnapshot = Callable[[Path], Any]


class Worker:
    """One slot's process."""

    def __init__(
        self, plan: Plan, channel: Channel, loop: asyncio.AbstractEventLoop,
        *, build_core: BuildCore, open_snapshot: OpenSnapshot, wall: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.channel = channel
        self.loop = loop
        self.wall = wall
        # by the slot whose sockets they serve
        self.servers: dict[int, list[tuple[Inherited, asyncio.Server]]] = {}
        self.revoked = 0  # sequence number of the newest revocation that the core knows
        self.feed = FeedClient(
            plan.folder.feed_socket, slot=plan.slot, on_message=self.on_feed,
            on_state=self.on_feed_state,
        )
        self.questions = Questions(self.feed.send)
        self.swapping = asyncio.Lock()
        self.swaps: set[asyncio.Task[None]] = set()
        self.draining: asyncio.Task[None] | None = None
        self.alone = asyncio.Event()  # no other process holds our listening sockets any more
        self.snapshot, self.core = self._from_disk(build_core, open_snapshot)
        self.unsure = False  # whether revocations are missing that control knows
        self._load_revocations()
        self._count_silence()

    # State from disk

    def _from_disk(
        self, build_core: BuildCore, open_snapshot: OpenSnapshot
    ) -> tuple[Snapshot, Core]:
        """Return the newest snapshot that can be served from, and the core that does.

        A replaced worker has no old snapshot to stay on: where the newest is damaged, or the core
        refuses it, it serves from the one before rather than not at all."""
        around = Surroundings(
            self.plan, self.loop, self.questions.ask, self.feed.send, lambda: self.feed.connected
        )
        for number, path in numbered(self.plan.folder.snapshots):
            try:
                snapshot = open_snapshot(path)
                return snapshot, build_core(snapshot, around)
            except Exception as error:
                if isinstance(error, MemoryError) or getattr(error, "errno", None) in SCARCE:
                    raise
                log.error("can't serve from snapshot %d, trying the one before: %r", number, error)
        log.error("no snapshot in %s can be served from", self.plan.folder.snapshots)
        raise SystemExit(NO_SNAPSHOT)

    def _load_revocations(self) -> None:
        found, problems = newest_revoked(self.plan.folder.revocations)
        for problem in problems:
            log.error("nobody is decided about until control tells the revocations: %s", problem)
        self.unsure = bool(problems)
        if found is not None:
            self.revoked = found[0]
            self.core.revoke(found[1], True, self.revoked)

    def _count_silence(self) -> None:
        """`max_stale` runs from the last minute in which control lived, restarts included."""
        stamp = read_clock(self.plan.folder.clock)
        silent = self.max_stale if stamp is None else self.wall() - stamp
        if silent < -60 or self.unsure:
            # The clock went back behind the stamp: nobody knows for how long control was away.
            # Or somebody may be revoked without this worker knowing.
            silent = self.max_stale
        self.core.set_stale_after(max(0.0, self.max_stale - max(0.0, silent)))

    @property
    def max_stale(self) -> float:
        """Seconds that this worker goes on without word from control."""
        return float(self.snapshot.settings.get("max_stale", self.plan.max_stale))

    # The feed

    def on_feed(self, message: Message) -> None:
        """Apply one message; an error drops the feed, and everything is told anew."""
        kind = message["t"]
        if kind == "beat":
            if not self.unsure:
                self.core.set_stale_after(self.max_stale)
        elif kind == "snapshot":
            task = self.loop.create_task(self._on_snapshot(message))
            self.swaps.add(task)
            task.add_done_callback(self.swaps.discard)
        elif kind == "revocations":
            self._on_revocations(message)
        elif kind == "answer":
            self.questions.answered(message["id"], message.get("facts"))
        elif kind == "tickets":
            self.core.set_tickets(message["keys"])
        elif kind == "certificates":
            self.core.reload_certificates()
        elif kind == "cleanup":
            self.core.close_links(message["tunnel"], message.get("replica", ""))

    def on_feed_state(self, connected: bool) -> None:
        if not connected:
            self.questions.cut()
            return
        for message in self.core.greeting():
            self.feed.send(message)

    async def _on_snapshot(self, message: Message) -> None:
        version = int(message["version"])
        try:
            async with self.swapping:  # one after the other, in the order in which they came
                if version < self.snapshot.version:
                    raise ValueError(f"version {version} is older than {self.snapshot.version}")
                if version > self.snapshot.version:
                    # 5 MB take 20 ms to check: requests go on meanwhile
                    prepared = await asyncio.to_thread(self._prepare, message)
                    self.snapshot = self.core.set_snapshot(prepared)  # the only store
                    if not self.unsure:
                        self.core.set_stale_after(self.max_stale)  # a new max_stale counts from now
        except (ValueError, OSError) as error:
            log.error("snapshot %d refused: %s", version, error)
            self.feed.send({"t": "ack", "version": version, "error": str(error)})
            return
        self.feed.send({"t": "ack", "version": version})

    def _prepare(self, message: Message) -> Any:
        path = Path(message["file"])
        if sha256_file(path) != (message["length"], message["sha256"]):
            raise ValueError(f"{path} is not what control wrote")
        return self.core.prepare(path)

    def _on_revocations(self, message: Message) -> None:
        seq, full = int(message["seq"]), bool(message["full"])
        if not full and seq != self.revoked + 1:
            raise FeedError(f"revocations {seq} after {self.revoked}")
        self.core.revoke(message["entries"], full, seq)
        self.revoked = seq
        self.unsure = self.unsure and not full

    # Accepting

    async def accept_for(self, slot: int) -> None:
        """Accept on a slot's sockets: our own, or a dead sibling's until it is replaced."""
        if slot in self.servers or self.draining is not None:
            return
        servers = self.servers[slot] = []
        for place in self.plan.sockets:
            if place.slot != slot and not (place.slot < 0 and slot == self.plan.slot):
                continue
            # A copy: closing the server must not close the socket that we may need again
            sock = socket.socket(fileno=os.dup(place.fd))
            factory = self.core.acceptor(self.plan.listeners[place.listener])
            server = await self.loop.create_server(factory, sock=sock, backlog=BACKLOG)
            servers.append((place, server))

    def release(self, slot: int) -> None:
        for _, server in self.servers.pop(slot, []):
            server.close()

    async def _leave_queues(self) -> None:
        """Stop accepting, so that nobody who has got as far as a queue of ours is cut.

        A queue is lost when the last process that holds its socket closes it, so each worker first
        lets go of the others' sockets and says so, goes on with its own until the master has heard
        that from everybody, and takes what waits there in the moment in which it closes it. A
        passed socket's queue waits for the next edge."""
        mine = self.servers.get(self.plan.slot, [])
        for slot in [slot for slot in self.servers if slot != self.plan.slot]:
            self.release(slot)
        for place, server in mine:
            if place.slot < 0:
                server.close()
        for place in self.plan.sockets:
            if place.slot not in (-1, self.plan.slot):
                os.close(place.fd)
        self.channel.send("let-go")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE):
                await self.alone.wait()
        for place, server in mine:
            if place.slot >= 0:
                server.close()
                await self._take_queue(place)
        await asyncio.sleep(GRACE)

    async def _take_queue(self, place: Inherited) -> None:
        factory = self.core.acceptor(self.plan.listeners[place.listener])
        accepted = []
        with socket.socket(fileno=place.fd) as listening, contextlib.suppress(OSError):
            listening.setblocking(False)
            while True:
                accepted.append(listening.accept()[0])
        for sock in accepted:
            await self.loop.connect_accepted_socket(factory, sock)

    # The master

    def on_channel(self) -> None:
        messages = self.channel.receive()
        if messages is None:
            os._exit(1)  # the master is dead, and so are we
        for message in messages:
            if message["t"] == "adopt":
                self.loop.create_task(self.accept_for(message["slot"]))
            elif message["t"] == "release":
                self.release(message["slot"])
            elif message["t"] == "reopen":
                self.core.reopen_log()
            elif message["t"] == "leave":
                self.alone.set()
            elif message["t"] == "drain":
                self.drain()

    def drain(self) -> None:
        if self.draining is None:
            self.draining = self.loop.create_task(self._drain())

    async def _drain(self) -> None:
        await self._leave_queues()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.drain):
                await self.core.drain()
        left = self.core.live()
        if left:
            log.warning("drain is over with %d connections left", left)
        self._report()
        self.core.close_all()
        # One turn more for what is written but not sent
        await asyncio.sleep(0)
        self.loop.stop()

    # Time

    def _beat(self) -> None:
        self.channel.send("beat")
        self._report()
        self.loop.call_later(BEAT, self._beat)

    def _report(self) -> None:
        counters = self.core.counters()
        counters["lost_events"] = self.feed.lost_events
        self.feed.send({"t": "counters", "counters": counters})
        self.feed.send_events(self.core.take_events())

    def run(self) -> None:
        """Serve until drained."""
        self.loop.add_reader(self.channel.sock, self.on_channel)
        self.loop.add_signal_handler(signal.SIGTERM, self.drain)
        self.loop.run_until_complete(self.core.start())
        self.loop.run_until_complete(self.accept_for(self.plan.slot))
        self.channel.send("ready")
        self._beat()
        follow = self.loop.create_task(self.feed.run())
        # What was made until here lives as long as the process: the collector need not walk it
        gc.collect()
        gc.freeze()
        self.loop.run_forever()
        follow.cancel()


def build_worker(
    plan: Plan, channel: Channel, loop: asyncio.AbstractEventLoop,
    *, build_core: BuildCore, open_snapshot: OpenSnapshot, wall: Callable[[], float] = time.time,
) -> Worker:
    """Wire a worker; exits with NO_SNAPSHOT when there is nothing to serve from."""
    return Worker(
        plan, channel, loop, build_core=build_core, open_snapshot=open_snapshot, wall=wall
    )


def serve(build_core: BuildCore, open_snapshot: OpenSnapshot) -> int:
    """Run this process as the worker that its master started it as."""
    die_with_master()
    keep_to_master()
    plan = inherited_plan()
    start_journal(f"worker[{plan.slot}]")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    build_worker(
        plan, inherited_channel(), loop, build_core=build_core, open_snapshot=open_snapshot
    ).run()
    return 0


def main() -> int:
    # The compiled data path is imported by the process that runs it, not by who reads this file
    from edge.server.core import build_core, open_snapshot

    return serve(build_core, open_snapshot)


if __name__ == "__main__":
    sys.exit(main())
