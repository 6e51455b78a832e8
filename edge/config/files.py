"""Reading a file of the configuration: a regular one, whole, and never more than it may be."""

import errno
import os
import stat
from pathlib import Path

MAX_CONFIG = 16 << 20  # bytes of one file; over it: an error. A thousand applications are 1 MiB
MAX_LIST = 64 << 20  # bytes of a list's file; over it: an error. A million addresses are 25 MiB


def read_regular(path: Path, most: int) -> bytes:
    """Return the bytes; raises OSError, whose strerror is the sentence.

    Opened without waiting: a FIFO without a writer would hold up the process for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with open(fd, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(fd)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
    return data


def stat_regular(path: Path) -> os.stat_result:
    """Return what a file that can be opened for reading is like; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def is_missing(path: Path) -> bool:
    """Return True when nothing has this name; False where that may not be looked at, too."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
