"""The compiled data path in its process: built from a snapshot, fed, and asked by it."""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from _fastpath.contexts import TicketKeys
from _fastpath.revocations import Revocations
from _fastpath.snapshot import Snapshot
from _fastpath.worker import WorkerCore
from edge.server.access_log import AccessLogAt
from edge.server.certificates import Contexts, contexts_of
from edge.server.feed import Message
from edge.server.plan import Listener
from edge.server.refusals import Refusals
from edge.server.registrar import Registrar
from edge.server.siblings import Siblings
from edge.server.worker import Surroundings

log = logging.getLogger("sekisho.worker")

CLASSES = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")


def open_snapshot(path: Path) -> Snapshot:
    """Map a snapshot file and check it; raises ValueError where it is damaged."""
    return Snapshot.open(path)


Prepared = tuple[Snapshot, Contexts]


class FastCore:
    """edge.server.worker.Core over _fastpath.worker.WorkerCore."""

    def __init__(self, snapshot: Snapshot, around: Surroundings) -> None:
        self.around = around
        self.plan = around.plan
        self.loop = around.loop
        self.tickets = TicketKeys()
        self.revocations = Revocations()
        self.refusals = Refusals()
        self.log = AccessLogAt(_log_target(snapshot))
        self.snapshot = snapshot
        self.links_events: list[Message] = []
        slot, slots = self.plan.slot, self.plan.workers
        self.siblings = (
            Siblings(self.plan.folder.run, slot=slot, slots=slots) if slots > 1 else None
        )
        self.registrar = Registrar(
            around.loop, slot=slot, slots=slots,
            tunnels=lambda: self.snapshot.settings["tunnels"], revoked=self._revoked,
            ask=around.ask, tell=self._tell_links, audit=self.links_events.append,
            applications=lambda: self.snapshot.settings["applications"],
            siblings=self.siblings, edge=snapshot.settings["auth_domain"],
        )
        self.core = WorkerCore(
            around.loop, links=self.registrar.links, log=self.log.log, hooks=self,
            revocations=self.revocations,
        )
        self._stale: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self.core.set_control(str(self.plan.folder.public_socket))
        self.bad_certificates = 0  # pairs on disk that can't be used: an older one is, or none
        # A worker that has just begun has no old contexts to stay on: what can be had must do
        made = contexts_of(snapshot.settings, self.plan.folder, self.tickets)
        self.set_snapshot((snapshot, made))
        self.core.start()

    async def start(self) -> None:
        """Open what needs the loop: the socket for sibling workers."""
        if self.siblings is not None:
            await self.siblings.listen(self.registrar.links)

    def greeting(self) -> list[Message]:
        """Return what a control process that has just come must know."""
        return [{"t": "links", "links": self.registrar.states()}]

    def _revoked(self, kind: str, ident: str) -> bool:
        return self.revocations.lists(cast(Any, kind), ident)

    def _tell_links(self, links: list[Message]) -> None:
        self.around.tell({"t": "links", "links": links})

    # What the core asks of its process: at once, from compiled code

    def ask(self, question: dict[str, Any]) -> bool:
        """Send a question to control; False when it is away."""
        if not self.around.connected():
            return False
        task = self.loop.create_task(self._ask(question))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return True

    async def _ask(self, question: dict[str, Any]) -> None:
        answer: Message | None = None
        with contextlib.suppress(ValueError):
            answer = await self.around.ask(_question(question))
        if answer is not None:
            if "service_token" in question:
                answer = {"token": answer["token"], "expiry": answer["expires"]}
            else:
                answer = {"facts": answer}
        self.core.answered(question, answer)

    def refused(self, client: bytes, app_id: bytes, email: bytes, reason: bytes) -> None:
        """Count a refusal for the audit trail."""
        self.refusals.add(client, app_id, email, reason)

    # What control and master tell

    def acceptor(self, listener: Listener) -> Callable[[], asyncio.BaseProtocol]:
        kind = "tls" if listener.kind == "tunnel" else listener.kind
        return self.core.acceptor(kind, listener.proxy_protocol)

    def prepare(self, path: Path) -> Prepared:
        return self._with_contexts(open_snapshot(path))

    def _with_contexts(self, snapshot: Snapshot) -> Prepared:
        """Return both, or raise ValueError where a name would lose its certificate."""
        made = contexts_of(snapshot.settings, self.plan.folder, self.tickets)
        if made.missing:
            raise ValueError("; ".join(made.problems))
        return snapshot, made

    def _set_contexts(self, made: Contexts) -> None:
        for problem in made.problems:
            log.error("%s", problem)
        for file in made.missing:
            log.error("%s: its names get no certificate until it is mended", file)
        self.core.set_tls(made.contexts)
        self.bad_certificates = len(made.problems)

    def set_snapshot(self, prepared: Prepared) -> Snapshot:
        snapshot, made = prepared
        target, fresh = _log_target(snapshot), self.log
        if target != self.log.target:
            fresh = AccessLogAt(target, before=self.log)
        self.core.set_snapshot(snapshot)  # raises, and nothing has changed yet
        self._log_to(fresh)
        self._set_contexts(made)
        self.snapshot = snapshot
        self.registrar.snapshot_changed()
        return snapshot

    def revoke(self, entries: list[Message], full: bool, seq: int) -> None:
        self.core.revoke(entries, full, seq)
        self.registrar.revocations_changed()

    def set_stale_after(self, seconds: float) -> None:
        if self._stale is not None:
            self._stale.cancel()
        if seconds <= 0:
            self._stale = None
            self.core.set_stale(True)
            return
        self.core.set_stale(False)
        self._stale = self.loop.call_later(seconds, self._gone_stale)

    def _gone_stale(self) -> None:
        log.error("no word from control for max_stale: decisions about people end in 503")
        self.core.set_stale(True)

    def set_tickets(self, keys: list[bytes]) -> None:
        self.tickets.replace(keys)

    def reload_certificates(self) -> None:
        task = self.loop.create_task(self._reload_certificates())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _reload_certificates(self) -> None:
        snapshot = self.snapshot
        try:
            _, made = await asyncio.to_thread(self._with_contexts, snapshot)
        except (ValueError, OSError) as error:
            log.error("certificates stay as they were: %s", error)
            return
        if snapshot is self.snapshot:  # else the swap that came between has read them too
            self._set_contexts(made)

    def _log_to(self, fresh: AccessLogAt) -> None:
        before, self.log = self.log, fresh
        if fresh is not before:
            self.core.set_log(fresh.log)
            # A disk that stalls would stall this loop
            self.loop.run_in_executor(None, fresh.take_over, before)

    def reopen_log(self) -> None:
        self.log.reopen()

    def counters(self) -> Message:
        counters = self.core.counters()
        counters["by_status"] = dict(zip(CLASSES, counters["by_status"], strict=True))
        counters["refusals_lost"] = self.refusals.lost
        counters["bad_certificates"] = self.bad_certificates
        counters["log_written"], counters["log_dropped"] = self.log.counts()
        return counters

    def take_events(self) -> list[Message]:
        events, self.links_events[:] = list(self.links_events), []
        return self.refusals.take() + events

    def close_links(self, tunnel: str, replica: str) -> None:
        self.registrar.close_links(tunnel, replica)

    async def drain(self) -> None:
        self.core.drain()
        # Connectors move first, so that what is asked meanwhile goes to other workers' links
        self.registrar.leave(self.plan.drain)
        # The core counts in C and wakes nobody
        while self.core.live() or self.registrar.relaying():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def close_all(self) -> None:
        self.core.close_all()
        self.core.stop()
        self.registrar.close()
        if self.siblings is not None:
            self.siblings.close()
        self.log.close()

    def live(self) -> int:
        return self.core.live()


def build_core(snapshot: Snapshot, around: Surroundings) -> FastCore:
    """Return the data path of one worker, deciding from `snapshot`."""
    return FastCore(snapshot, around)


def _log_target(snapshot: Snapshot) -> str:
    return str(snapshot.settings.get("access_log", "stderr"))


def _question(question: dict[str, Any]) -> Message:
    """Return the question as the feed carries it; ValueError for a token that isn't one."""
    if "service_token" in question:
        return question
    raw = bytes(question["token"]).decode("ascii")
    # The token was verified before the question came up: its payload is what we signed
    payload = raw.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {"token": raw, "aud": claims["aud"][0]}
