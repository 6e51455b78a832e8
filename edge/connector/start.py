"""Start a connector process: logging, loop, daemon."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import uvloop

from edge.connector.credentials import Credentials
from edge.connector.daemon import Daemon
from edge.connector.ingress import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING}


def serve(settings: Settings, credentials: Credentials, credentials_file: Path | None) -> int:
    """Run until SIGTERM; return the exit status."""
    _log(settings)

    async def main() -> int:
        daemon = Daemon(settings, credentials, credentials_file=credentials_file)
        return await daemon.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _log(settings: Settings) -> None:
    if settings.logfile is not None:
        handler: logging.Handler = logging.FileHandler(settings.logfile)
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LEVELS.get(settings.loglevel, logging.ERROR))
