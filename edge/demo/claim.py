"""One demo to a folder: its mark is locked while a demo runs there, however that one ends."""

import fcntl
import os
from pathlib import Path

NAME = ".sekisho-demo"


class DemoRuns(Exception):
    """Another demo has this folder; the sentence names its process."""


class Claim:
    """The locked mark of a folder. The lock goes with the process: a crash leaves none behind."""

    def __init__(self, folder: Path) -> None:
        """Lock the mark, made if need be; raise DemoRuns and change nothing where it is locked."""
        self.mark = folder / NAME
        self.fd = os.open(self.mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self.fd, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self.fd)
            raise DemoRuns(f"a demo already runs here (pid {pid}): {folder}") from None
        os.ftruncate(self.fd, 0)
        os.write(self.fd, f"{os.getpid()}\n".encode("ascii"))

    def release(self) -> None:
        os.close(self.fd)
