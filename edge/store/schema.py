"""Bring a database to this release's tables in one transaction, or refuse it and change nothing."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from edge.store.errors import StoreRefused
from edge.store.tables import metadata

VERSIONS = "alembic_version"
# One upgrade at a time on PostgreSQL; the number is only ours. SQLite's write lock does the same.
UPGRADE_LOCK = 0x5E_15_40


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's settings for our own migrations, running on the given connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> str:
    """Migrate to the newest revision and return it; StoreRefused for a state that this release
    can't own.

    The caller's transaction holds everything, so a failure half-way leaves the database as it
    was."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": UPGRADE_LOCK})
    config = configuration(connection)
    scripts = ScriptDirectory.from_config(config)
    check_before(connection, scripts)
    command.upgrade(config, "head")
    check_shape(connection)
    return str(scripts.get_current_head())


def check_before(connection: Connection, scripts: ScriptDirectory) -> None:
    """Raise StoreRefused unless the database is empty or stands at a revision that we know."""
    found = set(inspect(connection).get_table_names())
    ours = found & set(metadata.tables)
    if VERSIONS not in found:
        if ours:
            raise StoreRefused(
                f"the database holds {', '.join(sorted(ours)[:3])} but no revision: "
                "half migrated, or not ours"
            )
        return
    rows: Any = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalars().all()  # noqa: S608
    if len(rows) != 1:
        if not rows and not ours:
            return
        raise StoreRefused(
            f"the database names {len(rows)} revisions where one belongs: half migrated"
        )
    known = {script.revision for script in scripts.walk_revisions()}
    if rows[0] not in known:
        raise StoreRefused(
            f"the database was migrated to revision {rows[0]} by a newer release than this one"
        )


def check_shape(connection: Connection) -> None:
    """Raise StoreRefused when a table or a column that we need is missing."""
    inspector = inspect(connection)
    found = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in found:
            raise StoreRefused(f"table {table.name} is missing: half migrated")
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        missing = {column.name for column in table.columns} - columns
        if missing:
            raise StoreRefused(
                f"table {table.name} lacks {', '.join(sorted(missing))}: half migrated"
            )
