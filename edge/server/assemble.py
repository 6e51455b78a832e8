"""From files and store to one snapshot's bytes: read, check, compile. Only control does it."""

import asyncio
import contextlib
import gc
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from _fastpath.snapshot import Snapshot
from _fastpath.worker import WorkerCore
from edge.config import InstallationKeys, Loaded, StoreObjects, Workshop
from edge.config.certificates import certificate_problems
from edge.config.compile import ConfigRefused
from edge.config.problem import Problem
from edge.control.pages import PAGE_HEADERS, prepared_pages
from edge.identity.keys import KeyStore
from edge.identity.world import World
from edge.server.certificates import Pair, ends_of, forget_pairs, keep_pairs, pairs_of
from edge.server.folder import newest
from edge.server.outlook import world_of
from edge.server.plan import Plan
from edge.server.publish import Built, Refused
from edge.server.start import restart_needed
from edge.store import Store, StoreUnavailable

log = logging.getLogger("sekisho.publish")

T = TypeVar("T")
AUTH_DOMAIN = "\0auth-domain"  # a name that no application can have: NUL is refused in names

# Of the thread that builds: requests on the same cores go first. Not lower, because the loop of
# this process waits for that thread whenever it holds the interpreter lock.
NICE = 5

ServiceTokens = Callable[[float], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """All that one compile gives."""

    data: bytes
    snapshot: Snapshot
    world: World
    pairs: list[Pair]
    warnings: list[str]  # of the pairs, with their places


class Assembly:
    """The running configuration, and how the next one is made. Holds the last one that was good."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        keys: KeyStore,
        *,
        service_tokens: ServiceTokens,
        wall: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.workshop = Workshop(plan.config)
        self.store = store
        self.keys = keys
        self.service_tokens = service_tokens
        self.wall = wall
        # One thread, because a thread that has lowered its priority can't raise it again
        self._builder = ThreadPoolExecutor(1, "build", initializer=_give_way)
        # Serves nobody: whether it takes a snapshot is what workers will say
        self._trial = WorkerCore(cast(Any, None))
        self.loaded: Loaded | None = None
        self.world: World | None = None
        self.certificate_ends: dict[str, float] = {}  # file -> unix time
        self.auds: dict[str, str] = {}  # application's id -> AUD
        self.tunnels: dict[str, str] = {}  # id -> name, of the running snapshot

    def remember(self) -> None:
        """Learn from the last snapshot what ran: a rename without `aud` is noticed."""
        folder = self.plan.folder.snapshots
        snapshot = newest(folder, lambda number, path: Snapshot.open(path))
        if snapshot is not None:
            self.workshop.running(snapshot.settings["applications"])

    def current_world(self) -> World:
        """Return what sign-in sees; raises LookupError while no configuration was ever good."""
        if self.world is None:
            raise LookupError("there is no configuration to sign in with")
        return self.world

    async def build(self, version: int, *, reread: bool) -> Built:
        """Return the snapshot of this version, or raise Refused and change nothing."""
        loaded = self.loaded
        if reread or loaded is None:
            loaded = await self._apart(self.workshop.load)
            if not loaded.ok:
                raise Refused([str(problem) for problem in loaded.errors])
        try:
            objects = await self._objects()
        except StoreUnavailable as error:
            raise Refused([f"the database can't be used: {error}"], passes=True) from error
        running = loaded
        try:
            made = await self._apart(lambda: self._compile(running, version, objects))
        except ConfigRefused as error:
            raise Refused([str(problem) for problem in error.problems]) from error

        def adopt() -> None:
            self.loaded, self.world = running, made.world
            self.certificate_ends = ends_of(made.pairs)
            forget_pairs(self.plan.folder, made.pairs)
            applications = made.snapshot.settings["applications"]
            self.workshop.running(applications)
            self.auds = {one["id"]: aud for aud, one in applications.items()}
            tunnels = made.snapshot.settings["tunnels"]
            self.tunnels = {ident: one["name"] for ident, one in tunnels.items()}

        warnings = [*(str(problem) for problem in running.warnings), *made.warnings]
        return Built(made.data, [*warnings, *restart_needed(self.plan, running)], adopt)

    async def _apart(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._builder, _uncollected, work)

    async def _objects(self) -> StoreObjects:
        tunnels = {thing.name: thing.id for thing in await self.store.objects.list("tunnel")}
        tokens = await self.service_tokens(self.wall())
        return StoreObjects(tunnels=tunnels, service_tokens=tokens, app_epochs={})

    def _compile(self, loaded: Loaded, version: int, objects: StoreObjects) -> Compiled:
        keys = InstallationKeys(
            aud_key=self.keys.secret("aud"),
            hash_key=self.keys.secret("hash")[:16],
            jwks=self.keys.public_jwks(self.wall()),
            auth_aud=self.keys.aud(AUTH_DOMAIN),
        )
        data = self.workshop.compile(
            loaded, version=version, objects=objects, keys=keys, extra=_pages(loaded)
        )
        # What no worker could load is never written: neither bytes nor certificates
        snapshot = Snapshot(data)
        try:
            pairs = pairs_of(snapshot.settings)
        except (ValueError, OSError) as error:
            placed = [str(one) for one in self._of_pairs(loaded) if one.level == "error"]
            raise Refused(placed or [f"{self.plan.config}: {error}"]) from error
        try:
            self._trial.set_snapshot(snapshot)
        except Exception as error:
            log.error("a worker could not serve from it", exc_info=error)
            raise Refused([f"{self.plan.config}: no worker could serve this: {error}"]) from error
        # Before the snapshot that names them: a worker may die in between
        keep_pairs(self.plan.folder, pairs)
        warnings = [str(one) for one in self._of_pairs(loaded)]
        world = world_of(loaded, snapshot, objects, keys)
        return Compiled(data, snapshot, world, pairs, warnings)

    def _of_pairs(self, loaded: Loaded) -> list[Problem]:
        assert loaded.config is not None  # it was compiled
        return certificate_problems(loaded.config, self.wall())


def _pages(loaded: Loaded) -> dict[str, Any]:
    """Return what workers need to answer people by themselves."""
    # These four the worker writes itself, by what it answers
    own = {"content-type", "cache-control", "vary", "x-content-type-options"}
    organization = "Sekisho" if loaded.config is None else loaded.config.organization
    fields = [f"{name}: {value}\r\n" for name, value in PAGE_HEADERS if name not in own]
    return {"pages": prepared_pages(organization), "page_fields": "".join(fields)}


def _give_way() -> None:
    with contextlib.suppress(OSError):   # a courtesy; a sandbox may forbid it
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _uncollected(work: Callable[[], T]) -> T:
    """Work with the collector off, and keep what was made out of its sight.

    A thousand applications are a million objects that live until the next change and form no
    cycles: reading them with the collector on takes 2-4 s instead of 0.6 s, and every later
    collection would stop this process for half a second. What is no longer used is freed by its
    reference counts, frozen or not."""
    gc.collect()  # else what is garbage now would be kept too; quick, because the rest is frozen
    gc.disable()
    try:
        return work()
    finally:
        gc.freeze()
        gc.enable()
