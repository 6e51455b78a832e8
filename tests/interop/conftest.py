"""The peers as fixtures: one that isn't there fails in CI and skips on somebody's laptop."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.kit import yamux_peers


def peer(find: Callable[[], list[str]]) -> list[str]:
    try:
        return find()
    except yamux_peers.Missing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"missing peer: {missing}")
        pytest.skip(f"missing peer: {missing}")


@pytest.fixture(scope="session")
def hashicorp() -> list[str]:
    return peer(yamux_peers.hashicorp)


@pytest.fixture(scope="session")
def chainsafe() -> list[str]:
    return peer(yamux_peers.chainsafe)
