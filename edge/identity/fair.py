"""A queue in which clients take turns: whoever puts in a thousand things delays his own."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out for each client, and one of each client in turn. Bounded."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._lines: dict[str, deque[T]] = {}  # by client; whose turn is next is first
        self._size = asyncio.Semaphore(0)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, client: str, thing: T) -> T | None:
        """Queue a thing; return the one that had to go for want of room: the newest of the client
        that has most of them, which may be this one."""
        gone = None
        if self._count >= self._bound:
            crowded = max(self._lines.values(), key=len)
            if len(crowded) <= len(self._lines.get(client, ())) + 1:
                return thing
            gone = crowded.pop()
        else:
            self._count += 1
            self._size.release()
        self._lines.setdefault(client, deque()).append(thing)
        return gone

    async def get(self) -> T:
        """Take the next thing, waiting until there is one."""
        await self._size.acquire()
        self._count -= 1
        client, line = next(iter(self._lines.items()))
        thing = line.popleft()
        del self._lines[client]
        if line:
            self._lines[client] = line
        return thing
