"""The connector: lanes to the edge, tables, reload, drain. Everything is passed in; nothing listens
but the monitor on loopback."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from _fastpath.dialled import DialledLink
from _fastpath.inbound import Inbound
from edge.connector import pushed
from edge.connector.credentials import Credentials, CredentialsRefused, save
from edge.connector.dial import DialFailed, dial
from edge.connector.enrol import EnrolmentFailed, LinkIdentity, context_of, due, enrol, identity
from edge.connector.ingress import Read, Settings, read_file
from edge.connector.lane import Lane
from edge.connector.monitor import Monitor
from edge.connector.notify import notify
from edge.connector.origin import serve
from edge.connector.service import ServiceRefused
from edge.connector.tables import NotInTable, Numbered, Tables
from edge.connector.wakeful import Wakeful
from edge.identity.authority import new_key, new_request
from edge.wire import messages as wire
from edge.wire.framing import pack

if TYPE_CHECKING:
    from _fastpath.endpoint import Pipe

log = logging.getLogger("sekisho.connector")

FIRST_COVER = 3.0  # seconds that workers may be without a link before one is moved
LAST_COVER = 300.0  # seconds between two tries when that doesn't help
RENEWAL_WITHIN = 30.0  # seconds for an answer to a renewal; over it: asked again
POLL = 1.0  # seconds between two looks at the configuration file
MAX_STREAMS = 10_000  # streams served at once over all links; over it: refused tunnel-streams


class Daemon:
    """One connector process."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        *,
        credentials_file: Path | None = None,
        read: Callable[[Path], Read] = read_file,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self.credentials_file = credentials_file
        self.read = read
        self.tunnel = credentials.tunnel
        self.replica = secrets.token_hex(16)
        self.software = f"sekisho/{_release()}"
        self.tables = Tables()
        self.tables.replace(settings.rules)
        self.identity: LinkIdentity | None = None
        self.lanes = [Lane(number, self) for number in range(settings.links)]
        self.monitor = Monitor(self)
        self.counters = {"streams": 0, "refused": 0, "reloads": 0, "reload_errors": 0}
        self._next_address = 0
        self._enrolling = asyncio.Lock()
        self._renewal_key: bytes | None = None
        self._renewal_link: DialledLink | None = None  # where the answer will come
        self._renewal_asked = -RENEWAL_WITHIN  # monotonic
        self._serving: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Event = asyncio.Event()
        self._told_ready = False
        self._told_unrouted: tuple[str, ...] = ()
        self._cover_pause, self._cover_at = FIRST_COVER, 0.0
        self._stamp = _stamp(settings.file)

    # -- the life of the process -------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then drain; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self.monitor.start(self.settings.metrics)
        work = [loop.create_task(lane.run()) for lane in self.lanes]
        work.append(loop.create_task(self._watch()))
        stopped = loop.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*work, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task is not stopped:
                    task.result()  # a lane never ends by itself: show the bug and exit
            await self._drain(work)
        finally:
            for task in (*work, stopped):
                task.cancel()
            await self.monitor.stop()
        return 0

    def stop(self) -> None:
        """Begin to drain; asked a second time, exit at once."""
        if self._stopping.is_set():
            os._exit(1)
        notify("STOPPING=1")
        self._stopping.set()

    async def _drain(self, work: list[asyncio.Task[None]]) -> None:
        log.info("draining: no new streams; those that run have %.0f s", self.settings.grace)
        links = [link for lane in self.lanes for link in lane.links()]
        for link in links:
            link.send(pack(wire.Drain(self.settings.grace, "connector-stopping")))
        for task in work:
            task.cancel()
        loop = asyncio.get_running_loop()
        end = loop.time() + self.settings.grace
        await asyncio.sleep(0.1)  # streams that crossed our message on the way
        # streams are counted in compiled code, nothing signals their end
        while loop.time() < end and any(link.streams for link in links):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for link in links:
            link.close("draining")
        await asyncio.sleep(0.05)

    # -- lanes ask us ------------------------------------------------------------------------------

    async def dial(self) -> Pipe:
        """Return a pipe to the edge under the link certificate, asked for when it is due."""
        async with self._enrolling:
            if due(self.identity):
                try:
                    self.identity = await self._enrol()
                except (DialFailed, EnrolmentFailed):
                    if self.identity is None:
                        raise
                    log.warning("the link certificate couldn't be renewed; the old one still works")
        assert self.identity is not None
        return await self._dial_with(self.identity.context)

    async def _enrol(self) -> LinkIdentity:
        mine = self.credentials
        context = context_of(mine.anchors, mine.certificate.encode(), mine.key.encode())
        found, anchors = await enrol(mine, await self._dial_with(context))
        self._pin(anchors)
        return found

    def _pin(self, anchors: str) -> None:
        """Remember anchors that the edge handed out over an authenticated link (rotation)."""
        if anchors == self.credentials.anchors:
            return
        self.credentials = self.credentials.with_anchors(anchors)
        if self.credentials_file is not None:
            try:
                save(self.credentials_file, self.credentials, replace_old=True)
            except OSError as error:
                log.warning("new anchors can't be written to the credentials file: %s", error)

    async def _dial_with(self, context: Any) -> Pipe:
        addresses = self.settings.edge or self.credentials.edge
        address = addresses[self._next_address % len(addresses)]
        self._next_address += 1
        return await dial(address, context, self.credentials.server_name)

    def table(self) -> Numbered | None:
        """Return the table to announce."""
        return self.tables.current

    def covers_new(self, lane: Lane, slot: int, slots: int) -> bool:
        """Return True unless a worker without a link could be found by dialling again."""
        others = [
            one.accepted.slot
            for one in self.lanes
            if one is not lane and one.accepted is not None and one.link is not None
        ]
        covered = set(others)
        if slot not in covered:
            return True
        # Links beyond one per worker are free to be anywhere.
        return len(covered) >= min(len(self.lanes), slots)

    def serve(self, link: DialledLink, inbound: Inbound) -> None:
        """Answer a stream: find what its header names, dial it, join the two."""
        self.counters["streams"] += 1
        try:
            header = msgpack.unpackb(inbound.header, raw=False)
            number, index = header["version"], header["index"]
            host = str(header.get("host", ""))
            target = self.tables.target(number, index)
        except NotInTable as error:
            self.counters["refused"] += 1
            inbound.refuse(error.reason, error.text)
            return
        except Exception:
            self.counters["refused"] += 1
            inbound.refuse("tunnel-table-unknown", "the stream header is not understood")
            return
        if len(self._serving) >= MAX_STREAMS:
            self.counters["refused"] += 1
            inbound.refuse("tunnel-streams", "too many streams are being dialled")
            return
        task = asyncio.get_running_loop().create_task(serve(inbound, target, host))
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("serving a stream failed", exc_info=task.exception())

    def configure(self, lane: Lane, message: wire.Config) -> None:
        """Take a table that the edge owns, within the local `allow:` patterns, or refuse it."""
        try:
            rules = pushed.rules_of(message.entries, self.settings)
            self.tables.replace(rules, owner="edge")
        except (pushed.NotAllowed, ServiceRefused) as error:
            reason = getattr(error, "reason", "table-invalid")
            log.warning("pushed table %d refused: %s", message.version, error)
            lane.send(wire.Configured(message.version, reason, str(error)))
            return
        lane.send(wire.Configured(message.version))
        for one in self.lanes:
            one.announce()

    def certified(self, message: wire.Certificate) -> None:
        """Take a renewed link certificate; lanes use it from their next dial on."""
        if self._renewal_key is None:
            return
        key, self._renewal_key = self._renewal_key, None
        try:
            anchors = message.anchors.decode() if message.anchors else self.credentials.anchors
            self.identity = identity(anchors, message.certificate, key)
        except (CredentialsRefused, UnicodeDecodeError) as error:
            # the answer to an earlier key, say
            log.warning("the renewed link certificate is not usable, the old one stays: %s", error)
            return
        self._pin(anchors)
        for lane in self.lanes:
            self._move(lane)

    def _move(self, lane: Lane) -> None:
        """Dial a lane again; the old link serves until the new one does, then its streams end."""
        lane.move(self.settings.grace)

    def unrouted(self, hostnames: tuple[str, ...]) -> None:
        """Say which of our hostnames the edge doesn't route here: once, not for each link."""
        if hostnames and hostnames != self._told_unrouted:
            names = ", ".join(hostnames)
            log.warning("the edge routes none of these hostnames here: %s", names)
        self._told_unrouted = hostnames

    def changed(self) -> None:
        """Tell systemd once the edge has acknowledged a link and its table."""
        if not self._told_ready and self.ready_links():
            self._told_ready = True
            log.info("ready: the edge serves tunnel %s", self.credentials.name or self.tunnel)
            notify("READY=1")

    def ready_links(self) -> int:
        """Return how many links serve the current table, as the edge acknowledged it."""
        return sum(1 for lane in self.lanes if lane.ready)

    # -- watching ----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look once a second at the file, the certificate and the network."""
        wakeful = Wakeful()
        statistics = time.monotonic()
        while True:
            await asyncio.sleep(POLL)
            if wakeful.woke():
                log.info("the machine slept or its addresses changed: dialling again")
                for lane in self.lanes:
                    if lane.link is not None:
                        lane.link.abort("link-timeout")
                    lane.hurry()
            stamp = _stamp(self.settings.file)
            if stamp != self._stamp:
                self._stamp = stamp
                self.reload()
            self._see_to_renewal()
            self._cover()
            if time.monotonic() - statistics >= 10.0:
                statistics = time.monotonic()
                for lane in self.lanes:
                    if (link := lane.link) is not None:
                        lane.send(wire.Statistics(link.round_trip, link.streams, link.total))

    def _cover(self) -> None:
        """Move a link to a worker that has none: one that was replaced, say. Rarer the longer it
        doesn't succeed, as an edge may have workers that can't be reached."""
        up = [lane for lane in self.lanes if lane.accepted is not None and lane.link is not None]
        slots = [lane.accepted.slot for lane in up if lane.accepted is not None]
        wanted = min([len(self.lanes), *(one.accepted.slots for one in up if one.accepted)])
        now = time.monotonic()
        if len(up) < len(self.lanes) or len(set(slots)) >= wanted:
            self._cover_pause, self._cover_at = FIRST_COVER, now + FIRST_COVER
            return
        if now < self._cover_at:
            return
        self._cover_pause = min(self._cover_pause * 2, LAST_COVER)
        self._cover_at = now + self._cover_pause
        crowded = max(set(slots), key=slots.count)
        self._move(next(lane for lane in up if lane.accepted and lane.accepted.slot == crowded))

    def _see_to_renewal(self) -> None:
        """Ask for a certificate that is due, and forget a question that nobody will answer.

        Asked at most once in RENEWAL_WITHIN: an edge that ends the link over it isn't pressed."""
        waited = time.monotonic() - self._renewal_asked
        if self._renewal_key is not None:
            asked = self._renewal_link
            gone = not any(lane.link is asked for lane in self.lanes)
            if gone or waited >= RENEWAL_WITHIN:
                self._renewal_key = self._renewal_link = None
        if (
            self._renewal_key is None and waited >= RENEWAL_WITHIN
            and self.identity is not None and due(self.identity)
        ):
            self._renew()

    def _renew(self) -> None:
        """Ask for the next link certificate over a link that is up."""
        lane = next((one for one in self.lanes if one.accepted is not None), None)
        if lane is None:
            return
        self._renewal_key = new_key()
        self._renewal_link = lane.link
        self._renewal_asked = time.monotonic()
        lane.send(wire.CertificateRequest(new_request(self._renewal_key)))

    def reload(self) -> None:
        """Read the file again; replace the table, or say what is wrong and keep the old one."""
        path = self.settings.file
        if path is None:
            return
        found = self.read(path)
        for problem in found.problems:
            (log.error if problem.level == "error" else log.warning)("%s", problem)
        fresh = found.settings
        if fresh is not None and fresh.tunnel not in ("", self.tunnel, self.credentials.name):
            log.error("%s: names another tunnel; restart to change it", path)
            fresh = None
        if fresh is not None and not fresh.rules:
            log.error("%s: no ingress rules", path)
            fresh = None
        if fresh is None:
            self.counters["reload_errors"] += 1
            log.error("the configuration was not reloaded; the old one stays")
            return
        if fresh.rules != self.settings.rules or self.table_owner() == "edge":
            try:
                table = self.tables.replace(fresh.rules)
            except ServiceRefused as error:
                self.counters["reload_errors"] += 1
                log.error("%s: %s; the old configuration stays", path, error)
                return
            log.info("table %d replaces the one before", table.version)
            for lane in self.lanes:
                lane.announce()
        self.counters["reloads"] += 1
        self.settings = fresh

    def table_owner(self) -> str:
        """Return who the current table belongs to."""
        return self.tables.current.owner if self.tables.current is not None else "file"


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _release() -> str:
    try:
        return version("sekisho")
    except PackageNotFoundError:
        return "0"
