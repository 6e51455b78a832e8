"""What a worker asks control, and waits for: bounded in number and time."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

MAX_OPEN = 1000  # questions without an answer; over it the next is answered None at once
LIMIT = 5.0  # seconds; then the answer is None


class Questions:
    """Pairs answers with questions. None means: no answer, whatever was asked stays unknown."""

    def __init__(self, send: Callable[[dict[str, Any]], bool]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[dict[str, Any] | None]] = {}

    async def ask(self, ask: dict[str, Any]) -> dict[str, Any] | None:
        """Return control's answer, or None when it is away, too busy or says so."""
        if len(self._open) >= MAX_OPEN:
            return None
        number = next(self._numbers)
        if not self._send({"t": "question", "id": number, "ask": ask}):
            return None
        future: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        try:
            async with asyncio.timeout(LIMIT):
                return await future
        except TimeoutError:
            return None
        finally:
            self._open.pop(number, None)

    def answered(self, number: int, facts: dict[str, Any] | None) -> None:
        future = self._open.get(number)
        if future is not None and not future.done():
            future.set_result(facts)

    def cut(self) -> None:
        """Control is gone, and the answers with it."""
        for future in self._open.values():
            if not future.done():
                future.set_result(None)
