"""Publishing: everything that workers decide from is built, written to disk, and then sent.

Build everything, then store once: a snapshot that can't be built, or a file that can't be written,
leaves the running one where it is, and says why."""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.server.feed import FeedServer, Message, Peer
from edge.server.folder import Folder, newest, numbered, prune_snapshots, write_atomic
from edge.server.revoked import newest_revoked, write_revoked

log = logging.getLogger("sekisho.publish")


class Refused(Exception):
    """What was to be published can't be built; every problem is a line of its own."""

    def __init__(self, problems: list[str], *, passes: bool = False) -> None:
        """`passes`: it isn't the configuration's fault, and may be over without a change to it."""
        super().__init__("; ".join(problems))
        self.problems = problems
        self.passes = passes


@dataclass(frozen=True, slots=True)
class Built:
    """One snapshot's bytes, and what must be swapped in control together with it."""

    data: bytes
    warnings: list[str]
    adopt: Callable[[], None] = lambda: None  # called once the bytes are safely on disk


class Assemble(Protocol):
    """Makes snapshots: reads files and store, checks, compiles."""

    async def build(self, version: int, *, reread: bool) -> Built:
        """Return the snapshot of this version, or raise Refused and change nothing.

        `reread` reads the configuration files again; otherwise only what the store holds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt to publish ended."""

    version: int  # that runs now: the new one, or the old one where there are errors
    cause: str
    at: float  # wall clock
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    passes: bool = False  # what refused it may be over without a change: worth another attempt

    @property
    def ok(self) -> bool:
        return not self.errors


@dataclass(frozen=True, slots=True)
class Current:
    """The newest snapshot as the feed announces it."""

    version: int
    file: str
    length: int
    sha256: bytes

    def message(self) -> Message:
        return {
            "t": "snapshot", "version": self.version, "file": self.file,
            "length": self.length, "sha256": self.sha256,
        }


