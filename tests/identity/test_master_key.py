"""The master key's file: its mode, its place, and what a damaged one gets."""

import stat
from pathlib import Path

import pytest

from edge.identity.master_key import (
    KeyRefused,
    MasterKey,
    master_file,
    replace_file,
    replaceable,
    stage,
    unstage,
)


def test_master_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    made = MasterKey.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert MasterKey.load(path) == made == MasterKey.find(tmp_path)
    assert made.key.hex() not in repr(made) and path.read_text().startswith("id: ")
    with pytest.raises(FileExistsError):
        MasterKey.create(path)


@pytest.mark.parametrize(
    "content", ["", "id: x", "id: x\nAAAA\n", "x\ny\nz\n", "id: x\n" + "A" * 60]
)
def test_damaged_master_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match="damaged"):
        MasterKey.load(path)


def test_master_key_for_all_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "master.key"
    MasterKey.create(path)
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="chmod 600"):
        MasterKey.load(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))  # systemd guards these itself
    assert MasterKey.find(Path("/nowhere")).id


def test_missing_master_key(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="edge init"):
        MasterKey.find(tmp_path)


def test_an_error_leaves_no_half_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(UnicodeEncodeError):
        MasterKey("\udc80", bytes(32)).write(path)
    assert not path.exists()


def test_another_key_takes_the_place(tmp_path: Path) -> None:
    path, link = tmp_path / "master.key", tmp_path / "named.key"
    MasterKey.create(path)
    link.symlink_to(path)
    fresh = MasterKey.generate()
    stage(link, MasterKey.generate())  # left behind by a walk that was killed
    replace_file(link, fresh)
    assert MasterKey.load(path) == fresh and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [path, link]
    stage(path, fresh)
    unstage(path)
    unstage(path)
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_a_credential_is_nobodys_to_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials" / "master.key"
    MasterKey.create(path)
    assert replaceable(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
    assert not replaceable(path) and master_file(tmp_path) == path
    assert master_file(tmp_path, tmp_path / "own") == tmp_path / "own"
