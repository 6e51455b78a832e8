from collections.abc import Iterator

import pytest

from tests.security.checkpoint import Checkpoint, Twins, standing
from tests.security.federation import Federated


@pytest.fixture(scope="session")
def _checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checkpoint]:
    for one in standing(Checkpoint, tmp_path_factory):
        request.session._checkpoint = one                                 # type: ignore[attr-defined]
        yield one


@pytest.fixture(scope="module", autouse=True)
def _every_refusal_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """REJ of negative-cases.md ends with "one log line with a reason code": looked up once a module, because
    the log is written behind the requests."""
    yield
    one = getattr(request.session, "_checkpoint", None)
    if one is not None:
        assert one.unlogged() == []


@pytest.fixture
def checkpoint(_checkpoint: Checkpoint) -> Checkpoint:
    _checkpoint.clear()
    return _checkpoint


@pytest.fixture(scope="session")
def _twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    yield from standing(Twins, tmp_path_factory)


@pytest.fixture
def twins(_twins: Twins) -> Twins:
    _twins.clear()
    return _twins


@pytest.fixture(scope="session")
def _federated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federated]:
    yield from standing(Federated, tmp_path_factory)


@pytest.fixture
def federated(_federated: Federated) -> Federated:
    _federated.clear()
    return _federated
