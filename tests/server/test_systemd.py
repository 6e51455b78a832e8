"""The shipped unit under a real systemd: Type=notify, reload, watchdog, kill, stop, sockets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "docs" / "sekisho-edge.service"
missing = [
    what for what, there in (
        ("root", os.geteuid() == 0),
        ("systemd (apt install systemd)", Path("/lib/systemd/systemd").exists()),
        ("nsenter", shutil.which("nsenter")),
    ) if not there
]


def inside(*words: str, seconds: int = 150) -> "subprocess.CompletedProcess[str]":
    """Run a command under systemd as PID 1; the tree is visible at its own path."""
    return subprocess.run(
        [str(ROOT / "tests" / "kit" / "systemd.sh"), str(ROOT), *words],
        capture_output=True, text=True, timeout=seconds + 30,
        env={**os.environ, "SYSTEMD_SH_SECONDS": str(seconds)},
    )


def walk(*more: str) -> str:
    script = Path(sys.executable).with_name("sekisho")
    assert script.exists(), "install the package (make develop)"
    done = inside(
        "env", f"PYTHONPATH={ROOT}", sys.executable,
        str(Path(__file__).with_name("systemd_walk.py")), str(ROOT), str(script), *more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(bool(missing) and "CI" not in os.environ, reason=f"needs {missing}")
class TestUnderSystemd:
    def test_start_reload_watchdog_kill_stop(self):
        assert walk().count("ok   ") == 18

    def test_socket_activation(self):
        assert walk("socket").count("ok   ") == 5

    def test_unit_is_sandboxed(self):
        done = inside(
            "systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)
        )
        assert done.returncode == 0, done.stdout
