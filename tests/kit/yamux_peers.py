"""Other people's yamux, built or installed once into build/peers: the command that starts each."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.kit.node import node

ROOT = Path(__file__).parent.parent.parent
SOURCES = ROOT / "tests" / "interop"
PEERS = ROOT / "build" / "peers"
CHAINSAFE = "@chainsafe/libp2p-yamux"


class Missing(Exception):
    """The peer can't be had on this machine; the message says what it wants."""


def run(*command: str, cwd: Path, **environment: str) -> str | None:
    """Run a build step; return what it complained about, or None."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    return None if done.returncode == 0 else (done.stderr or done.stdout)


def hashicorp() -> list[str]:
    """HashiCorp's end: the pinned module, or Debian's library where the module can't be had."""
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        raise Missing("go (Debian: golang-go and golang-github-hashicorp-yamux-dev)")
    where, program = SOURCES / "hashicorp", PEERS / "yamux-hashicorp"
    newest = max(p.stat().st_mtime for p in where.iterdir())
    if program.exists() and program.stat().st_mtime > newest:
        return [str(program)]
    PEERS.mkdir(parents=True, exist_ok=True)
    wrong = run(go, "build", "-o", str(program), ".", cwd=where, GOFLAGS="-mod=mod -buildvcs=false")
    if wrong is not None:
        debian = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
        if run(go, "build", "-o", str(program), ".", cwd=where, **debian) is not None:
            raise Missing(f"github.com/hashicorp/yamux: {wrong}")
    return [str(program)]


def chainsafe() -> list[str]:
    """ChainSafe's end, on Node."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm")
    module = PEERS / "node_modules" / CHAINSAFE
    if not module.exists():
        PEERS.mkdir(parents=True, exist_ok=True)
        wrong = run(
            *(npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"),
            *("--prefix", str(PEERS), f"{CHAINSAFE}@8.0.1"),
            cwd=PEERS,
        )
        if wrong is not None:
            raise Missing(f"{CHAINSAFE}: {wrong}")
    return [node(), str(SOURCES / "chainsafe" / "peer.mjs"), str(module / "dist/src/index.js")]
