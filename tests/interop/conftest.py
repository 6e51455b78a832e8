"""Other people's yamux, built or installed once into build/peers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PEERS = HERE.parent.parent / "build" / "peers"
CHAINSAFE = "@chainsafe/libp2p-yamux"


def missing(what: str) -> None:
    """A peer that isn't there fails in CI and skips on somebody's laptop."""
    if os.environ.get("CI"):
        pytest.fail(f"missing peer: {what}")
    pytest.skip(f"missing peer: {what}")


def run(*command: str, cwd: Path, **environment: str) -> str | None:
    """Run a build step; return what it complained about, or None."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    return None if done.returncode == 0 else (done.stderr or done.stdout)


@pytest.fixture(scope="session")
def hashicorp() -> list[str]:
    """Command of HashiCorp's end: the pinned module, or Debian's library without a network."""
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        missing("go (or Debian's golang-go with golang-github-hashicorp-yamux-dev)")
        raise AssertionError
    program = PEERS / "yamux-hashicorp"
    sources = [HERE / "hashicorp" / name for name in ("peer.go", "go.mod", "go.sum")]
    if program.exists() and program.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return [str(program)]
    PEERS.mkdir(parents=True, exist_ok=True)
    where = HERE / "hashicorp"
    wrong = run(go, "build", "-o", str(program), ".", cwd=where, GOFLAGS="-mod=mod -buildvcs=false")
    if wrong is not None:
        debian = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
        if run(go, "build", "-o", str(program), "peer.go", cwd=where, **debian) is not None:
            missing(f"github.com/hashicorp/yamux: {wrong}")
    return [str(program)]


@pytest.fixture(scope="session")
def chainsafe() -> list[str]:
    """Command of ChainSafe's end, on Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("node and npm")
        raise AssertionError
    module = PEERS / "node_modules" / CHAINSAFE
    if not module.exists():
        PEERS.mkdir(parents=True, exist_ok=True)
        wrong = run(
            *(npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"),
            *("--prefix", str(PEERS), f"{CHAINSAFE}@8.0.1"),
            cwd=PEERS,
        )
        if wrong is not None:
            missing(f"{CHAINSAFE}: {wrong}")
    os.environ["YAMUX_MODULE"] = str(module / "dist/src/index.js")
    return [node, str(HERE / "chainsafe" / "peer.mjs")]
