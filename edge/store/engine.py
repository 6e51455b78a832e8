"""Opening a database: SQLite (WAL) or PostgreSQL, each with the settings that the store relies
on."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from edge.store.errors import StoreUnavailable

WAIT = 1.0  # seconds for a place in the pool, a lock or a connection; then StoreUnavailable
PATIENCE = 5.0  # seconds for one statement on PostgreSQL; for a turn at SQLite, which is never far


def async_url(url: str) -> Any:
    """Return the SQLAlchemy URL with its asyncio driver for sqlite://… or postgresql://…;
    ValueError otherwise."""
    parsed = make_url(url)
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgresql": "postgresql+asyncpg",
        "postgres": "postgresql+asyncpg",
    }
    backend = parsed.drivername.split("+")[0]
    if backend not in drivers:
        raise ValueError(f"state must be a sqlite:// or postgresql:// address, not {backend}://")
    return parsed.set(drivername=drivers[backend])


def create_engine(url: str) -> AsyncEngine:
    """Return an engine that begins every transaction itself; nothing is opened yet."""
    parsed = async_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_async_engine(
            parsed,
            pool_size=5,
            max_overflow=5,
            pool_timeout=WAIT,
            pool_pre_ping=True,
            pool_recycle=600,
            connect_args={"timeout": 2 * WAIT, "command_timeout": PATIENCE},
        )
    engine = create_async_engine(
        parsed, pool_size=4, max_overflow=0, pool_timeout=PATIENCE, connect_args={"timeout": WAIT}
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver of Python 3.11 would begin transactions when it likes, and never before DDL.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # an acknowledged change survives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")  # a deleted secret's bytes go, too
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        # IMMEDIATE: a transaction that will write takes the lock before it reads, so none fails
        # half-way.
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _insert_of(sqlite: bool) -> Any:
    """Return the dialect's own insert(): both have the same clause under two names."""
    if sqlite:
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert


UNAVAILABLE = (OSError, asyncio.TimeoutError, PoolTimeout, OperationalError, InterfaceError)


class Database:
    """Hands out transactions; turns every way of being unavailable into StoreUnavailable."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.insert = _insert_of(self.sqlite)  # insert() with ON CONFLICT
        # SQLite admits one writer; waiting here is fair, waiting in its busy handler is not.
        self._writing = asyncio.Lock() if self.sqlite else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction that only reads."""
        with unavailable():
            async with self.engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction that commits when the block ends well and is undone when it raises."""
        lock: AbstractAsyncContextManager[Any] = self._writing or nullcontext()
        async with lock:
            with unavailable():
                async with self.engine.connect() as connection:
                    await connection.execution_options(write=True)
                    async with connection.begin():
                        yield connection

    async def forget_deleted(self, tries: int) -> bool:
        """Let go of what transactions of before left in SQLite's write-ahead log; False while
        somebody who reads keeps it there. Each try waits WAIT. On PostgreSQL there is nothing that
        we could do: True."""
        if self._writing is None:
            return True
        for _ in range(tries):
            async with self._writing:
                with unavailable():
                    if await self._checkpoint():
                        return True
        return False

    async def _checkpoint(self) -> bool:
        async with self.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            # outside any transaction; the first column says whether somebody kept it from its end
            cursor = await raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            row = await cursor.fetchone()
            await cursor.close()
            return int(row[0]) == 0

    async def close(self) -> None:
        await self.engine.dispose()


class unavailable:
    """Raise StoreUnavailable for a database that is down, locked, full or slow; let all else
    through."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if error is None or not is_unavailable(error):
            return
        raise StoreUnavailable(str(getattr(error, "orig", None) or error)) from error


def is_unavailable(error: BaseException) -> bool:
    """Say whether the error means that the database can't be used now, rather than that we asked
    wrongly."""
    original = getattr(error, "orig", None)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OperationalError) and isinstance(original, sqlite3.OperationalError):
        # "no such table" and "syntax error" are our own mistakes and come under the same class
        text = str(original)
        return not any(ours in text for ours in ("no such", "syntax error", "has no column"))
    if _postgres_is_away(getattr(original, "__cause__", None)):
        return True
    if isinstance(error, SQLAlchemyError) and not isinstance(error, UNAVAILABLE):
        return False
    return isinstance(error, UNAVAILABLE)


def _postgres_is_away(cause: BaseException | None) -> bool:
    if not type(cause).__module__.startswith("asyncpg"):  # which only PostgreSQL needs loaded
        return False
    from asyncpg import exceptions

    away = (
        exceptions.InsufficientResourcesError,
        exceptions.OperatorInterventionError,
        exceptions.PostgresConnectionError,
        exceptions.ReadOnlySQLTransactionError,
        exceptions.LockNotAvailableError,
    )
    return isinstance(cause, away)
