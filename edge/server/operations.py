"""What the administrator of this node can do, done: the operations behind admin.sock."""

import os
import time
from collections.abc import Callable
from typing import Any

from edge.control.admin import Answer, NotDone
from edge.identity.desk import Desk
from edge.identity.master_key import KeyRefused, MasterKey
from edge.identity.master_rotation import TRACES, MasterRotation, RotationRefused
from edge.identity.revocations import NobodyFound
from edge.identity.service_tokens import Created
from edge.server.assemble import Assembly
from edge.server.plan import Plan
from edge.server.publish import Outcome, Publisher
from edge.store import NameTaken, ServiceTokenRow

EVERYWHERE = 5.0  # seconds that an operation waits for every worker's acknowledgement


class NodeOperations:
    """Implements edge.control.admin.Operations over publisher and desk."""

    def __init__(
        self, plan: Plan, publisher: Publisher, assembly: Assembly, desk: Desk,
        rotation: MasterRotation,
        *, reopen: Callable[[], None], wall: Callable[[], float] = time.time,
    ) -> None:
        self.plan = plan
        self.publisher = publisher
        self.assembly = assembly
        self.desk = desk
        self.rotation = rotation
        self.reopen = reopen  # tell whoever writes a log to open it again
        self.wall = wall
        self.started = wall()

    # Reading

    async def status(self) -> Answer:
        publisher = self.publisher
        seq, live = publisher.revocations
        last = publisher.last
        peers = publisher.feed.peers
        return {
            "configuration": self.plan.config,
            "master": os.getppid(),
            "control": {"pid": os.getpid(), "since": int(self.started)},
            "version": publisher.version,
            "ready": self.ready,
            "workers": [
                _worker(slot, peers.get(slot)) for slot in range(self.plan.workers)
            ],
            "tunnels": self._tunnels(),
            "listeners": [
                {"kind": listener.kind, "address": str(listener)}
                for listener in self.plan.listeners
            ],
            "revocations": {"sequence": seq, "in_force": live},
            "mail": {"failing": self.desk.post.failing},  # why, or ""
            "pin_alarm": self.desk.pin.alarmed,
            "last_reload": None if last is None else {
                "at": int(last.at), "cause": last.cause, "ok": last.ok,
                "version": last.version, "errors": last.errors, "warnings": last.warnings,
            },
        }

    async def applications(self) -> list[Answer]:
        """Every application of the running version, with the AUD tag that its origin checks."""
        world = self.assembly.world
        return [] if world is None else [
            {"name": one.name, "aud": one.aud, "domains": list(one.domains)}
            for one in world.applications.values()
        ]

    @property
    def ready(self) -> bool:
        peers = self.publisher.feed.peers
        version = self.publisher.version
        return version > 0 and len(peers) == self.plan.workers and all(
            peer.version >= version for peer in peers.values()
        )

    def _tunnels(self) -> list[Answer]:
        """One row per tunnel: how many links, over how many replicas, on which workers."""
        rows: dict[str, dict[str, Any]] = {
            ident: {"id": ident, "links": 0, "replicas": set(), "workers": set()}
            for ident in self.assembly.tunnels
        }
        for peer in self.publisher.feed.peers.values():
            for link in peer.links:
                tunnel = str(link.get("tunnel", ""))
                row = rows.setdefault(
                    tunnel, {"id": tunnel, "links": 0, "replicas": set(), "workers": set()}
                )
                row["links"] += 1
                row["replicas"].add(link.get("replica"))
                row["workers"].add(peer.slot)
        return [
            {
                "id": row["id"], "name": self.assembly.tunnels.get(row["id"], ""),
                "links": row["links"], "replicas": len(row["replicas"]),
                "workers": sorted(row["workers"]),
            }
            for row in rows.values()
        ]

    # Changing

    async def reload(self) -> Answer:
        outcome = await self.publisher.reload("command")
        # The same as SIGHUP does: log files reopened, certificate files read again
        self.reopen()
        self.publisher.certificates_changed()
        answer = _outcome(outcome)
        if not outcome.ok:
            raise NotDone("the configuration has errors; nothing was changed", 422, **answer)
        answer["everywhere"] = await self.publisher.everywhere(outcome.version, EVERYWHERE)
        answer["workers"] = {
            str(slot): peer.version for slot, peer in self.publisher.feed.peers.items()
        }
        return answer

    async def revoke(self, kind: str, what: str) -> Answer:
        desk = self.desk
        kinds = {
            "user": desk.revocations.user,
            "session": desk.revocations.session,
            "token": desk.revocations.nonce,
            "application": desk.revocations.application,
            "service_token": desk.revocations.service_token,
            "credential": desk.revocations.credential,
            "administrator": desk.revocations.administrator,
        }
        if kind not in kinds:
            raise NotDone(f"nothing of the kind {kind!r} can be revoked", 400)
        try:
            what = await self._target(kind, what)
            entries = await kinds[kind](what)
        except NobodyFound:
            raise NotDone(f"there is no {kind.replace('_', ' ')} {what}", 404) from None
        except OSError as error:
            raise NotDone(f"the revocation can't be written down: {error}", 507) from error
        desk.audit.record("revoke", target=kind, id=what)
        return {"revoked": entries if isinstance(entries, list) else [entries]}

    async def _target(self, kind: str, what: str) -> str:
        """Return the id that workers know it by; NobodyFound, lest a typing error look done."""
        store = self.desk.store
        known: object | None = what
        match kind:
            case "application":
                return self._aud(what)
            case "service_token":
                token = known = await store.service_tokens.find(what)
                what = what if token is None else token.client_id
            case "session":
                known = await store.sessions.get(what)
            case "token":
                known = await store.sessions.application(what)
            case "credential":
                thing = await store.objects.get(what)
                known = thing if thing is not None and thing.kind == "credential" else None
        if known is None:
            raise NobodyFound(what)
        return what

    def _aud(self, what: str) -> str:
        """Return the AUD of an application by its name or AUD, or raise NotDone."""
        applications = self.assembly.current_world().applications
        if what in applications:
            return what
        named = [aud for aud, application in applications.items() if application.name == what]
        if len(named) != 1:
            raise NotDone(f"there is no application {what!r}", 404)
        return named[0]

    async def rotate_keys(self) -> Answer:
        """A new signing key is published now and signs once every worker can verify it."""
        kid = await self.desk.keys.rotate(self.wall())
        outcome = await self._publish("key rotation")
        self.desk.audit.record("rotate-keys", kid=str(kid))
        return {"kid": kid, **_outcome(outcome)}

    async def rotate_master(self, given: str | None) -> Answer:
        """Seal every secret under a new master key: the text of a key file, or one made here."""
        try:
            key = None if given is None else MasterKey.parse(given)
        except ValueError:
            raise NotDone("that is no master key file", 400) from None
        try:
            master = await self.rotation.rotate(key)
        except (RotationRefused, KeyRefused) as refused:
            raise NotDone(str(refused)) from None
        except OSError as error:
            raise NotDone(f"{error.filename}: {error.strerror}", 507) from error
        in_place = self.desk.keys.retired is None
        self.desk.audit.record("rotate-master-key", id=master.id, in_place=in_place)
        return {
            "id": master.id, "file": str(self.rotation.path), "in_place": in_place,
            "warning": TRACES if self.rotation.traces else "",
        }  # fmt: skip

    async def _publish(self, cause: str) -> Outcome:
        outcome = await self.publisher.reload(cause, reread=False)
        if not outcome.ok:
            raise NotDone("done, but no worker knows it yet", 500, errors=outcome.errors)
        await self.publisher.everywhere(outcome.version, EVERYWHERE)
        return outcome

    # Service tokens

    async def service_tokens(self) -> list[Answer]:
        revoked, now = self.publisher.revoked("service_token"), self.wall()
        return [
            _token(row) | {"state": _state(row, revoked, now)}
            for row in await self.desk.service_tokens.list()
        ]

    async def service_token_create(self, name: str, duration: int) -> Answer:
        if not name or duration <= 0:
            raise NotDone("a service token needs a name and a duration", 400)
        try:
            created = await self.desk.service_tokens.create(name, duration)
        except NameTaken:
            raise NotDone(f"there is a service token {name!r} already", 409) from None
        self.desk.audit.record("service-token-create", id=created.id, name=name)
        await self._publish("service token")
        return _created(created)

    async def service_token_rotate(self, name: str, grace: int) -> Answer:
        row = await self.desk.store.service_tokens.find(name)
        if row is not None and row.client_id in self.publisher.revoked("service_token"):
            raise NotDone(
                f"service token {name!r} is revoked for ever: delete it and create another one"
            )
        try:
            created = await self.desk.service_tokens.rotate(name, grace)
        except NobodyFound:
            raise NotDone(f"there is no service token {name!r}", 404) from None
        except ValueError as error:
            raise NotDone(str(error), 400) from None
        self.desk.audit.record("service-token-rotate", id=created.id)
        await self._publish("service token")
        return _created(created)

    async def service_token_delete(self, name: str) -> Answer:
        try:
            row = await self.desk.service_tokens.delete(name)
        except NobodyFound:
            raise NotDone(f"there is no service token {name!r}", 404) from None
        self.desk.audit.record("service-token-delete", id=row.id)
        await self._publish("service token")
        return _token(row)


def _worker(slot: int, peer: Any) -> Answer:
    if peer is None:
        return {"slot": slot, "pid": None, "version": None, "connections": None, "links": None}
    return {
        "slot": slot, "pid": peer.pid, "version": peer.version,
        "connections": peer.counters.get("connections"), "links": len(peer.links),
        **({"refused": peer.refused} if peer.refused else {}),
    }


def _outcome(outcome: Outcome) -> Answer:
    return {
        "version": outcome.version, "errors": outcome.errors, "warnings": outcome.warnings,
    }


def _token(row: ServiceTokenRow) -> Answer:
    return {
        "id": row.id, "name": row.name, "client_id": row.client_id,
        "created": row.created, "expires": row.expires,
    }


def _state(row: ServiceTokenRow, revoked: set[str], now: float) -> str:
    if row.client_id in revoked:
        return "revoked"
    return "valid" if row.expires > now else "expired"


def _created(created: Created) -> Answer:
    return {
        "id": created.id, "name": created.name, "client_id": created.client_id,
        "client_secret": created.secret, "expires": created.expires,
    }
