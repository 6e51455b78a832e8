"""The list of revocations on disk: written by control, read by workers that start without it.

A list that lacks one entry lets somebody in again, so a checksum says that a file is whole."""

import hashlib
from pathlib import Path
from typing import Any

import msgpack

from edge.server.folder import numbered, prune, write_atomic

Entries = list[dict[str, Any]]


def write_revoked(folder: Path, seq: int, entries: Entries) -> None:
    """Put list number `seq` into the folder; raises OSError and leaves the older ones."""
    body: bytes = msgpack.packb({"seq": seq, "entries": entries})
    write_atomic(folder / f"{seq}.msgpack", body + hashlib.sha256(body).digest())
    prune(folder)


def read_revoked(path: Path) -> tuple[int, Entries]:
    """Return (number, entries) of one file; raises ValueError where it isn't what was written."""
    raw = path.read_bytes()
    body, digest = raw[:-32], raw[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError(f"{path} is damaged")
    said = msgpack.unpackb(body)
    return int(said["seq"]), said["entries"]


def newest_revoked(folder: Path) -> tuple[tuple[int, Entries] | None, list[str]]:
    """Return the newest whole list, or None, and what is wrong with the newer ones."""
    problems: list[str] = []
    for _, path in numbered(folder):
        try:
            return read_revoked(path), problems
        except (ValueError, OSError) as error:
            problems.append(str(error))
    return None, problems
