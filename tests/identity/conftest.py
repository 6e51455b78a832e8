"""A store and keys for the tests of this room; time moves by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.identity.keys import KeyStore
from edge.identity.master_key import MasterKey
from edge.store import Store
from tests.kit.sign_in import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/state.db")
    yield opened
    await opened.close()


@pytest.fixture
def master() -> MasterKey:
    return MasterKey.generate()


@pytest.fixture
async def keys(store: Store, master: MasterKey, clock: ManualClock) -> KeyStore:
    return await KeyStore.open(store, master, clock=clock)
