from collections.abc import Iterator

import pytest

from tests.security.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def _checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    one = Checkpoint(tmp_path_factory.mktemp("checkpoint"))
    yield one
    one.close()


@pytest.fixture
def checkpoint(_checkpoint: Checkpoint) -> Checkpoint:
    _checkpoint.clear()
    return _checkpoint
