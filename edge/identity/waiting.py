"""A room where things wait for a while: few of each client network, so that whoever fills his own
places takes nobody else's."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Place:
    network: str
    pausing: asyncio.Future[None]
    sent_away: bool = False


class WaitingRoom:
    """`places` in all, `each` for one client network. Where all are taken, the newest of the
    network that has most of them goes for a newcomer."""

    def __init__(
        self, pause: Callable[[float], Awaitable[None]], *, each: int, places: int
    ) -> None:
        self._pause = pause
        self._each = each
        self._bound = places
        self._places: dict[str, _Place] = {}  # by name, in the order in which they came
        self._crowds: Counter[str] = Counter()  # network -> places

    def __len__(self) -> int:
        return len(self._places)

    async def wait(self, name: str, network: str, seconds: float) -> bool:
        """Wait so long; False at once when there is no room, or later when the place is lost.

        A name has one place: who comes again under it takes the place of the earlier."""
        if name in self._places:
            self._send_away(name)
        elif self._crowds[network] >= self._each or not self._room_for(network):
            return False
        place = _Place(network, asyncio.ensure_future(self._pause(seconds)))
        self._places[name] = place
        self._crowds[network] += 1
        try:
            await place.pausing
        except asyncio.CancelledError:
            if place.sent_away:
                return False
            raise
        finally:
            if not place.sent_away:
                self._leave(name)
        return True

    def _room_for(self, network: str) -> bool:
        """Make room for one more of this network where another has more than its share."""
        if len(self._places) < self._bound:
            return True
        crowded, most = self._crowds.most_common(1)[0]
        if most <= self._crowds[network] + 1:
            return False
        self._send_away(next(n for n, p in reversed(self._places.items()) if p.network == crowded))
        return True

    def _send_away(self, name: str) -> None:
        place = self._leave(name)
        place.sent_away = True
        place.pausing.cancel()

    def _leave(self, name: str) -> _Place:
        place = self._places.pop(name)
        self._crowds[place.network] -= 1
        if not self._crowds[place.network]:
            del self._crowds[place.network]
        return place
