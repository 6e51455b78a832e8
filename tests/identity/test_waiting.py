"""The waiting room of slow tries: nobody's tries take the places of somebody else."""

import asyncio

from edge.identity.waiting import WaitingRoom


class Doors:
    """A pause that ends when the test opens the door."""

    def __init__(self, *, each: int = 5, places: int = 100) -> None:
        self.open = asyncio.Event()
        self.room = WaitingRoom(self.pause, each=each, places=places)
        self.tasks: list[asyncio.Task[bool]] = []

    async def pause(self, seconds: float) -> None:
        assert seconds == 10.0
        await self.open.wait()

    async def come(self, flow: str, network: str) -> asyncio.Task[bool]:
        task = asyncio.get_running_loop().create_task(self.room.wait(flow, network, 10.0))
        self.tasks.append(task)
        for _ in range(3):
            await asyncio.sleep(0)
        return task

    async def outcomes(self) -> list[bool]:
        self.open.set()
        return await asyncio.gather(*self.tasks)


async def test_one_network_fills_its_own_places_only() -> None:
    doors = Doors()
    crowd = [await doors.come(f"flow{n}", "a") for n in range(5)]
    refused = await doors.come("one-more", "a")
    assert refused.done() and refused.result() is False
    other = await doors.come("other", "b")
    assert not other.done() and not any(task.done() for task in crowd)
    assert await doors.outcomes() == [True] * len(crowd) + [False, True]
    assert len(doors.room) == 0


async def test_a_later_try_of_a_flow_takes_the_place_of_the_earlier() -> None:
    """Pressing twice is one place, and it is the second answer that the person sees."""
    doors = Doors()
    first = await doors.come("flow", "a")
    second = await doors.come("flow", "a")
    assert first.done() and first.result() is False and not second.done()
    assert len(doors.room) == 1
    assert await doors.outcomes() == [False, True]
    assert len(doors.room) == 0


async def test_a_newcomer_displaces_a_crowd() -> None:
    """When all places are taken the newest of whoever has most of them goes."""
    doors = Doors(places=6)
    for n in range(4):
        await doors.come(f"a{n}", "a")
    for n in range(2):
        await doors.come(f"b{n}", "b")
    await doors.come("c0", "c")  # in the place of a3
    await doors.come("c1", "c")  # in the place of a2
    await doors.come("c2", "c")  # nobody has more than a third by now
    assert await doors.outcomes() == [True, True, False, False, True, True, True, True, False]


async def test_whoever_leaves_gives_the_place_back() -> None:
    doors = Doors()
    crowd = [await doors.come(f"flow{n}", "a") for n in range(5)]
    crowd[0].cancel()
    await asyncio.wait([crowd[0]])
    assert crowd[0].cancelled()
    doors.tasks.remove(crowd[0])
    late = await doors.come("late", "a")
    assert not late.done()
    assert await doors.outcomes() == [True] * 5
