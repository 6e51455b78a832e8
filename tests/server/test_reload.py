"""Reload and revocation over a running node: atomic, acknowledged, and nothing lost on the way."""

import time

import pytest

from tests.kit.bare_node import bare_node, wait_until
from tests.server.test_master import Load


@pytest.fixture
def node(tmp_path):
    with bare_node(tmp_path) as node:
        yield node


def test_reload_under_load_fails_no_request(node):
    """Q04: every request sees one version, the old or a new one."""
    with Load(node) as load:
        for number in range(2, 12):
            node.config.write_text(f"text {number}")
            answer = node.admin(do="reload")
            assert answer == {"version": number, "errors": [], "everywhere": True}
            # acknowledged everywhere means: no worker answers by the old one any more
            assert {answer["version"] for answer in node.answers_of(4)} == {number}
    assert load.failed == []
    assert load.done > 50


def test_broken_file_changes_nothing_and_says_where(node):
    node.config.write_text("broken")
    answer = node.admin(do="reload")
    assert answer["version"] == 1
    assert answer["errors"] == [f"{node.config}:1:1: it is broken"]
    assert node.ask()["text"] == "first"
    assert [path.name for path in node.folder.snapshots.iterdir()] == ["1.snapshot"]


def test_snapshot_that_a_worker_refuses_leaves_its_old_one(node):
    node.config.write_text("refuse me")
    answer = node.admin(do="reload")
    assert answer["everywhere"] is False
    assert node.ask()["text"] == "first"
    status = node.admin(do="status")
    assert {w["refused"] for w in status["workers"].values()} == {"the core refuses it"}
    node.config.write_text("good")
    assert node.admin(do="reload")["everywhere"] is True
    assert node.ask()["text"] == "good"


def test_replaced_worker_starts_from_the_last_snapshot_that_one_took(node):
    """Refused ones don't push it out, however many there are."""
    node.config.write_text("good")
    assert node.admin(do="reload")["everywhere"] is True
    node.config.write_text("refuse me")
    for _ in range(20):
        node.admin(do="publish")
    kept = sorted(int(path.stem) for path in node.folder.snapshots.iterdir())
    assert len(kept) == 16 and kept[:2] == [1, 2] and kept[-2:] == [21, 22]
    pids = [worker["pid"] for worker in node.admin(do="status")["workers"].values()]
    for pid in pids:
        node.kill(pid)
    wait_until(lambda: node.ask(limit=2)["pid"] not in pids, 10)
    assert node.ask()["text"] == "good"
    assert "can't serve from snapshot 22, trying the one before" in node.log.read_text()
    node.config.write_text("mended")
    assert node.admin(do="reload")["everywhere"] is True
    assert sorted(path.name for path in node.folder.snapshots.iterdir()) == [
        "22.snapshot", "23.snapshot",
    ]


def test_damaged_list_of_revocations_decides_about_nobody_until_control_speaks(tmp_path):
    with bare_node(tmp_path) as node:
        node.admin(do="revoke", id="s1")
        node.admin(do="revoke", id="s2")
        newest = node.folder.revocations / "2.msgpack"
        raw = bytearray(newest.read_bytes())
        raw[raw.index(b"s2")] ^= 1  # one bit: still msgpack, another session
        newest.write_bytes(raw)
        status = node.admin(do="status")
        node.kill(status["control"], 19)
        try:
            for worker in status["workers"].values():
                node.kill(worker["pid"])
            answer = wait_until(lambda: node.ask(limit=2), 4)
            assert answer["stale_after"] == 0.0 and answer["revocations"] == ["s1"]
        finally:
            node.kill(status["control"], 18)
        wait_until(lambda: {a["stale_after"] for a in node.answers_of(10)} == {86_400.0})
        assert {tuple(a["revocations"]) for a in node.answers_of(10)} == {("s1", "s2")}


def test_two_snapshots_are_kept(node):
    for _ in range(3):
        node.admin(do="reload")
    assert sorted(path.name for path in node.folder.snapshots.iterdir()) == [
        "3.snapshot", "4.snapshot",
    ]


def test_damaged_newest_snapshot_the_one_before_is_served(node):
    node.config.write_text("second")
    node.admin(do="reload")
    (node.folder.snapshots / "9.snapshot").write_bytes(b"damaged")
    pids = [worker["pid"] for worker in node.workers().values()]
    node.kill(pids[0])
    wait_until(lambda: pids[0] not in [w["pid"] for w in node.workers().values()])
    node.wait_ready()
    assert {answer["text"] for answer in node.answers_of(20)} == {"second"}
    # and the next version is above whatever lies there
    assert node.admin(do="reload")["version"] == 10


def test_revocation_reaches_every_worker_and_survives_everybody(node):
    assert node.admin(do="revoke", id="s1") == 1
    assert node.admin(do="revoke", id="s2") == 2
    wait_until(lambda: {tuple(a["revocations"]) for a in node.answers_of(10)} == {("s1", "s2")})
    # on disk before it was sent
    assert sorted(path.name for path in node.folder.revocations.iterdir()) == [
        "1.msgpack", "2.msgpack",
    ]
    for worker in list(node.workers().values()):
        node.kill(worker["pid"])
    control = node.admin(do="status")["control"]
    node.kill(control)
    wait_until(lambda: node.admin(do="status")["control"] != control)
    node.wait_ready()
    assert {tuple(answer["revocations"]) for answer in node.answers_of(10)} == {("s1", "s2")}
    assert node.admin(do="revoke", id="s3") == 3
    wait_until(lambda: {a["seq"] for a in node.answers_of(10)} == {3})


def test_worker_without_control_still_knows_every_revocation(tmp_path):
    """A replaced worker reads them from disk before it accepts."""
    with bare_node(tmp_path) as node:
        node.admin(do="revoke", id="gone")
        control = node.admin(do="status")["control"]
        workers = node.admin(do="status")["workers"]
        node.kill(control, 19)  # SIGSTOP: nothing comes over the feed
        try:
            node.kill(workers["0"]["pid"])
            node.kill(workers["1"]["pid"])
            answer = wait_until(lambda: node.ask(limit=2), 4)
            assert answer["pid"] not in [worker["pid"] for worker in workers.values()]
            assert answer["revocations"] == ["gone"]
            # max_stale counts on from the clock stamp, not from the worker's own start
            assert 86_400 - 120 < answer["stale_after"] < 86_400
        finally:
            node.kill(control, 18)


def test_stale_state_folder_denies_until_control_speaks(tmp_path):
    with bare_node(tmp_path) as node:
        node.folder.clock.write_text(f"{int(time.time()) - 90_000}\n")
        status = node.admin(do="status")
        node.kill(status["control"], 19)
        try:
            for worker in status["workers"].values():
                node.kill(worker["pid"])
            assert wait_until(lambda: node.ask(limit=2), 4)["stale_after"] == 0.0
        finally:
            node.kill(status["control"], 18)
        wait_until(lambda: {a["stale_after"] for a in node.answers_of(10)} == {86_400.0})


def test_ticket_keys_reach_workers_now_and_later(node):
    node.admin(do="tickets")
    wait_until(lambda: {answer["tickets"] for answer in node.answers_of(10)} == {1})
    victim = node.workers()["0"]["pid"]
    node.kill(victim)
    wait_until(lambda: node.workers()["0"]["pid"] != victim)
    wait_until(lambda: {answer["tickets"] for answer in node.answers_of(20)} == {1})