class Publisher:
    """Owns the snapshot and revocation files, and tells the workers. One in control."""

    def __init__(
        self, folder: Folder, assemble: Assemble, *, workers: int, admits: Callable[[int], bool],
        wall: Callable[[], float], on_question: Callable[[Peer, Message], None],
        on_events: Callable[[Peer, list[Any]], None],
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self.folder = folder
        self.assemble = assemble
        self.workers = workers
        self.wall = wall
        self.feed = FeedServer(self, instance=os.urandom(8).hex(), admits=admits)
        self.current: Current | None = None
        self.last: Outcome | None = None
        self.tickets: list[bytes] = []
        self.on_question = on_question
        self.on_events = on_events
        self.on_outcome = on_outcome
        self._publishing = asyncio.Lock()
        self._revoking = asyncio.Lock()
        self._acknowledged = asyncio.Condition()
        self._waking: set[asyncio.Task[None]] = set()
        self._revocations: list[Message] = []
        self._seq = 0
        self._lacking = False  # the newest list on disk was damaged: the store knows what it held
        self._taken = 0  # the newest version that a worker took: what a new one can start from
        self._load()

    def _load(self) -> None:
        """Begin with what the last control wrote: workers run it already."""
        found = newest(self.folder.snapshots, lambda number, path: (number, path.read_bytes()))
        if found is not None:
            self.current = self._described(*found)

        revocations, problems = newest_revoked(self.folder.revocations)
        for problem in problems:
            log.error("a list of revocations can't be used: %s", problem)
        self._lacking = bool(problems)
        numbers = [number for number, _ in numbered(self.folder.revocations)]
        if revocations is not None:
            self._revocations = revocations[1]
        # Never a number that a worker may have seen with another list
        self._seq = max([0, *numbers])

    def _described(self, version: int, data: bytes) -> Current:
        path = self.folder.snapshots / f"{version}.snapshot"
        return Current(version, str(path), len(data), hashlib.sha256(data).digest())

    # Snapshots

    @property
    def version(self) -> int:
        return self.current.version if self.current else 0

    async def reload(
        self, cause: str, *, reread: bool = True, due: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """Build, write and announce a new snapshot; on any error the old one stays.

        `due` is asked when it is this one's turn: where the one before has done it all, that one's
        outcome is returned."""
        async with self._publishing:
            if self.last is not None and not due():
                return self.last
            names = [number for number, _ in numbered(self.folder.snapshots)[:1]]
            version = max([self.version, *names]) + 1
            try:
                built = await self.assemble.build(version, reread=reread)
                current = await asyncio.to_thread(self._write_snapshot, version, built.data)
            except Exception as error:
                # Also a mistake of ours: whatever it is, the old version stays and the next
                # attempt is free to come
                passes = isinstance(error, OSError) or getattr(error, "passes", False)
                problems = _problems(error)
                outcome = Outcome(self.version, cause, self.wall(), problems, passes=passes)
            else:
                built.adopt()
                self.current = current
                self.feed.broadcast(current.message())
                outcome = Outcome(version, cause, self.wall(), [], built.warnings)
            self.last = outcome
        _report(outcome)
        self.on_outcome(outcome)
        return outcome

    def _write_snapshot(self, version: int, data: bytes) -> Current:
        current = self._described(version, data)
        write_atomic(self.folder.snapshots / f"{version}.snapshot", data)
        prune_snapshots(self.folder.snapshots, self._taken)
        return current

    async def everywhere(self, version: int, limit: float = 5.0) -> bool:
        """Return True once every worker runs this version or a newer one; False after `limit`.

        One that is being replaced is waited for: what it starts from isn't known before it says."""
        def reached() -> bool:
            running = [peer for peer in self.feed.peers.values() if peer.version >= version]
            return len(running) >= self.workers

        try:
            async with asyncio.timeout(limit), self._acknowledged:
                await self._acknowledged.wait_for(reached)
        except TimeoutError:
            return False
        return True

    # Revocations

    @property
    def revocations(self) -> tuple[int, int]:
        """Return (sequence number, how many are in force)."""
        return self._seq, len(self._revocations)

    def revoked(self, kind: str) -> set[str]:
        """Return the ids of this kind that are revoked now."""
        now = self.wall()
        return {
            str(entry["id"]) for entry in self._revocations
            if entry["kind"] == kind and entry.get("until", now + 1) > now
        }

    async def revoke(self, entries: list[Message]) -> int:
        """Put into force: on disk first, then on every worker. Returns the sequence number.

        Raises OSError where the disk refuses; workers have it even then, because a full disk
        must keep nobody signed in, and the next write that succeeds holds it too."""
        async with self._revoking:
            now = self.wall()
            again = {_key(entry) for entry in entries}  # the same twice must not grow the list
            live = [
                entry for entry in self._revocations
                if entry.get("until", now + 1) > now and _key(entry) not in again
            ]
            live += entries
            seq = self._seq + 1
            try:
                await asyncio.to_thread(write_revoked, self.folder.revocations, seq, live)
            finally:
                self._seq, self._revocations = seq, live
                self.feed.broadcast(
                    {"t": "revocations", "seq": seq, "entries": entries, "full": False}
                )
        return seq

    async def restore(self, entries: list[Message]) -> None:
        """Add what the store knows and the disk has lost (a new or restored state folder)."""
        known = {_key(entry) for entry in self._revocations}
        missing = [entry for entry in entries if _key(entry) not in known]
        if missing or self._lacking:
            await self.revoke(missing)

    # The feed

    def greeting(self) -> list[Message]:
        """Return what a worker that has just come must know.

        The revocations first: a worker that lacked some decides about nobody until it has them."""
        messages: list[Message] = [
            {"t": "revocations", "seq": self._seq, "entries": self._revocations, "full": True},
            self._beat(),
        ]
        if self.current is not None:
            messages.append(self.current.message())
        if self.tickets:
            messages.append({"t": "tickets", "keys": self.tickets})
        return messages

    def on_message(self, peer: Peer, message: Message) -> None:
        if message["t"] == "ack":
            if message.get("error"):
                log.error(
                    "worker %d refused version %s: %s",
                    peer.slot, message["version"], message["error"],
                )
            elif int(message["version"]) > self._taken:
                self._taken = int(message["version"])
                with contextlib.suppress(OSError):
                    prune_snapshots(self.folder.snapshots, self._taken)
            self._wake()
        elif message["t"] == "question":
            self.on_question(peer, message)
        elif message["t"] == "events":
            self.on_events(peer, message.get("events") or [])

    def on_gone(self, peer: Peer) -> None:
        self._wake()

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._acknowledged:
                self._acknowledged.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    def _beat(self) -> Message:
        return {"t": "beat", "wall": self.wall()}

    def beat(self) -> None:
        self.feed.broadcast(self._beat())

    def set_tickets(self, keys: list[bytes]) -> None:
        if keys != self.tickets:
            self.tickets = keys
            self.feed.broadcast({"t": "tickets", "keys": keys})

    def certificates_changed(self) -> None:
        self.feed.broadcast({"t": "certificates"})


def _key(entry: Message) -> tuple[Any, ...]:
    return entry.get("kind"), entry.get("id"), entry.get("epoch")


def _problems(error: Exception) -> list[str]:
    if isinstance(error, Refused):
        return error.problems
    if isinstance(error, OSError):
        return [str(error)]
    log.error("a snapshot could not be built", exc_info=error)
    return [f"an error in Sekisho itself: {error!r}"]


def _report(outcome: Outcome) -> None:
    if outcome.ok:
        log.info("version %d (%s)", outcome.version, outcome.cause)
        for warning in outcome.warnings:
            log.warning("%s", warning)
    else:
        log.error("%s changed nothing; version %d stays:", outcome.cause, outcome.version)
        for problem in outcome.errors:
            log.error("%s", problem)
