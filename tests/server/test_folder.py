"""The state folder: modes, atomic replacement, damaged files."""

import os
import stat

import pytest

from edge.server.folder import (
    Folder,
    newest,
    numbered,
    prune,
    read_clock,
    stamp_clock,
    write_atomic,
)


def test_folders_are_ours_alone(tmp_path):
    folder = Folder(tmp_path / "state", tmp_path / "state" / "run")
    (tmp_path / "state").mkdir(mode=0o755)
    folder.make()
    for path in (folder.state, folder.run, folder.snapshots, folder.revocations):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_replacement_is_whole_and_private(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"one")
    held = path.open("rb")
    write_atomic(path, b"two")
    assert held.read() == b"one"
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    """ENOSPC at fsync: the old bytes stay under the name."""
    path = tmp_path / "file"
    write_atomic(path, b"one")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        write_atomic(path, b"two")
    assert path.read_bytes() == b"one"


def test_newest_that_can_be_read_is_taken(tmp_path):
    for number, text in ((9, "damaged"), (10, "damaged"), (2, "two"), (8, "eight")):
        (tmp_path / f"{number}.snapshot").write_text(text)
    (tmp_path / "99.snapshot.new").write_text("no number")

    def read(number, path):
        if path.read_text() == "damaged":
            raise ValueError
        return number

    assert newest(tmp_path, read) == 8
    assert [number for number, _ in numbered(tmp_path)] == [10, 9, 8, 2]
    prune(tmp_path)
    assert [number for number, _ in numbered(tmp_path)] == [10, 9]
    assert newest(tmp_path, read) is None
    assert newest(tmp_path / "none", read) is None


@pytest.mark.parametrize("text", ["", "x", "-5", "1e9", "9" * 20])
def test_clock_that_is_no_time_is_none(tmp_path, text):
    (tmp_path / "clock").write_text(text)
    assert read_clock(tmp_path / "clock") is None


def test_clock(tmp_path):
    assert read_clock(tmp_path / "clock") is None
    stamp_clock(tmp_path / "clock", 1_800_000_000.9)
    assert read_clock(tmp_path / "clock") == 1_800_000_000
