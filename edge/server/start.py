"""`sekisho edge run`: check the configuration, make the plan, become the master.

The checking process turns into the master by exec: the pid that systemd started stays, and what the
configuration's model needs in memory is gone."""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from edge.config import Loaded, load
from edge.config.certificates import certificate_problems
from edge.config.model import Config
from edge.server.folder import numbered
from edge.server.outlook import monitor_of
from edge.server.plan import PLAN_FD, Listener, ListenerKind, Plan, plan_file

MAX_SOCKET_PATH = 107  # bytes, sockaddr_un
LONGEST_SOCKET = "worker-255.sock.new"


class StartRefused(Exception):
    """The node can't be started as it is configured; each problem is a line for the person."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def folders_of(config: Config, path: Path) -> tuple[Path, Path]:
    """Return (state folder, run folder) as the configuration file `path` says."""
    base = path.resolve().parent
    if config.state_folder is not None:
        state = base / config.state_folder
    elif config.state.startswith("sqlite:///"):
        state = (base / config.state.removeprefix("sqlite:///")).parent
    else:
        state = Path("/var/lib/sekisho")
    run = base / config.run_folder if config.run_folder is not None else state / "run"
    return state, run


def plan_of(loaded: Loaded) -> Plan:
    """Return the plan of a checked configuration; raises StartRefused."""
    if not loaded.ok or loaded.config is None:
        raise StartRefused([str(problem) for problem in loaded.errors])
    config, path = loaded.config, Path(loaded.path)
    state, run = folders_of(config, path)
    if len(os.fsencode(run / LONGEST_SOCKET)) > MAX_SOCKET_PATH:
        raise StartRefused(
            [f"{run}: too long a path for Unix sockets; set a shorter “run_folder”"]
        )
    proxied = set(config.proxy_protocol)
    kinds: list[tuple[ListenerKind, list[tuple[str, int]]]] = [
        ("tls", list(config.listen)), ("plain", list(config.plain)),
        ("redirect", list(config.redirect)), ("tunnel", list(config.tunnel_listen)),
    ]
    listeners = tuple(
        Listener(kind, address[0], address[1], address in proxied)
        for kind, addresses in kinds for address in addresses
    )
    if not listeners:
        raise StartRefused([f"{path}: nothing to listen at: add “listen”"])
    return Plan(
        config=str(path.resolve()), state_folder=str(state), run_folder=str(run),
        workers=config.workers or os.cpu_count() or 1, listeners=listeners,
        max_stale=float(config.max_stale), drain=float(config.timeouts.drain),
        state=config.state,
        master_key_file="" if config.master_key_file is None else str(config.master_key_file),
        monitor=monitor_of(config),
    )


def restart_needed(plan: Plan, loaded: Loaded) -> list[str]:
    """Return a sentence for each changed key that only a restart puts into force."""
    try:
        wanted = plan_of(loaded)
    except StartRefused as refused:
        return [f"warning: after a restart: {problem}" for problem in refused.problems]
    keys = {
        "listeners": "listen, plain, redirect, tunnel_listen, proxy_protocol",
        "workers": "workers", "state": "state", "state_folder": "state_folder",
        "run_folder": "run_folder", "master_key_file": "master_key_file", "monitor": "monitor",
        "drain": "timeouts.drain",
    }
    return [
        f"{plan.config}: warning: {name} changed; it takes effect when the edge is restarted"
        for field, name in keys.items() if getattr(wanted, field) != getattr(plan, field)
    ]


def ran_before(plan: Plan) -> bool:
    """Return True when there is a snapshot of before, or it can't be seen whether there is."""
    try:
        return bool(numbered(plan.folder.snapshots))
    except OSError:
        return True


def exec_master(path: Path) -> NoReturn:
    """Turn this process into the master of the edge that `path` configures; raises StartRefused."""
    loaded = load(path)
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    plan = plan_of(loaded)
    if loaded.config is not None and not ran_before(plan):
        # Later on a pair that is half renewed doesn't keep the edge away: the one before serves
        of_pairs = certificate_problems(loaded.config, time.time())
        if wrong := [str(problem) for problem in of_pairs if problem.level == "error"]:
            raise StartRefused(wrong)
    fd = plan_file(plan)
    os.set_inheritable(fd, True)
    os.environ[PLAN_FD] = str(fd)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "edge.server.master"])  # noqa: S606
