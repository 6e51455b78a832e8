"""The Node that runs the peers written in JavaScript."""

import shutil
from pathlib import Path

MODULES = Path(__file__).parents[2] / "build" / "peers" / "node_modules"


def node() -> str:
    """Return Node's path: the newer one from npm where the system's is too old (.ci/peers decides)."""
    newer = next(MODULES.glob("node-linux-*/bin/node"), None)
    found = str(newer) if newer else shutil.which("node")
    assert found, "node is missing: make test installs or names it"
    return found
