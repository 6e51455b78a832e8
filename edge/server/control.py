"""The control process: everything slow, and everything with a database. Workers run without it.

Serves the public application (sign-in) to workers and the administration application to the command
line, on two Unix sockets; builds and publishes snapshots; brings revocations to every worker."""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from edge.control.admin import NotDone, build_admin
from edge.control.admin_tunnels import TunnelDesk, routes
from edge.control.public import build_public
from edge.identity.desk import Desk
from edge.identity.keys import KeyStore
from edge.identity.master_key import KeyRefused, MasterKey, master_file
from edge.identity.master_rotation import MasterRotation
from edge.server.assemble import Assembly
from edge.server.certificates import write_tunnel_files
from edge.server.channel import Channel, die_with_master, inherited_channel, keep_to_master
from edge.server.feed import Message, Peer, parent_of
from edge.server.folder import stamp_clock
from edge.server.journal import start_journal
from edge.server.listener import ListenError, bind_unix
from edge.server.master import EX_REFUSED
from edge.server.monitor import Reading, Readings, build_monitor
from edge.server.operations import NodeOperations
from edge.server.plan import Plan, connectors_dial, inherited_plan
from edge.server.publish import Outcome, Publisher
from edge.server.tickets import ticket_keys
from edge.server.web import OnceConfigured, WebServer
from edge.store import Store, StoreRefused, StoreUnavailable

EX_TEMPFAIL = 75
BEAT = 1.0  # seconds between beats to workers and master
WATCH = 1.0  # seconds between two looks at the configuration files
AGAIN = 10.0  # seconds until a reload is tried again that failed for want of disk or database
STAMP = 60.0  # seconds between two stamps of the clock
HOURLY = 3600.0  # seconds between two looks at what falls due: keys, certificates
ALARM_DAYS = 14  # of a certificate's life left, from which on the journal warns

log = logging.getLogger("sekisho.control")

# Causes by which the configuration is read; the others are events of their own
_READS = ("start", "command", "signal", "file change")
_SAID = ("kind", "reason", "source")  # keys of a tunnel's event that have a column of their own


