"""The queue in which clients take turns."""

import asyncio

from edge.identity.fair import FairQueue


async def test_clients_take_turns() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for thing in ("a1", "a2", "a3", "b1", "c1", "b2"):
        assert queue.put(thing[0], thing) is None
    assert [await queue.get() for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


async def test_whoever_has_most_loses_the_newest() -> None:
    queue: FairQueue[str] = FairQueue(4)
    for thing in ("a1", "a2", "a3", "b1"):
        queue.put(thing[0], thing)
    assert queue.put("a", "a4") == "a4"
    assert queue.put("b", "b2") == "a3"
    assert queue.put("c", "c1") == "a2"
    assert len(queue) == 4
    assert {await queue.get() for _ in range(4)} >= {"a1", "b1", "c1"}


async def test_get_waits() -> None:
    queue: FairQueue[str] = FairQueue(1)
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.put("a", "a1")
    assert await waiting == "a1"
    gone = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    queue.put("a", "a2")
    assert await queue.get() == "a2" and len(queue) == 0
