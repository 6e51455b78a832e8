"""Where slow tries wait: few per sign-in and per client network, so that whoever fills his own
places takes nobody else's."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MAX_SLOW_NETWORK = 32  # tries of one client network that wait; over it: its next one is sent away
# tries that wait in all; over it: the newest try of the network that has most of them is sent away
MAX_SLOW = 1_000


@dataclass(slots=True, eq=False)
class _Place:
    network: str
    pausing: asyncio.Future[None]
    sent_away: bool = False


class WaitingRoom:
    """Lets tries pause at the same time, within the bounds above."""

    def __init__(self, pause: Callable[[float], Awaitable[None]]) -> None:
        self._pause = pause
        self._places: dict[str, _Place] = {}  # by flow, in the order in which they came
        self._crowds: Counter[str] = Counter()  # network -> places

    def __len__(self) -> int:
        return len(self._places)

    async def wait(self, flow: str, network: str, seconds: float) -> bool:
        """Wait so long; False at once when there is no room, or later when the place is lost.

        A flow has one place: a later try of it takes the place of the earlier, whose answer nobody
        reads any more (the button was pressed twice)."""
        if flow in self._places:
            self._send_away(flow)
        elif self._crowds[network] >= MAX_SLOW_NETWORK or not self._room_for(network):
            return False
        place = _Place(network, asyncio.ensure_future(self._pause(seconds)))
        self._places[flow] = place
        self._crowds[network] += 1
        try:
            await place.pausing
        except asyncio.CancelledError:
            if place.sent_away:
                return False
            raise
        finally:
            if not place.sent_away:
                self._leave(flow)
        return True

    def _room_for(self, network: str) -> bool:
        """Make room for one more of this network where another has more than its share."""
        if len(self._places) < MAX_SLOW:
            return True
        crowded, most = self._crowds.most_common(1)[0]
        if most <= self._crowds[network] + 1:
            return False
        self._send_away(next(f for f, p in reversed(self._places.items()) if p.network == crowded))
        return True

    def _send_away(self, flow: str) -> None:
        place = self._leave(flow)
        place.sent_away = True
        place.pausing.cancel()

    def _leave(self, flow: str) -> _Place:
        place = self._places.pop(flow)
        self._crowds[place.network] -= 1
        if not self._crowds[place.network]:
            del self._crowds[place.network]
        return place
