"""The node's processes, killed and told to stop, as real processes (faults.md rows 1, 2)."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from edge.demo.processes import called
from edge.server.listener import Sockets, bind_unix
from edge.server.master import Master
from edge.server.notify import Notifier
from tests.kit.bare_node import (
    BareNode,
    TooSlow,
    alive,
    bare_node,
    crowding,
    read_answer,
    wait_until,
)


@pytest.fixture
def node(tmp_path: Path):
    with bare_node(tmp_path) as node:
        yield node


class Load:
    """Requests on new connections, one after the other, until stopped; counts what failed."""

    def __init__(self, node: BareNode, threads: int = 4) -> None:
        self.node = node
        self.done = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        self.versions: set[int] = set()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self) -> None:
        while not self.ending.is_set():
            begin = time.monotonic()
            try:
                self.versions.add(self.node.ask(limit=3)["version"])
                self.done += 1
            except TooSlow:
                continue
            except OSError as error:
                self.failed.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - begin)
            time.sleep(0.002)

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()


def test_every_worker_accepts(node):
    assert {node.ask()["slot"] for _ in range(60)} == {0, 1}


def test_killed_worker_is_replaced_within_a_second_and_nobody_hangs(node):
    before = node.workers()["0"]["pid"]
    with Load(node) as load:
        begin = time.monotonic()
        node.kill(before)
        wait_until(lambda: node.workers()["0"]["pid"] != before, 2 * crowding())
        took = time.monotonic() - begin
        time.sleep(0.2)
    assert took < 1.0 * crowding()
    # only what was in flight at the killed worker may fail: at most one request of each thread
    assert len(load.failed) <= 4, load.failed
    assert load.done > 50
    assert load.slowest < 1.0 * crowding()
    assert {node.ask()["slot"] for _ in range(60)} == {0, 1}


def test_dead_slot_is_adopted_while_its_replacement_cannot_come(tmp_path):
    # Both snapshots are damaged after the start: a new worker can't come up
    with bare_node(tmp_path) as node:
        victim = node.workers()["0"]["pid"]
        for path in node.folder.snapshots.glob("*.snapshot"):
            path.write_bytes(b"damaged")
        node.kill(victim)
        wait_until(lambda: not alive(victim))
        wait_until(lambda: "can be served from" in node.text(), 10)
        assert {answer["slot"] for answer in node.answers_of(40)} == {1}
        # and a new snapshot brings it back, at the latest when the brake lets it try again
        assert node.admin(do="reload")["version"] == 2
        node.wait_ready(20)
        wait_until(lambda: {answer["slot"] for answer in node.answers_of(20)} == {0, 1})


def test_single_worker_killed_the_queue_waits_for_its_replacement(tmp_path):
    with bare_node(tmp_path, workers=1) as node:
        node.kill(node.workers()["0"]["pid"])
        begin = time.monotonic()
        assert node.ask(limit=3)["slot"] == 0
        assert time.monotonic() - begin < 1.5 * crowding()


def test_stopped_worker_is_killed_after_five_seconds_without_a_beat(node):
    before = node.workers()["1"]["pid"]
    node.kill(before, signal.SIGSTOP)
    begin = time.monotonic()
    wait_until(lambda: not alive(before), 8)
    assert 4.0 < time.monotonic() - begin < 7.5
    wait_until(lambda: node.workers()["1"]["pid"] != before)
    assert "worker 1 gave no sign for 5 s: killed" in node.text()


def test_killed_control_leaves_traffic_untouched(node):
    before = node.admin(do="status")["control"]
    with Load(node) as load:
        node.kill(before)
        wait_until(lambda: node.admin(do="status")["control"] != before, 3)
        node.wait_ready(3)
    assert load.failed == []
    # the new control's snapshot is newer than everything on disk
    assert node.admin(do="status")["version"] == 2
    assert node.ask("/ask") == {"what": "echo", "x": 1}


def test_question_without_control_is_answered_none_at_once(node):
    control = node.admin(do="status")["control"]
    node.kill(control, signal.SIGSTOP)
    try:
        node.kill(control)
        begin = time.monotonic()
        answer = node.ask("/ask")
        assert answer in (None, {"what": "echo", "x": 1})  # gone, or already replaced
        assert time.monotonic() - begin < 3
    finally:
        node.wait_ready()


def test_killed_master_takes_everybody_with_it_within_three_seconds(node):
    status = node.admin(do="status")
    pids = [status["control"], *(worker["pid"] for worker in status["workers"].values())]
    node.kill(node.pid)
    begin = time.monotonic()
    wait_until(lambda: not any(alive(pid) for pid in pids), 3)
    assert time.monotonic() - begin < 3
    node.process.wait()
    # nothing is left behind that keeps the next one from starting
    node.start()
    assert node.ask()["version"] == 2


def test_after_a_killed_master_workers_do_not_wait_for_control(node):
    node.kill(node.pid)
    node.process.wait()
    node.start(wait=False)
    control = wait_until(lambda: called(node.pid, "bare_control"))[0]
    node.kill(control, signal.SIGSTOP)
    try:
        assert wait_until(lambda: node.ask()["version"] == 1)
    finally:
        node.kill(control, signal.SIGCONT)
    node.wait_ready()
    assert "the master before was killed: starting from the last good snapshot" in node.text()
    # a stop in good order leaves no heir: the next one asks control first
    node.stop()
    node.start()
    assert node.text().count("the master before was killed") == 1


def test_two_masters_never_share_a_state_folder(node):
    second = BareNode.__new__(BareNode)
    second.__dict__ |= node.__dict__
    second.log = node.log.with_name("second")
    second.process = None
    second.start(wait=False)
    assert second.process.wait(5) == 1
    assert f"an edge (pid {node.pid}) already runs on the state folder" in second.text()
    assert node.ask()["version"] == 1


def test_port_in_use_is_refused_aloud(tmp_path):
    """Z08: a second edge of the same user would get half of the callers of the first."""
    with bare_node(tmp_path) as node:
        other = BareNode((tmp_path / "other").mkdir() or tmp_path / "other")
        other.plan = type(node.plan)(**{
            **{name: getattr(other.plan, name) for name in other.plan.__slots__},
            "listeners": node.plan.listeners,
        })
        other.start(wait=False)
        assert other.process.wait(5) == 1
        assert f"can't listen at 127.0.0.1:{node.port}" in other.text()


def test_sigterm_finishes_what_runs_and_takes_nobody_new(tmp_path):
    with bare_node(tmp_path) as node:
        busy = [socket.create_connection(("127.0.0.1", node.port), timeout=5) for _ in range(8)]
        for sock in busy:
            sock.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)  # they are with the workers, which answer after 0.5 s
        node.process.send_signal(signal.SIGTERM)
        assert [read_answer(sock) for sock in busy] == ["slow"] * 8
        assert node.process.wait(5) == 0
        with pytest.raises(OSError):
            node.ask()


def test_sigterm_under_load_cuts_nobody(tmp_path):
    """faults.md, SIGTERM: 0 failed requests. Who comes too late is refused, not cut."""
    with bare_node(tmp_path) as node:
        with Load(node) as load:
            time.sleep(0.3)
            node.process.send_signal(signal.SIGTERM)
            assert node.process.wait(8) == 0
        assert load.done > 20
        failed = [text.partition("(")[0] for text in load.failed]
        assert set(failed) <= {"ConnectionRefusedError", "ConnectionResetError"}
        # what the kernel had queued in the instant in which the socket closed: one a lane at most
        assert failed.count("ConnectionResetError") <= len(load.threads)
        assert failed.count("ConnectionRefusedError") > 0


def test_drain_ends_after_its_limit(tmp_path):
    with bare_node(tmp_path, drain=0.5) as node:
        with socket.create_connection(("127.0.0.1", node.port)) as sock:
            sock.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.05)
            begin = time.monotonic()
            node.process.send_signal(signal.SIGTERM)
            assert node.process.wait(6) == 0
            assert 0.4 < time.monotonic() - begin < 3
        assert "drain is over with 1 connections left" in node.text()


def test_second_signal_forces(tmp_path):
    with (
        bare_node(tmp_path, drain=60) as node,
        socket.create_connection(("127.0.0.1", node.port)) as sock,
    ):
        sock.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
        node.process.send_signal(signal.SIGINT)
        wait_until(lambda: "draining" in node.text())
        node.process.send_signal(signal.SIGINT)  # the same one, passed on by make
        time.sleep(0.7)
        assert node.process.poll() is None
        node.process.send_signal(signal.SIGINT)
        node.process.wait(3)


def test_broken_configuration_at_first_start_starts_nothing(tmp_path):
    node = BareNode(tmp_path)
    node.config.write_text("broken")
    node.start(wait=False)
    assert node.process.wait(10) == 78
    assert f"{node.config}:1:1: it is broken" in node.text()


def test_last_good_snapshot_serves_when_control_comes_back_to_a_broken_file(tmp_path):
    with bare_node(tmp_path) as node:
        node.config.write_text("broken")
        before = node.admin(do="status")["control"]
        node.kill(before)
        wait_until(lambda: node.admin(do="status")["control"] != before)
        node.wait_ready()
        assert node.ask()["text"] == "first"


def test_crash_loop_is_slowed_down(tmp_path):
    """Three times at once, then ever slower; a process that lived is forgiven."""
    now = [1000.0]
    plan = BareNode(tmp_path).plan
    plan.folder.make()
    with bind_unix(plan.folder.feed_socket) as feed:
        master = Master(plan, Sockets([], []), feed, Notifier({}), clock=lambda: now[0])
        worker, waits = master.workers[0], []
        for _ in range(12):
            worker.born = now[0]
            master._buried(worker, 75)
            waits.append(worker.due - now[0])
        assert waits == [0, 0, 0, 0.25, 0.5, 1, 2, 5, 10, 10, 10, 10]
        now[0] += 31
        master._buried(worker, -11)
        assert worker.due == now[0]


def test_sighup_reloads_and_reopens(node):
    node.config.write_text("second")
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: {a["text"] for a in node.answers_of(10)} == {"second"})
    answers = node.answers_of(30)
    assert {answer["version"] for answer in answers} == {2}
    assert {answer["reopened"] for answer in answers} == {1}


def test_children_get_no_signal_from_the_terminal(node):
    worker = node.workers()["0"]["pid"]
    os.kill(worker, signal.SIGINT)
    os.kill(worker, signal.SIGHUP)
    time.sleep(0.1)
    assert alive(worker)
    assert node.ask()["version"] == 1
