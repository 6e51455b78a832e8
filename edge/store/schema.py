"""Bring a database to this release's tables in one transaction, or refuse it and change nothing."""

from typing import Any

from sqlalchemy import Connection, inspect, text

from edge.store.errors import StoreRefused
from edge.store.tables import metadata

# Every revision that this release knows, oldest first; a test compares with the migrations.
REVISIONS = ("0001",)
VERSIONS = "alembic_version"
# One upgrade at a time on PostgreSQL; the number is only ours. SQLite's write lock does the same.
UPGRADE_LOCK = 0x5E_15_40


def upgrade(connection: Connection) -> str:
    """Migrate to the newest revision and return it; StoreRefused for a state that this release
    can't own.

    The caller's transaction holds everything, so a failure half-way leaves the database as it
    was."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": UPGRADE_LOCK})
    if standing(connection) != REVISIONS[-1]:
        from edge.store.migrate import migrate  # Alembic: a sixth of a start, once in a release

        migrate(connection)
    check_shape(connection)
    return REVISIONS[-1]


def standing(connection: Connection) -> str | None:
    """Return the revision at which the database stands, None for an empty one; StoreRefused for
    any that we don't know."""
    found = set(inspect(connection).get_table_names())
    ours = found & set(metadata.tables)
    if VERSIONS not in found:
        if ours:
            raise StoreRefused(
                f"the database holds {', '.join(sorted(ours)[:3])} but no revision: "
                "half migrated, or not ours"
            )
        return None
    rows: Any = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalars().all()  # noqa: S608
    if len(rows) != 1:
        if not rows and not ours:
            return None
        raise StoreRefused(
            f"the database names {len(rows)} revisions where one belongs: half migrated"
        )
    if rows[0] not in REVISIONS:
        raise StoreRefused(
            f"the database was migrated to revision {rows[0]} by a newer release than this one"
        )
    return str(rows[0])


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
