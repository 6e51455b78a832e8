"""The doors for Python: what they refuse, and that the benchmark's repeat the same decision."""

import pytest

from _fastpath.explain import find_repeatedly, judge, judge_repeatedly
from tests.fastpath.test_policy import ADA, ALLOW_ADA, HOST
from tests.kit.policy_cases import application, compiled


def test_a_fact_that_does_not_exist_is_refused() -> None:
    shot = compiled(applications=[application([ALLOW_ADA])])
    with pytest.raises(ValueError, match="no such fact: mail"):
        judge(shot, HOST, "/", {"mail": "a@b.c"})


def test_repetition_for_the_benchmark() -> None:
    shot = compiled(applications=[application([ALLOW_ADA])])
    assert judge_repeatedly(shot, HOST, "/", ADA, 10) == 10
    assert judge_repeatedly(shot, HOST, "/", {}, 10) == 0
    assert find_repeatedly(shot, HOST, "/", 10) == 10
    assert find_repeatedly(shot, "x.example.com", "/", 10) == 0
