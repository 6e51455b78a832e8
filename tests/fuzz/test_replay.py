"""Every corpus is replayed in every run, with a short burst of mutations behind it."""

import pytest

from tests.fuzz.engine import Target, mutations, names


@pytest.mark.parametrize("name", names())
def test_corpus_and_a_burst(name: str) -> None:
    target = Target(name)
    ran = 0
    for data in mutations(target, 3000, seed=1):
        target.fuzz(data)   # raises where the target's invariant is broken
        ran += 1
    assert ran >= len(target.seeds())
