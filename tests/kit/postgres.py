"""A PostgreSQL of its own for the tests: a fresh cluster in a temporary folder, on a free port."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.demo.processes import Child, free_port


def _program(name: str) -> str:
    """Return where Debian keeps it (not on PATH), or what PATH finds."""
    for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True):
        return str(path)
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is missing: make test names the package")
    return found


def _as_another() -> list[str]:
    """PostgreSQL refuses to run as root: return the words that make it another user."""
    if os.geteuid() != 0:
        return []
    names = {u.pw_name for u in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]


class PostgreSQL:
    """`database()` makes an empty one and returns its URL."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sekisho-postgres-"))
        self.port = free_port()
        prefix = _as_another()
        if prefix:
            user = prefix[1].removeprefix("--reuid=")
            shutil.chown(self.folder, user)
        data = self.folder / "data"
        subprocess.run(
            [*prefix, _program("initdb"), "-D", str(data), "-U", "sekisho", "-A", "trust",
             "--no-sync", "-E", "UTF8"],
            check=True, capture_output=True, cwd="/",
        )
        argv = [*prefix, _program("postgres"), "-D", str(data), "-p", str(self.port),
                "-h", "127.0.0.1", "-k", str(self.folder), "-F"]
        self.child = Child("postgres", argv, self.folder.parent / f"{self.folder.name}.log")
        self.child.start()
        self.child.wait_until(lambda: self.sql("select 1") is not None, "answer")
        self.count = 0

    def sql(self, statement: str, database: str = "postgres") -> str | None:
        """Run one statement as the superuser; None when the server doesn't answer."""
        done = subprocess.run(
            [_psql(), "-h", "127.0.0.1", "-p", str(self.port), "-U", "sekisho", "-d", database,
             "-Atqc", statement],
            capture_output=True, text=True, timeout=10,
        )
        return done.stdout if done.returncode == 0 else None

    def database(self) -> str:
        self.count += 1
        name = f"test{self.count}"
        assert self.sql(f"create database {name}") is not None
        return f"postgresql://sekisho@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        self.child.stop(patience=5)
        with contextlib.suppress(OSError):
            self.child.log.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)


def _psql() -> str:
    return shutil.which("psql") or _program("psql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    yield server
    server.close()
