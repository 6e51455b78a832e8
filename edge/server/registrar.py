"""The edge's end of the control stream: registering, tables, certificates, drain.

What may be is decided in edge.server.admission; here it is said and done. A worker answers
`register` alone, from its snapshot and revocations; control is only told (`tell`) and asked for
what needs a signing key (`ask`). One Registrar per worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any

from _fastpath.table import Table, TableError
from _fastpath.tunnel import Link, Links, Sibling
from edge.identity.authority import NotOurs, read_role
from edge.server.admission import judge, outside, shown, unrouted
from edge.server.link_state import Peer, state_of
from edge.server.siblings import Siblings
from edge.wire import messages as wire
from edge.wire.errors import BadMessage
from edge.wire.framing import pack, unpack

log = logging.getLogger("sekisho.links")

REGISTER_WITHIN = 10.0  # seconds from the handshake to the first message; over it: link closed
STATISTICS_EVERY = 10.0  # seconds between two statistics messages of a link

Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]


class Registrar:
    """Speaks with connectors for one worker, and keeps `links` in step with what they said."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slot: int,
        slots: int,
        tunnels: Callable[[], Mapping[str, Mapping[str, Any]]],
        revoked: Callable[[str, str], bool],
        ask: Ask,
        tell: Callable[[list[dict[str, Any]]], None],
        audit: Callable[[dict[str, Any]], None] = lambda event: None,
        applications: Callable[[], Container[str]] | None = None,
        siblings: Siblings | None = None,
        clock: Callable[[], float] = time.time,
        edge: str = "",
    ) -> None:
        self.loop = loop
        self.slot, self.slots = slot, slots
        self.tunnels = tunnels  # id -> {"name": …, "hosts": [...]} of the running snapshot
        self.revoked = revoked
        self.ask = ask
        self.tell = tell
        self.audit = audit
        self.applications = applications  # AUDs of the running snapshot; None: not looked at
        self.clock = clock
        self.edge = edge
        self.siblings = siblings
        self.links = Links(loop, self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling = False
        self._draining = False
        self._ticker = loop.call_later(1.0, self._tick)

    # -- compiled code calls us --------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """Note a link whose TLS handshake is done; it must register soon."""
        address = link.peer_address()
        certificate = link.peer_certificate()
        try:
            role = read_role(certificate) if certificate else None
        except NotOurs:
            role = None
        link.user = peer = Peer(role, self.clock(), address[0] if address else "")
        peer.timer = self.loop.call_later(REGISTER_WITHIN, self._late, link)

    def message(self, link: Link, body: bytes) -> None:
        """Take one message of a connector; a broken one closes its link and nothing else."""
        if link.user.refused:
            return  # a flood would cost a log line, an event and an answer for each of its messages
        try:
            if link.user.floods(self.loop.time()):
                raise BadMessage("too many messages")
            message = unpack(body)
            if message is not None:
                self._take(link, message)
        except BadMessage as error:
            log.warning("link %d: %s", link.number, error)
            self._refuse(link, wire.Refused("link-protocol", str(error)))
        except Exception:
            log.exception("link %d: a message failed", link.number)
            link.close("internal")

    def lost(self, link: Link, reason: str) -> None:
        """Forget a link; requests choose among the others from now on."""
        peer: Peer = link.user
        if peer.timer is not None:
            peer.timer.cancel()
        for waiting in peer.configured.values():
            waiting.cancel()
        if peer.accepted:
            log.info("link %d of tunnel %s lost: %s", link.number, link.tunnel.decode(), reason)
            if self.siblings is not None:
                self.siblings.withdraw(self.links, link)
            self._tell_soon()

    def check(self, application: str, session: str, expiry: int, tunnel: str) -> str:
        """Return why a relayed stream may not be (or stay) open here, or ""."""
        if expiry and expiry <= self.clock():
            return "session-expired"
        if session and self.revoked("nonce", session):
            return "session-revoked"
        if tunnel not in self.tunnels():
            return "tunnel-unknown"
        if self.applications is not None and application not in self.applications():
            return "application-missing"
        return ""

    def gossip(self, sibling: Sibling, body: bytes) -> None:
        """Take what a sibling says about its links."""
        if self.siblings is not None:
            self.siblings.hear(sibling, body)

    def sibling_allowed(self, sock: Any) -> bool:
        """Return True when the process at the other end is a child of our master."""
        return self.siblings is not None and self.siblings.allowed(sock)

    def sibling_opened(self, sibling: Sibling, client: bool) -> None:
        """Note a new socket to a sibling."""
        if self.siblings is not None:
            self.siblings.opened(self.links, sibling, client)

    def sibling_lost(self, sibling: Sibling) -> None:
        """Note that a sibling went; it is dialled again by whose turn it is."""
        if self.siblings is not None:
            self.siblings.parted(sibling)

    # -- messages ----------------------------------------------------------------------------------

    def _take(self, link: Link, message: wire.Message) -> None:
        peer: Peer = link.user
        if peer.over_rate(message):
            self._refuse(link, wire.Refused("link-protocol", f"too many {message.kind} messages"))
        elif isinstance(message, wire.CertificateRequest):
            self._start(self._certify(link, peer, message))
        elif not peer.accepted:
            if isinstance(message, wire.Register):
                self._register(link, peer, message)
            else:
                self._refuse(link, wire.Refused("link-protocol", "register comes first"))
        elif isinstance(message, wire.Table):
            self._table(link, peer, message)
        elif isinstance(message, wire.Statistics):
            peer.statistics = {
                "round_trip": message.round_trip,
                "streams": message.streams,
                "total": message.total,
            }
        elif isinstance(message, wire.Drain):
            if link.draining:
                return  # the siblings know
            link.drain()
            if self.siblings is not None:
                self.siblings.withdraw(self.links, link)
            self._tell_soon()
        elif isinstance(message, wire.Configured):
            waiting = peer.configured.pop(message.version, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def _register(self, link: Link, peer: Peer, asked: wire.Register) -> None:
        refusal, version = judge(
            peer.role, asked, tunnels=self.tunnels(), revoked=self.revoked, now=self.clock(),
            links=len(self.links.of(asked.tunnel)),
        )
        if refusal is not None:
            self._refuse(link, refusal)
            return
        peer.accepted = True
        peer.replica = asked.replica
        peer.software = shown(asked.software)
        if peer.timer is not None:
            peer.timer.cancel()
        link.register(asked.tunnel)
        link.send(
            pack(
                wire.Accepted(
                    version, self.slot, self.slots, self.clock(), STATISTICS_EVERY, self.edge
                )
            )
        )
        link.ping()
        if self._draining:
            self._ask_to_leave(link, 30.0)
        log.info("link %d of tunnel %s registered from %s", link.number, asked.tunnel, peer.source)
        self._tell_soon()

    def _table(self, link: Link, peer: Peer, announced: wire.Table) -> None:
        version = announced.version
        current = link.table
        role = peer.role
        if current is not None and version <= current.version:
            refusal = ("link-protocol", "table versions only go up")
        elif foreign := outside(role, announced.entries):
            refusal = ("hostname-outside-credential", f"the credential doesn't cover {foreign}")
        else:
            try:
                table = Table(version, announced.entries, role.hostnames if role else ())
            except TableError as error:
                refusal = ("table-invalid", str(error))
            else:
                self._use(link, peer, table, announced)
                return
        link.send(pack(wire.TableRefused(version, *refusal)))
        self.audit(
            {
                "kind": "tunnel.table.refused",
                "tunnel": link.tunnel.decode(),
                "replica": peer.replica,
                "reason": refusal[0],
                "text": refusal[1],
            }
        )

    def _use(self, link: Link, peer: Peer, table: Table, announced: wire.Table) -> None:
        link.set_table(table)
        peer.entries = announced.entries
        missing = self._unrouted(link)
        link.send(pack(wire.TableAccepted(table.version, missing)))
        if missing and missing != peer.unrouted:
            self.audit(
                {
                    "kind": "tunnel.hostname.unrouted",
                    "tunnel": link.tunnel.decode(),
                    "replica": peer.replica,
                    "hostnames": list(missing),
                }
            )
        peer.unrouted = missing
        if self.siblings is not None:
            self.siblings.offer(self.links, link)
        self._tell_soon()

    def _unrouted(self, link: Link) -> tuple[str, ...]:
        peer: Peer = link.user
        return unrouted(self.tunnels().get(link.tunnel.decode(), {}), peer.entries)

    async def _certify(
        self, link: Link, peer: Peer, message: wire.CertificateRequest
    ) -> None:
        role = peer.role
        if role is None or role.role not in ("enrolment", "connector"):
            self._refuse(link, wire.Refused("link-role", "no certificate here", final=True))
            return
        if not role.credential or self.revoked("credential", role.credential):
            self._refuse(
                link, wire.Refused("link-revoked", "the credential was revoked", final=True)
            )
            return
        question = {
            "what": "link_certificate",
            "credential": role.credential,
            "tunnel": role.id if role.role == "connector" else "",
            "request": message.request,
        }
        try:
            answer = await asyncio.wait_for(self.ask(question), REGISTER_WITHIN - 2)
        except (TimeoutError, ConnectionError):
            answer = None
        if link.lost:
            return
        if answer is None and peer.accepted:
            # A renewal: the certificate at hand is good for hours, and so is the link. The
            # connector asks again when it has waited long enough.
            log.warning("link %d: control doesn't answer, no certificate renewed", link.number)
        elif answer is None:
            self._refuse(link, wire.Refused("control-down", "try again", retry_after=2.0))
        elif "reason" in answer:
            refused = wire.Refused(
                str(answer["reason"]), str(answer.get("text", "")), final=bool(answer.get("final"))
            )
            self._refuse(link, refused)
        else:
            link.send(
                pack(
                    wire.Certificate(
                        answer["certificate"],
                        answer.get("anchors", b""),
                        float(answer.get("until", 0.0)),
                    )
                )
            )
            if role.role == "enrolment":  # that is all that this role may ask for
                self._close_later(link)

    def _refuse(self, link: Link, refusal: wire.Refused) -> None:
        peer: Peer = link.user
        if peer.refused:
            return
        peer.refused = True
        log.warning("link %d from %s refused: %s", link.number, peer.source, refusal.reason)
        link.send(pack(refusal))
        self.audit(
            {
                "kind": "tunnel.link.refused",
                "tunnel": peer.role.id if peer.role else "",
                "source": peer.source,
                "reason": refusal.reason,
                "text": refusal.text,
            }
        )
        self._close_later(link)

    def _close_later(self, link: Link) -> None:
        """Close once the last message has had a turn of the loop to leave."""
        self.loop.call_later(0.05, link.close, "link-refused")

    def _late(self, link: Link) -> None:
        if not link.lost and not link.user.accepted:
            log.warning("link %d from %s never registered", link.number, link.user.source)
            link.close("link-timeout")

    # -- the world changes -------------------------------------------------------------------------

    def snapshot_changed(self) -> None:
        """Look again at every link: tunnels may be gone, hostnames may be routed now."""
        known = self.tunnels()
        for link in self.links.all():
            peer: Peer = link.user
            if not peer.accepted:
                continue
            if link.tunnel.decode() not in known:
                self._refuse(link, wire.Refused("tunnel-unknown", "deleted", retry_after=8.0))
                continue
            missing = self._unrouted(link)
            if link.table is not None and missing != peer.unrouted:
                peer.unrouted = missing
                link.send(pack(wire.TableAccepted(link.table.version, missing)))
        self.links.recheck(int(self.clock()))

    def revocations_changed(self) -> None:
        """Cut links whose credential was revoked, and relayed streams of ended sessions."""
        for link in self.links.all():
            role = link.user.role
            if role is not None and role.credential and self.revoked("credential", role.credential):
                self._refuse(
                    link, wire.Refused("link-revoked", "the credential was revoked", final=True)
                )
        self.links.recheck(int(self.clock()))

    async def push(
        self, tunnel: str, version: int, entries: list[dict[str, Any]], within: float = 10.0
    ) -> list[wire.Configured]:
        """Push an edge-owned table to every link of a tunnel here; return the answers that came."""
        waiting = []
        for link in self.links.of(tunnel):
            future: asyncio.Future[wire.Configured] = self.loop.create_future()
            link.user.configured[version] = future
            link.send(pack(wire.Config(version, tuple(entries))))
            waiting.append(future)
        if not waiting:
            return []
        done, _ = await asyncio.wait(waiting, timeout=within)
        return [one.result() for one in done if not one.cancelled()]

    def leave(self, seconds: float = 30.0) -> None:
        """Ask connectors to go elsewhere; streams that run end here within `seconds`."""
        self._draining = True
        for link in self.links.all():
            self._ask_to_leave(link, seconds)

    def relaying(self) -> int:
        """Return how many streams of sibling workers run over links of this one."""
        return self.links.relaying()

    def close_links(self, tunnel: str, replica: str) -> None:
        """Close a tunnel's links (of one replica): whoever lives dials again."""
        for link in self.links.of(tunnel):
            if replica in ("", link.user.replica):
                link.close("link-goaway")

    def _ask_to_leave(self, link: Link, seconds: float) -> None:
        link.send(pack(wire.Drain(seconds, "edge-stopping")))
        if link.draining:
            return
        link.drain()
        if self.siblings is not None:
            self.siblings.withdraw(self.links, link)

    def close(self) -> None:
        """Stop timers and close what is left."""
        self._ticker.cancel()
        for link in self.links.all():
            link.close("draining")
        for sibling in self.links.all_siblings():
            sibling.close("draining")
        for task in self._tasks:
            task.cancel()

    # -- what others see ---------------------------------------------------------------------------

    def states(self) -> list[dict[str, Any]]:
        """Return one map per accepted link of this worker: what `tunnel info` shows."""
        return [state_of(link, self.slot) for link in self.links.all() if link.user.accepted]

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            self.loop.call_soon(self._tell_now)

    def _tell_now(self) -> None:
        self._telling = False
        self.tell(self.states())

    def _tick(self) -> None:
        self._ticker = self.loop.call_later(1.0, self._tick)
        now = self.clock()
        for link in self.links.all():
            role = link.user.role
            if role is not None and role.until <= now:
                self._refuse(link, wire.Refused("link-refused", "the certificate has ended"))
        self.links.recheck(int(now))
        if self.siblings is not None:
            self.siblings.tick(self.links)

    def _start(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
