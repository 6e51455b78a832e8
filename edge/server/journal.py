"""Where the processes' own messages go: standard error, for a terminal or journald."""

import logging
import os
import sys
import time

# Libraries that tell an operator nothing at INFO
CHATTY = ("uvicorn", "alembic", "httpx2", "httpcore2", "asyncio")


class _Line(logging.Formatter):
    """One line per record, whatever it holds: a text from outside can't begin a line of its own."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        head, *rest = text.splitlines() or [""]
        return "\n".join([head, *(f"    {line}" for line in rest)])


def start_journal(process: str, *, level: int = logging.INFO) -> None:
    """Send this process's messages to standard error under its name."""
    handler = logging.StreamHandler(sys.stderr)
    # journald stamps what it takes
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)sZ "
    handler.setFormatter(
        _Line(f"{stamp}{process} %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
