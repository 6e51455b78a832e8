"""A clock for durations: it follows the wall clock forward and never goes back."""

import time
from collections.abc import Callable


class SteadyClock:
    """Unix seconds that only grow. Set back, the wall clock would lengthen every code and
    session."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._base = wall()
        self._since = monotonic()

    def __call__(self) -> float:
        elapsed, wall = self._monotonic() - self._since, self._wall()
        now = max(self._base + elapsed, wall)
        if now == wall:  # it was set forward: go on from there
            self._base, self._since = wall, self._since + elapsed
        return now
