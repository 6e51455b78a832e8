"""What a node's processes are started with: folders, listeners, numbers. Never a secret.

The command line makes it from the checked configuration and hands it, through an inherited file, to
the master; the master hands each child the same with the child's own part. Nothing is in argv."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.server.folder import Folder

ListenerKind = Literal["tls", "plain", "redirect", "tunnel"]
PLAN_FD = "SEKISHO_PLAN_FD"
CHANNEL_FD = "SEKISHO_CHANNEL_FD"
MASTER_PID = "SEKISHO_MASTER_PID"


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that the edge answers at."""

    kind: ListenerKind
    host: str
    port: int
    proxy_protocol: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Inherited:
    """A bound socket that every worker inherits; `slot` says who accepts on it (-1: all)."""

    listener: int  # index into Plan.listeners
    slot: int
    fd: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that must be known before the first snapshot is loaded."""

    config: str  # absolute path of sekisho.yml
    state_folder: str
    run_folder: str
    workers: int
    listeners: tuple[Listener, ...]
    state: str = ""  # address of the store; a password in it comes from the environment or a file
    master_key_file: str = ""  # empty: systemd's credentials, then <state_folder>/keys
    monitor: str | None = None  # host:port
    max_stale: float = 86_400.0  # seconds
    drain: float = 30.0  # seconds
    # Set by the master for its children
    slot: int = -1
    feed_fd: int = -1
    replaced: bool = False  # one before this process was ready; what it had may not be missing
    sockets: tuple[Inherited, ...] = field(default=())

    @property
    def folder(self) -> Folder:
        return Folder(Path(self.state_folder), Path(self.run_folder))

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> "Plan":
        """Return the plan; raises on anything that `encode` didn't write."""
        raw: dict[str, Any] = json.loads(data)
        raw["listeners"] = tuple(Listener(**each) for each in raw["listeners"])
        raw["sockets"] = tuple(Inherited(**each) for each in raw["sockets"])
        return Plan(**raw)


def plan_file(plan: Plan) -> int:
    """Return an open file in memory that holds the plan, to be inherited by number."""
    fd = os.memfd_create("sekisho-plan", os.MFD_CLOEXEC)
    os.write(fd, plan.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def inherited_plan(environ: Mapping[str, str] = os.environ) -> Plan:
    """Read the plan that this process was started with."""
    fd = int(environ[PLAN_FD])
    with open(fd, "rb") as file:
        return Plan.decode(file.read())


def connectors_dial(name: str, listeners: Sequence[Listener], public_port: int | None) -> list[str]:
    """Return host:port of each place where connectors reach us: what new credentials name.

    A listener of theirs alone is dialled where it listens; `public_port` is what `listen` is
    mapped to in front of us."""
    mine = [(one.host, one.port) for one in listeners if one.kind == "tunnel"] or [
        (one.host, public_port or one.port) for one in listeners if one.kind == "tls"
    ]
    addresses = []
    for listens, port in mine:
        host = name if listens in ("0.0.0.0", "::", "") else listens  # noqa: S104
        addresses.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return list(dict.fromkeys(addresses)) or [f"{name}:443"]
