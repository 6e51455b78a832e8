"""Migrations: one transaction, exactly the tables that the code names, refusal of every other
state."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from edge.store import Store, StoreRefused, StoreUnavailable, migrate, schema
from edge.store.engine import Database
from edge.store.tables import metadata


async def tables(url: str) -> set[str]:
    database = Database(url)
    async with database.read() as connection:
        found = await connection.run_sync(lambda c: set(inspect(c).get_table_names()))
    await database.close()
    return found


async def run(url: str, *statements: str) -> None:
    database = Database(url)
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await database.close()


async def test_migrations_make_what_the_code_names(url: str) -> None:
    await (await Store.open(url)).close()
    database = Database(url)

    def differences(connection: Any) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return list(compare_metadata(context, metadata))

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_opening_again_changes_nothing(url: str) -> None:
    for _ in range(2):
        await (await Store.open(url)).close()


async def test_newer_release(url: str) -> None:
    await (await Store.open(url)).close()
    await run(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreRefused, match="newer release"):
        await Store.open(url)


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE alembic_version",
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('0000')",
        "DROP TABLE pins",
        "ALTER TABLE accounts DROP COLUMN epoch",
    ],
)
async def test_half_migrated(url: str, damage: str) -> None:
    await (await Store.open(url)).close()
    await run(url, damage)
    with pytest.raises(StoreRefused):
        await Store.open(url)


async def test_somebody_elses_tables(url: str) -> None:
    """A database with a table of our name but no revision is not taken over."""
    await run(url, "CREATE TABLE accounts (id integer)")
    with pytest.raises(StoreRefused, match="not ours"):
        await Store.open(url)
    assert await tables(url) == {"accounts"}


async def test_a_failure_half_way_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DDL is undone with the rest: what failed once can be tried again."""
    create, count = op.create_table, 0

    def failing(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            raise RuntimeError("power cut")
        return create(*arguments, **named)

    monkeypatch.setattr(op, "create_table", failing)
    with pytest.raises(RuntimeError):
        await Store.open(url)
    monkeypatch.undo()
    assert await tables(url) == set()
    await (await Store.open(url)).close()


async def test_killed_in_the_middle(tmp_path: Any) -> None:
    """A process that dies inside the migration leaves a database that the next one can migrate."""
    url = f"sqlite:///{tmp_path}/state.db"
    script = (
        "import asyncio, os\nfrom alembic import op\nfrom edge.store import Store\n"
        "create = op.create_table\n"
        "def dying(name, *a, **k):\n"
        "    if name == 'handoffs': os._exit(9)\n"
        "    return create(name, *a, **k)\n"
        f"op.create_table = dying\nasyncio.run(Store.open({url!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=60)
    assert done.returncode == 9
    assert await tables(url) == set()
    await (await Store.open(url)).close()


async def test_database_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailable):
        await Store.open("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        await Store.open("sqlite:////nonexistent-folder/state.db")


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="sqlite"):
        Database("mysql://x/y")


def test_configuration_points_at_our_migrations() -> None:
    assert migrate.configuration().get_main_option("script_location", "").endswith("migrations")


def test_every_revision_is_in_the_list() -> None:
    scripts = ScriptDirectory.from_config(migrate.configuration())
    found = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS


def test_a_start_at_the_newest_revision_needs_no_migrations(tmp_path: Path) -> None:
    """Neither Alembic nor a provider's libraries: control is back sooner after a fall."""
    program = """
import asyncio, sys
from edge.store import Store
async def main():
    await (await Store.open(sys.argv[1])).close()
asyncio.run(main())
import edge.server.control
print([name for name in ("alembic", "authlib", "httpx2", "asyncpg") if name in sys.modules])
"""
    for imported in ("['alembic']", "[]"):
        done = subprocess.run(
            [sys.executable, "-c", program, f"sqlite:///{tmp_path}/state.db"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == imported