class Control:
    """One control process, wired; `run` serves until SIGTERM."""

    def __init__(
        self, plan: Plan, channel: Channel, store: Store, keys: KeyStore,
        rotation: MasterRotation, *, wall: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.channel = channel
        self.wall = wall
        self.store = store
        self.keys = keys
        master = os.getppid()
        self.assembly = Assembly(
            plan, store, keys,
            service_tokens=lambda now: self.desk.service_tokens.for_snapshot(now), wall=wall,
        )
        self.publisher = Publisher(
            plan.folder, self.assembly, workers=plan.workers,
            admits=lambda pid: parent_of(pid) == master, wall=wall,
            on_question=self._on_question, on_events=self._on_events, on_outcome=self._on_outcome,
        )
        self.desk = Desk(
            store, keys, world=self.assembly.current_world,
            publish_revocation=self._publish_revocation, clock=wall,
        )
        self.operations = NodeOperations(
            plan, self.publisher, self.assembly, self.desk, rotation,
            reopen=lambda: channel.send("reopen"), wall=wall,
        )
        self.tunnels = TunnelDesk(
            store, keys, self.desk.revocations, self.desk.audit, changed=self._tunnels_changed,
            states=self._links, addresses=self._tunnel_addresses, close_links=self._close_links,
            clock=wall,
        )
        self.servers: list[WebServer] = []
        self.stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _publish_revocation(self, entry: Message) -> None:
        await self.publisher.revoke([entry])

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Run something beside everything else; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)

        def done(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                log.error("%s failed", name, exc_info=task.exception())

        task.add_done_callback(done)

    # What workers send

    def _on_question(self, peer: Peer, message: Message) -> None:
        self.spawn(self._answer(peer, message), "answer")

    async def _answer(self, peer: Peer, message: Message) -> None:
        try:
            facts = await self.answer(message.get("ask") or {})
        except Exception:
            # Unknown stays unknown, and the worker does not wait for its time-out
            log.exception("question %s", (message.get("ask") or {}).get("what", ""))
            facts = None
        peer.send({"t": "answer", "id": message["id"], "facts": facts})

    async def answer(self, ask: Message) -> Message | None:
        if ask.get("what") == "link_certificate":
            return await self.tunnels.link_certificate(ask)
        return await self.desk.answer(ask)

    # Tunnels

    async def _tunnels_changed(self, cause: str) -> None:
        outcome = await self.publisher.reload(cause, reread=False)
        if not outcome.ok:
            raise NotDone("done, but no worker knows it yet", 500, errors=outcome.errors)
        await self.publisher.everywhere(outcome.version)

    def _links(self) -> list[Message]:
        return [link for peer in self.publisher.feed.peers.values() for link in peer.links]

    def _close_links(self, tunnel: str, replica: str) -> int:
        self.publisher.feed.broadcast({"t": "cleanup", "tunnel": tunnel, "replica": replica})
        return sum(
            1 for link in self._links()
            if link.get("tunnel") == tunnel and replica in ("", link.get("replica"))
        )

    def _tunnel_addresses(self) -> tuple[str, list[str]]:
        """Return (server name, addresses) for new credentials."""
        name = f"tunnel.{self.assembly.current_world().auth_domain}"
        loaded = self.assembly.loaded
        mapped = loaded.config.public_port if loaded and loaded.config else None
        return name, connectors_dial(name, self.plan.listeners, mapped)

    async def _keep_tunnel_files(self) -> None:
        """Bring the tunnel's certificate to where workers read it; renew it when it is due."""
        name, _ = self._tunnel_addresses()
        certificate, key, anchors = await self.tunnels.start(name)
        if await asyncio.to_thread(
            write_tunnel_files, self.plan.folder, certificate, key, anchors
        ):
            self.publisher.certificates_changed()

    def _on_events(self, peer: Peer, events: list[Any]) -> None:
        for event in events:
            if event.get("kind") == "refused":
                self.desk.audit.refused(
                    who=str(event["who"]), address=str(event["address"]),
                    aud=self.assembly.auds.get(event["application"], ""),
                    reason=str(event["reason"]), count=int(event["count"]),
                )
            elif str(event.get("kind", "")).startswith("tunnel."):
                detail = {name: event[name] for name in event if name not in _SAID}
                self.desk.audit.record(
                    str(event["kind"]), reason=str(event.get("reason", "")),
                    address=str(event.get("source", "")), **detail,
                )

    def _on_outcome(self, outcome: Outcome) -> None:
        self.channel.send("status", status=self._status(outcome))
        if outcome.cause in _READS or (outcome.cause == "another attempt" and outcome.ok):
            self.desk.audit.record(
                "reload", cause=outcome.cause, version=outcome.version, ok=outcome.ok,
                errors=len(outcome.errors),
            )
        if outcome.ok and self.servers:  # the auth domain, so the tunnel's name, may be new
            self.spawn(self._keep_tunnel_files(), "tunnel files")

    def _status(self, outcome: Outcome) -> str:
        if outcome.ok:
            return f"version {outcome.version}"
        return f"version {outcome.version}; {outcome.cause} refused: {outcome.errors[0]}"[:900]

    # The master

    def _on_channel(self) -> None:
        messages = self.channel.receive()
        if messages is None:
            os._exit(1)
        for message in messages:
            if message["t"] == "reload":
                self.spawn(self._reload_for_master(), "reload")

    async def _reload_for_master(self) -> None:
        outcome = await self.publisher.reload("signal")
        await self.publisher.everywhere(outcome.version)
        # Certificate files may have been renewed under the same name: no snapshot says so
        self.publisher.certificates_changed()
        self.channel.send("reloaded", status=self._status(outcome))

    # What happens by itself

    async def _beat(self) -> None:
        while True:
            self.channel.send("beat")
            self.publisher.beat()
            await asyncio.sleep(BEAT)

    async def _stamp(self) -> None:
        while True:
            try:
                await asyncio.to_thread(stamp_clock, self.plan.folder.clock, self.wall())
            except OSError as error:
                log.error("the clock stamp can't be written: %s", error)
            self.publisher.set_tickets(ticket_keys(self.keys.secret("ticket"), self.wall()))
            await asyncio.sleep(STAMP)

    async def _watch(self) -> None:
        loop, again = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(WATCH)
            changed = self.assembly.workshop.changed
            last = self.publisher.last
            if last is None or not last.passes:
                again = loop.time() + AGAIN
            if await asyncio.to_thread(changed):
                # A reload by command may have begun meanwhile, and reads the same change
                await self.publisher.reload("file change", due=changed)
            elif loop.time() >= again:
                again = loop.time() + AGAIN
                await self.publisher.reload("another attempt")

    async def _rotate(self) -> None:
        while True:
            try:
                if self.keys.due(self.wall()):
                    await self.operations.rotate_keys()
                await self._keep_tunnel_files()
            except Exception:
                log.exception("key rotation waits an hour")
            self._warn_of_ends()
            await asyncio.sleep(HOURLY)

    def _warn_of_ends(self) -> None:
        for file, end in self.assembly.certificate_ends.items():
            days = (end - self.wall()) / 86_400
            if days < ALARM_DAYS:
                log.warning("certificate %s ends in %.1f days", file, days)

    # Life

    def readings(self) -> Readings:
        """Return what the monitor shows."""
        last = self.publisher.last
        return Readings(
            version=self.publisher.version, expected=self.plan.workers,
            reload_failed=last is not None and not last.ok,
            revocations=self.publisher.revocations[1],
            certificates=self.assembly.certificate_ends,
            mail_failing=bool(self.desk.post.failing), mail_sent=self.desk.post.sent,
            mail_failed=self.desk.post.failed, pin_alarm=self.desk.pin.alarmed,
            workers=[
                Reading(peer.slot, peer.version, peer.counters)
                for peer in self.publisher.feed.peers.values()
            ],
        )

    async def start(self, feed: socket.socket) -> None:
        """Publish, then open every door. Raises SystemExit where nothing could ever be served."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        loop.add_reader(self.channel.sock, self._on_channel)
        self.spawn(self._beat(), "beat")
        await self.desk.start()
        self.assembly.remember()
        outcome = await self.publisher.reload("start")
        if not outcome.ok and self.publisher.current is None:
            raise SystemExit(EX_REFUSED)
        _, entries = await self.desk.revocations.live()
        await self.publisher.restore(entries)
        self.publisher.set_tickets(ticket_keys(self.keys.secret("ticket"), self.wall()))
        if self.assembly.world is not None:
            await self._keep_tunnel_files()
        await self.publisher.feed.start(feed)
        folder = self.plan.folder
        public = OnceConfigured(build_public(self.desk), lambda: self.assembly.world is not None)
        await self._serve(public, bind_unix(folder.public_socket), "public")
        admin = build_admin(self.operations, routes(self.tunnels))
        await self._serve(admin, bind_unix(folder.admin_socket), "admin")
        if self.plan.monitor is not None:
            await self._monitor(self.plan.monitor)
        self.spawn(self._stamp(), "clock stamp")
        self.spawn(self._watch(), "watch")
        self.spawn(self._rotate(), "key rotation")
        self.channel.send("status", status=self._status(outcome))
        self.channel.send("ready")

    async def _monitor(self, address: str) -> None:
        """Open the monitor; sign-in doesn't wait for a port that somebody took meanwhile."""
        try:
            sock = await _bind_monitor(address)
        except ListenError as error:
            if not self.plan.replaced:
                raise
            log.error("%s; tried again in %g s", error, AGAIN)

            async def later() -> None:
                await asyncio.sleep(AGAIN)
                await self._monitor(address)

            self.spawn(later(), "monitor")
            return
        await self._serve(build_monitor(self.readings), sock, "monitor")

    async def _serve(self, app: Any, sock: socket.socket, name: str) -> None:
        server = WebServer(app, sock, name=name)
        await server.start()
        self.servers.append(server)

    async def stop(self) -> None:
        for server in self.servers:
            await server.stop()
        await self.publisher.feed.close()
        for task in list(self._tasks):
            task.cancel()
        await self.desk.stop()
        await self.store.close()


async def _bind_monitor(address: str) -> socket.socket:
    """Bind the monitor; a predecessor that is still ending may hold it for a moment."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for attempt in range(20):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, int(port)))
            return sock
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE or attempt == 19:
                raise ListenError(f"monitor can't listen at {address}: {error.strerror}") from None
        await asyncio.sleep(0.1)
    raise AssertionError("unreachable")


async def build_control(
    plan: Plan, channel: Channel, *, wall: Callable[[], float] = time.time
) -> Control:
    """Open store and keys and wire the process; nothing is served yet.

    Raises StoreRefused, StoreUnavailable or KeyRefused."""
    named = Path(plan.master_key_file) if plan.master_key_file else None
    file = master_file(Path(plan.state_folder), named)
    master = MasterKey.load(file)
    store = await Store.open(plan.state)
    try:
        keys = await KeyStore.open(store, master, clock=wall)
        rotation = MasterRotation(keys, file)
        await rotation.resume()
    except BaseException:
        await store.close()
        raise
    return Control(plan, channel, store, keys, rotation, wall=wall)


async def serve(plan: Plan, channel: Channel) -> int:
    """Run until SIGTERM; return the exit status."""
    try:
        control = await build_control(plan, channel)
    except (StoreRefused, KeyRefused) as error:
        log.error("%s", error)
        return EX_REFUSED
    except StoreUnavailable as error:
        log.error("the database can't be used: %s", error)
        return EX_TEMPFAIL
    try:
        await control.start(socket.socket(fileno=plan.feed_fd))
        await control.stopping.wait()
    except ListenError as error:
        log.error("%s", error)
        return EX_REFUSED
    finally:
        await control.stop()
    return 0


def main() -> int:
    die_with_master()
    keep_to_master()
    # SQLite makes the database and its journals with whatever the umask leaves, and in them are
    # sessions, addresses and sealed keys.
    os.umask(0o077)
    plan = inherited_plan()
    start_journal("control")
    channel = inherited_channel()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(plan, channel))


if __name__ == "__main__":
    sys.exit(main())
