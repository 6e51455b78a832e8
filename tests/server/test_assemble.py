"""Where a configuration is built: beside the loop, behind the requests, out of the collector."""

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.server.assemble import NICE, _give_way, _uncollected


def test_only_the_building_thread_gives_way():
    with ThreadPoolExecutor(1, initializer=_give_way) as builder:
        nice = builder.submit(
            lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        ).result()
    assert nice == NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) != nice


def test_the_collector_is_off_during_a_build_and_on_after_it():
    assert gc.isenabled()
    assert _uncollected(gc.isenabled) is False
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        _uncollected(lambda: 1 // 0)
    assert gc.isenabled()


def test_what_was_built_is_freed_when_it_is_replaced_and_keeps_nothing_frozen():
    try:
        made = _uncollected(lambda: [[n] for n in range(10_000)])
        frozen = gc.get_freeze_count()
        for _ in range(3):
            made = _uncollected(lambda: [[n] for n in range(10_000)])
        assert len(made) == 10_000
        assert gc.get_freeze_count() < frozen + 5_000
    finally:
        gc.unfreeze()
