"""The publisher: build everything, then store once."""

from types import SimpleNamespace

import pytest

from edge.server.folder import Folder
from edge.server.publish import Built, Publisher, Refused


class Assembly:
    """Builds what it is told to."""

    def __init__(self):
        self.text, self.adopted, self.reread = "a", [], []

    async def build(self, version, *, reread):
        self.reread.append(reread)
        if self.text == "broken":
            raise Refused(["f:1:1: first", "f:2:1: second"])
        return Built(f"{version} {self.text}".encode(), ["w"], lambda: self.adopted.append(version))


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "s", tmp_path / "s" / "run")
    folder.make()
    return folder


def publisher_of(folder, assembly, now=lambda: 1000.0, workers=0):
    return Publisher(
        folder, assembly, workers=workers, admits=lambda pid: True, wall=now,
        on_question=lambda peer, message: None, on_events=lambda peer, events: None,
    )


async def test_every_problem_is_told_and_nothing_changes(folder):
    assembly = Assembly()
    publisher = publisher_of(folder, assembly)
    assert (await publisher.reload("start")).version == 1
    assembly.text = "broken"
    outcome = await publisher.reload("file change")
    assert (outcome.ok, outcome.version, outcome.cause) == (False, 1, "file change")
    assert outcome.errors == ["f:1:1: first", "f:2:1: second"]
    assert publisher.last is outcome
    assert assembly.adopted == [1]
    assert publisher.current.version == 1


async def test_full_disk_changes_nothing(folder, monkeypatch):
    assembly = Assembly()
    publisher = publisher_of(folder, assembly)
    await publisher.reload("start")
    monkeypatch.setattr("edge.server.folder.os.fsync", _full)
    outcome = await publisher.reload("command")
    assert not outcome.ok and "No space left" in outcome.errors[0]
    assert publisher.version == 1 and assembly.adopted == [1]
    with pytest.raises(OSError):
        await publisher.revoke([{"kind": "user", "id": "u"}])
    assert publisher.revocations == (1, 1)  # in force all the same
    full = next(m for m in publisher.greeting() if m["t"] == "revocations")
    assert full["entries"] == [{"kind": "user", "id": "u"}]
    monkeypatch.undo()
    await publisher.revoke([{"kind": "user", "id": "u"}])  # tried again: kept once, and on disk
    assert publisher.revocations == (2, 1)
    assert publisher_of(folder, Assembly()).revocations == (2, 1)
    assert (await publisher.reload("command")).version == 2


async def test_next_control_goes_on_where_the_last_one_was(folder):
    first = publisher_of(folder, Assembly())
    for _ in range(3):
        await first.reload("command")
    await first.revoke([{"kind": "session", "id": "s", "until": 2000}])
    second = publisher_of(folder, Assembly())
    assert second.version == 3 and second.current == first.current
    assert (await second.reload("start")).version == 4
    assert second.revocations == (1, 1)
    assert await second.revoke([{"kind": "session", "id": "t", "until": 2000}]) == 2
    full = next(m for m in second.greeting() if m["t"] == "revocations")
    assert [entry["id"] for entry in full["entries"]] == ["s", "t"] and full["full"] is True


async def test_version_never_goes_below_what_lies_on_disk(folder):
    (folder.snapshots / "41.snapshot").write_bytes(b"whatever")
    assert (await publisher_of(folder, Assembly()).reload("start")).version == 42


async def test_entries_are_dropped_after_their_time(folder):
    now = [1000.0]
    publisher = publisher_of(folder, Assembly(), lambda: now[0])
    await publisher.revoke([{"kind": "session", "id": "short", "until": 1500}])
    await publisher.revoke([{"kind": "session", "id": "long", "until": 9000}])
    now[0] = 2000.0
    await publisher.revoke([{"kind": "session", "id": "new", "until": 9000}])
    assert [entry["id"] for entry in publisher._revocations] == ["long", "new"]


async def test_restore_adds_only_what_is_missing(folder):
    publisher = publisher_of(folder, Assembly())
    known = {"kind": "user", "id": "u", "epoch": 2, "until": 9000}
    await publisher.revoke([known])
    await publisher.restore([known])
    assert publisher.revocations == (1, 1)
    await publisher.restore([known, {**known, "epoch": 3}])
    assert publisher.revocations == (2, 2)


async def test_everywhere_waits_for_a_worker_that_is_being_replaced(folder):
    """None is there to run an old version, and yet not every worker runs the new one."""
    publisher = publisher_of(folder, Assembly(), workers=2)
    await publisher.reload("start")
    assert not await publisher.everywhere(1, 0.1)
    publisher.feed.peers = {slot: SimpleNamespace(version=1) for slot in range(2)}
    assert await publisher.everywhere(1, 0.1)
    publisher.feed.peers[1].version = 0
    assert not await publisher.everywhere(1, 0.1)


def _full(fd):
    raise OSError(28, "No space left on device")


async def test_a_change_that_a_command_has_read_already_is_not_read_again(folder):
    assembly = Assembly()
    publisher = publisher_of(folder, assembly)
    first = await publisher.reload("command", due=lambda: False)  # nothing ran before: it is due
    assert (first.version, first.cause) == (1, "command")
    assert await publisher.reload("file change", due=lambda: False) is first
    assert assembly.reread == [True]
    assert (await publisher.reload("file change", due=lambda: True)).version == 2
