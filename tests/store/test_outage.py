"""PostgreSQL going away under a running store: unavailable at once, well again when it is back."""

import time
from collections.abc import Iterator

import pytest

from edge.store import Store, StoreUnavailable
from tests.kit.postgres import PostgreSQL


@pytest.fixture
def mortal() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    yield server
    server.close()


async def test_connections_cut_then_server_gone(mortal: PostgreSQL) -> None:
    """Faults: PostgreSQL fails over → recovered by the next call; down → StoreUnavailable in
    seconds."""
    store = await Store.open(mortal.database())
    assert await store.sessions.raise_application_epoch("a") == 1
    mortal.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
    )
    for _ in range(3):
        try:
            await store.sessions.raise_application_epoch("a")
            break
        except StoreUnavailable:
            continue
    else:
        raise AssertionError("a cut connection was not replaced")
    mortal.child.stop(patience=0.5)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.sessions.raise_application_epoch("a")
    with pytest.raises(StoreUnavailable):
        await store.sessions.application_epoch("a")
    assert time.monotonic() - began < 10
    await store.close()
