"""The state folder: where everything lies, and the one way that a file of it is replaced."""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

KEEP = 2  # snapshots and revocation lists kept: the newest, and the one before for a torn disk
KEEP_UNTAKEN = 16  # snapshots kept at most while no worker takes a newer one
T = TypeVar("T")
_NUMBERED = re.compile(r"(\d{1,20})\.(snapshot|msgpack)\Z")


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of one edge node's state (0700) and of its run folder (sockets, 0700)."""

    state: Path
    run: Path

    @property
    def snapshots(self) -> Path:
        return self.state / "snapshots"

    @property
    def revocations(self) -> Path:
        return self.state / "revocations"

    @property
    def clock(self) -> Path:
        return self.state / "clock"

    @property
    def lock(self) -> Path:
        return self.state / "master.lock"

    @property
    def feed_socket(self) -> Path:
        return self.run / "feed.sock"

    @property
    def admin_socket(self) -> Path:
        return self.run / "admin.sock"

    @property
    def public_socket(self) -> Path:
        return self.run / "public.sock"

    def make(self) -> None:
        """Create what is missing, each 0700; raise OSError where a folder can't be made ours."""
        for path in (self.state, self.run, self.snapshots, self.revocations):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Who can enter the run folder can reach admin.sock, the root of trust: an older, wider
        # mode is narrowed. The state folder holds keys: the same.
        for path in (self.state, self.run):
            if path.stat().st_mode & 0o077:
                path.chmod(0o700)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` so that a reader, or a power cut, sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a rename in `path` last through a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """Files named by a number, newest first; anything else in the folder is not ours to read."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            match = _NUMBERED.fullmatch(path.name)
            if match:
                found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def newest(folder: Path, read: Callable[[int, Path], T]) -> T | None:
    """Return what `read` makes of the newest file that it accepts, or None.

    `read` refuses a damaged file with ValueError or OSError; then the one before is tried."""
    for number, path in numbered(folder):
        try:
            return read(number, path)
        except (ValueError, OSError):
            continue
    return None


def prune(folder: Path, keep: int = KEEP) -> None:
    """Delete all but the newest `keep` numbered files."""
    for _, path in numbered(folder)[keep:]:
        path.unlink(missing_ok=True)


def prune_snapshots(folder: Path, taken: int) -> None:
    """Delete what is older than the newest two that workers can start from.

    `taken` is the newest version that a worker acknowledged. What came after it may be refused by
    every worker, so it never makes what they run go away."""
    files = numbered(folder)
    for _, path in [one for one in files if one[0] <= taken][KEEP:]:
        path.unlink(missing_ok=True)
    for _, path in files[KEEP:-KEEP][: max(0, len(files) - KEEP_UNTAKEN)]:
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> tuple[int, bytes]:
    """Return (length, SHA-256) of a file."""
    digest, length = hashlib.sha256(), 0
    for block in _blocks(path):
        digest.update(block)
        length += len(block)
    return length, digest.digest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def stamp_clock(path: Path, wall: float) -> None:
    """Write down that control was alive at `wall` (unix seconds)."""
    write_atomic(path, f"{int(wall)}\n".encode("ascii"))


def read_clock(path: Path) -> int | None:
    """Return the last stamp, or None when there is none that can be read."""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if re.fullmatch(r"\d{1,15}", text) else None
