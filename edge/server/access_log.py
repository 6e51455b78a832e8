"""Where a worker's access log goes: as its snapshot says, from one snapshot to the next."""

import logging
import sys

from _fastpath.accesslog import AccessLog

log = logging.getLogger("sekisho.worker")


class AccessLogAt:
    """The log at one target: a file, `stderr` or `off` (then `log` is None)."""

    def __init__(self, target: str, *, before: "AccessLogAt | None" = None) -> None:
        self.target = target
        self.log = _open(target)
        self._before = (0, 0) if before is None else before.counts()

    def counts(self) -> tuple[int, int]:
        """Return lines (written, dropped or lost) since the worker began."""
        written, dropped = self._before
        if self.log is None:
            return written, dropped
        return written + self.log.written, dropped + self.log.dropped + self.log.lost

    def reopen(self) -> None:
        if self.log is not None:
            self.log.reopen()

    def close(self) -> None:
        """Write what waits, for two seconds at most."""
        if self.log is not None:
            self.log.close()

    def take_over(self, before: "AccessLogAt") -> None:
        """Write what waits for the log of before, and count it; takes its time."""
        before.close()
        self._before = before.counts()


def _open(target: str) -> AccessLog | None:
    if target == "off":
        return None
    if target == "stderr":
        return AccessLog(sys.stderr.fileno())
    try:
        return AccessLog(target)
    except OSError as error:
        # A full disk keeps nobody out
        log.error("access log: %s; records are lost, and counted, until it can be opened", error)
        return AccessLog(target, required=False)
