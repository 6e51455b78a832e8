"""The master: binds, starts, watches, replaces and drains the other processes; no more.

Single-threaded and without an event loop library on purpose: it outlives everybody else's bugs.
PR_SET_PDEATHSIG follows the *thread* that started a child, so there is only this one."""

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.server.channel import Channel
from edge.server.folder import numbered
from edge.server.journal import start_journal
from edge.server.listener import ListenError, Sockets, bind_all, bind_unix, passed_sockets
from edge.server.notify import Notifier
from edge.server.plan import CHANNEL_FD, MASTER_PID, PLAN_FD, Plan, inherited_plan, plan_file

MODULES = ("edge.server.control", "edge.server.worker")
EX_REFUSED = 78  # EX_CONFIG: starting again would end the same way
TURN = 0.5  # seconds, the longest sleep of the loop
BEAT_WORKER = 5.0  # seconds without a beat after which a worker is killed
BEAT_CONTROL = 30.0  # control may compile; the data path doesn't wait for it
START_WORKER = 15.0  # seconds until a new worker must be ready
START_CONTROL = 120.0  # a migration of the store may take its time
FIRST_SNAPSHOT = 20.0  # seconds that workers wait for control at start, with an older one on disk
RELOAD_LIMIT = 60.0  # seconds after which the service manager is told that a reload is over
LIVED = 30.0  # seconds of life that forgive earlier crashes
SAME_SIGNAL = 0.5  # seconds; make, timeout and a terminal each pass one Ctrl-C on
CONTROL_END = 5.0  # seconds that control has to end
# Seconds until the n-th replacement in a row: the first three at once, then ever slower
BRAKE = (0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

log = logging.getLogger("sekisho.master")


class AlreadyRuns(Exception):
    """Another master holds this state folder."""


class Child:
    """One place for a process: control, or a worker slot; the process in it changes."""

    def __init__(self, name: str, module: str, slot: int, beat: float, start: float) -> None:
        self.name = name
        self.module = module
        self.slot = slot
        self.beat_limit = beat
        self.start_limit = start
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel | None = None
        self.born = 0.0
        self.heard = 0.0
        self.ready = False
        self.let_go = False  # draining, it holds nobody's listening sockets but its own
        self.deaths = 0  # in a row
        self.due: float | None = None  # when to start it again

    @property
    def alive(self) -> bool:
        return self.process is not None


class Master:
    """Runs until told to stop; `run` returns the exit status."""

    def __init__(
        self, plan: Plan, sockets: Sockets, feed: socket.socket, notifier: Notifier,
        *, modules: tuple[str, str] = MODULES, clock: Callable[[], float] = time.monotonic,
        resumes: bool = False,
    ) -> None:
        """`resumes`: the master before this one was killed, and its callers are waiting."""
        self.plan = plan
        self.resumes = resumes
        self.sockets = sockets
        self.feed = feed
        self.notifier = notifier
        self.clock = clock
        self.control = Child("control", modules[0], -1, BEAT_CONTROL, START_CONTROL)
        self.workers = [
            Child(f"worker {slot}", modules[1], slot, BEAT_WORKER, START_WORKER)
            for slot in range(plan.workers)
        ]
        self.adopters: dict[int, int] = {}  # slot without a ready worker -> who accepts for it
        self.selector = selectors.DefaultSelector()
        self.exit_status = 0
        self.status = "starting"
        self.started = False  # the manager has been told READY
        self.met_control = False  # it has been ready once in this life
        self.stopping = False
        self.stopped_at = 0.0
        self.deadline = 0.0  # of the drain
        self.reload_ends: float | None = None
        self.next_watchdog = 0.0
        self.begun = 0.0
        self._signal_end, self._signal_write = socket.socketpair()

    @property
    def children(self) -> list[Child]:
        return [self.control, *self.workers]

    def run(self) -> int:
        self._listen_to_signals()
        self.begun = self.clock()
        self._spawn(self.control)
        if self.resumes and self._has_snapshot():
            # What was served a moment ago, at once; control reads the configuration meanwhile
            log.warning("the master before was killed: starting from the last good snapshot")
            self._start_workers()
        turn = self.begun
        while True:
            now = self.clock()
            if now - turn > 2.0:
                # We ourselves stood still (stopped, suspended, starved), and perhaps all of us did:
                # nobody is judged by a time that nobody lived through
                for child in self.children:
                    child.heard = now
            turn = now
            self._judge(now)
            if self.stopping and not any(child.alive for child in self.children):
                break
            for key, _ in self.selector.select(self._sleep(self.clock())):
                key.data()
        self.sockets.close()
        with contextlib.suppress(OSError):
            os.truncate(self.plan.folder.lock, 0)  # the next one is no heir of a crash
        return self.exit_status

    # Signals

    def _listen_to_signals(self) -> None:
        self._signal_end.setblocking(False)
        self._signal_write.setblocking(False)
        signal.set_wakeup_fd(self._signal_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self.selector.register(self._signal_end, selectors.EVENT_READ, self._on_signals)

    def _on_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            numbers = self._signal_end.recv(4096)
            for number in numbers:
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()
                elif number == signal.SIGHUP and not self.stopping:
                    self._reload()
        self._reap()

    def _reload(self) -> None:
        self.notifier.reloading()
        self.reload_ends = self.clock() + RELOAD_LIMIT
        for worker in self.workers:
            _tell(worker, "reopen")
        if self.control.ready:
            _tell(self.control, "reload")
        else:
            self._reloaded("control is away: nothing was reloaded")

    def _reloaded(self, status: str) -> None:
        self.reload_ends = None
        self.status = status
        self.notifier.ready(status)

    def _stop(self) -> None:
        now = self.clock()
        if self.stopping:
            if now - self.stopped_at < SAME_SIGNAL:
                return
            log.warning("second signal: killing what is left")
            for child in self.children:
                _kill(child)
            return
        self.stopping = True
        self.stopped_at = now
        self.deadline = now + self.plan.drain + 2.0
        self.notifier.stopping()
        log.info("draining, at most %g s", self.plan.drain)
        for worker in self.workers:
            worker.due = None
            _tell(worker, "drain")
        self.control.due = None
        # Nobody new in the queues: a passed socket stays open at the service manager, which keeps
        # callers waiting there for the next of us
        self.sockets.close()

    def _leave(self) -> None:
        """Let the draining workers close their sockets once each is the last that holds its own."""
        if self.stopping and all(worker.let_go for worker in self.workers if worker.alive):
            for worker in self.workers:
                _tell(worker, "leave")

    # Children

    def _spawn(self, child: Child) -> None:
        """Start the process of a place; where the machine has no room for it now, try later."""
        try:
            self._fork(child)
        except OSError as error:
            # Too many open files, no process or memory to be had: what runs goes on meanwhile
            child.deaths += 1
            child.due = self.clock() + max(TURN, BRAKE[min(child.deaths - 1, len(BRAKE) - 1)])
            log.error("%s can't be started: %s", child.name, error)

    def _fork(self, child: Child) -> None:
        is_worker = child.slot >= 0
        plan = replace(
            self.plan, slot=child.slot,
            sockets=tuple(self.sockets.places) if is_worker else (),
            feed_fd=-1 if is_worker else self.feed.fileno(),
            replaced=child is self.control and self.met_control,
        )
        with contextlib.ExitStack() as passing:
            channel, theirs = Channel.pair()
            passing.callback(theirs.close)
            failed = passing.enter_context(contextlib.ExitStack())
            failed.callback(channel.close)
            self.selector.register(
                channel, selectors.EVENT_READ, lambda: self._on_message(child)
            )
            failed.callback(self.selector.unregister, channel)
            plan_fd = plan_file(plan)
            passing.callback(os.close, plan_fd)
            passed = [theirs.fileno(), plan_fd]
            passed += [place.fd for place in plan.sockets] if is_worker else [self.feed.fileno()]
            environment = {
                name: value for name, value in os.environ.items()
                # the service manager talks to the master only
                if not name.startswith(("LISTEN_", "WATCHDOG_")) and name != "NOTIFY_SOCKET"
            }
            environment |= {
                PLAN_FD: str(plan_fd), CHANNEL_FD: str(theirs.fileno()),
                MASTER_PID: str(os.getpid()),
            }
            # -P: the working directory is no place to import from
            child.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", child.module],
                stdin=subprocess.DEVNULL, pass_fds=passed, env=environment,
            )
            failed.pop_all()
        child.channel = channel
        child.born = child.heard = self.clock()
        child.ready = child.let_go = False
        child.due = None

    def _on_message(self, child: Child) -> None:
        if child.channel is None:
            return
        messages = child.channel.receive()
        if messages is None:
            # Its end closed: it is dying; the SIGCHLD that follows does the rest
            self.selector.unregister(child.channel)
            child.channel.close()
            child.channel = None
            return
        child.heard = self.clock()
        for message in messages:
            self._take(child, message)

    def _take(self, child: Child, message: dict[str, Any]) -> None:
        if message["t"] == "ready":
            child.ready = True
            log.info("%s is ready after %.2f s", child.name, self.clock() - child.born)
            if child is self.control:
                self.met_control = True
                self._start_workers()
            self._share_out()
            self._announce()
        elif message["t"] == "status":
            self.status = message["status"]
            if self.started and self.reload_ends is None:
                self.notifier.send(f"STATUS={self.status}")
        elif message["t"] == "let-go":
            child.let_go = True
            self._leave()
        elif message["t"] == "reopen":
            for worker in self.workers:
                _tell(worker, "reopen")
        elif message["t"] == "reloaded" and self.reload_ends is not None:
            self._reloaded(message["status"])

    def _start_workers(self) -> None:
        for worker in self.workers:
            if not worker.alive and worker.due is None and not self.stopping:
                self._spawn(worker)

    def _announce(self) -> None:
        if not self.started and all(worker.ready for worker in self.workers):
            self.started = True
            self.notifier.ready(self.status)
            log.info("serving with %d workers", len(self.workers))

    def _reap(self) -> None:
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._buried(child, child.process.returncode)
        self._share_out()

    def _buried(self, child: Child, code: int) -> None:
        now = self.clock()
        child.process = None
        child.ready = False
        if child.channel is not None:
            self.selector.unregister(child.channel)
            child.channel.close()
            child.channel = None
        if self.stopping:
            self._leave()
            return
        log.error("%s ended: %s", child.name, _why(code))
        if child is self.control and not self.met_control:
            if code == EX_REFUSED or not self._has_snapshot():
                # At start there is nothing to fall back on, or nothing that may be fallen back on
                self.exit_status = code if code > 0 else 1
                self._stop()
                return
            if not self.started:
                log.error("starting from the last good snapshot, without control")
                self._start_workers()
        child.deaths = 1 if now - child.born > LIVED else child.deaths + 1
        child.due = now + BRAKE[min(child.deaths - 1, len(BRAKE) - 1)]

    def _has_snapshot(self) -> bool:
        return bool(numbered(self.plan.folder.snapshots))

    def _share_out(self) -> None:
        """Let a ready worker accept for each one that isn't; take it back when it is."""
        ready = [worker.slot for worker in self.workers if worker.ready]
        for slot, adopter in list(self.adopters.items()):
            if adopter not in ready:
                del self.adopters[slot]
            elif slot in ready:
                _tell(self.workers[adopter], "release", slot=slot)
                del self.adopters[slot]
        if self.stopping or not self.started:
            return
        for worker in self.workers:
            if not worker.ready and worker.slot not in self.adopters and ready:
                # the one that has the least on its hands already
                busy = list(self.adopters.values())
                adopter = min(ready, key=busy.count)
                self.adopters[worker.slot] = adopter
                _tell(self.workers[adopter], "adopt", slot=worker.slot)

    # Time

    def _judge(self, now: float) -> None:
        for child in self.children:
            if child.due is not None and now >= child.due:
                self._spawn(child)
            limit = child.beat_limit if child.ready else child.start_limit
            if child.alive and now - child.heard > limit:
                log.error("%s gave no sign for %g s: killed", child.name, limit)
                child.heard = now
                _kill(child)
        waited = now - self.begun > FIRST_SNAPSHOT and not self.control.ready
        if not self.started and waited and self._has_snapshot():
            self._start_workers()
        if self.reload_ends is not None and now > self.reload_ends:
            self._reloaded("the last reload did not end")
        if self.stopping:
            self._judge_drain(now)
        if self.notifier.every and now >= self.next_watchdog:
            self.next_watchdog = now + self.notifier.every
            self.notifier.watchdog()

    def _judge_drain(self, now: float) -> None:
        if any(worker.alive for worker in self.workers):
            if now > self.deadline:
                log.warning("drain is over: killing what is left")
                for worker in self.workers:
                    _kill(worker)
            return
        # Control last: people who are signing in while we drain need it
        if self.control.process is not None and self.deadline != float("inf"):
            self.deadline = float("inf")
            self.control.process.terminate()
            self.control.heard = now - self.control.beat_limit + CONTROL_END

    def _sleep(self, now: float) -> float:
        times: list[float] = [now + TURN]
        times += [child.due for child in self.children if child.due is not None]
        return max(0.0, min(times) - now)


def _tell(child: Child, kind: str, **fields: Any) -> None:
    if child.channel is not None:
        child.channel.send(kind, **fields)


def _kill(child: Child) -> None:
    if child.process is not None:
        child.process.kill()


def _why(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def hold_lock(path: Path) -> tuple[int, bool]:
    """Take the state folder's lock for the life of this process, or raise AlreadyRuns.

    Returns its descriptor and whether the holder before was killed: it didn't empty the file."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise AlreadyRuns(
            f"an edge (pid {holder}) already runs on the state folder {path.parent}"
        ) from None
    killed = os.fstat(fd).st_size > 0
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd, killed


def build_master(
    plan: Plan, passed: Iterable[tuple[str, socket.socket]], modules: tuple[str, str] = MODULES
) -> Master:
    """Bind everything and return the master; raises ListenError, AlreadyRuns or OSError."""
    plan.folder.make()
    _, killed = hold_lock(plan.folder.lock)
    sockets = bind_all(plan.listeners, plan.workers, list(passed))
    feed = bind_unix(plan.folder.feed_socket)
    return Master(plan, sockets, feed, Notifier(), modules=modules, resumes=killed)


def main(modules: tuple[str, str] = MODULES) -> int:
    start_journal("master")
    try:
        master = build_master(inherited_plan(), passed_sockets(), modules)
    except (ListenError, AlreadyRuns, OSError) as error:
        log.error("%s", error)
        return 1
    return master.run()


if __name__ == "__main__":
    sys.exit(main())
