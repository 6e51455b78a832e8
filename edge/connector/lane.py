"""One of the connector's links, kept up for ever: dial, register, announce, wait, again.

Back-off is random in [0, 1 s x 2^n], n <= 3, for ever; the first dial is at once, the first one
after a loss within 1 s. The edge says which of its workers a link ended in; a link that covers no
new worker is dialled again (at most REDIALS times in a row) while workers are still uncovered.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from _fastpath.dialled import DialledLink
from _fastpath.errors import WireError
from _fastpath.inbound import Inbound
from edge.connector.dial import DialFailed
from edge.connector.enrol import EnrolmentFailed
from edge.connector.tables import Numbered
from edge.wire import messages as wire
from edge.wire.errors import BadMessage
from edge.wire.framing import pack, unpack

if TYPE_CHECKING:
    from _fastpath.endpoint import Pipe

log = logging.getLogger("sekisho.connector")

MAX_EXPONENT = 3  # of the back-off: at most 8 s
REDIALS = 8  # dials in a row that look for a worker without a link
REDIAL_APART = 0.1  # seconds between two of them, at random up to this
ANSWER_TIMEOUT = 10.0  # seconds that the edge has to answer register
LONGEST = 2.0**MAX_EXPONENT
SETTLED = 1.0  # seconds that a link was up; before that, “leave” is no reason to hurry
MAX_GRACE = 300.0  # seconds that the edge may ask a link to stay for the streams on it


class LaneFailed(Exception):
    """The link didn't come up; the sentence says why."""


# what a failed attempt raises; anything else is a bug and ends the lane
FAILURES = (LaneFailed, DialFailed, EnrolmentFailed, OSError, WireError)


class House(Protocol):
    """What a lane needs of the daemon."""

    tunnel: str
    replica: str
    software: str

    async def dial(self) -> Pipe: ...
    def table(self) -> Numbered | None: ...
    def serve(self, link: DialledLink, inbound: Inbound) -> None: ...
    def configure(self, lane: Lane, pushed: wire.Config) -> None: ...
    def certified(self, message: wire.Certificate) -> None: ...
    def covers_new(self, lane: Lane, slot: int, slots: int) -> bool: ...
    def unrouted(self, hostnames: tuple[str, ...]) -> None: ...
    def changed(self) -> None: ...


class Lane:
    """One place for a link; `link` is the live one or None."""

    def __init__(
        self,
        number: int,
        house: House,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.number = number
        self.house = house
        self.clock = clock
        self.chance = chance
        self.link: DialledLink | None = None
        self.accepted: wire.Accepted | None = None
        self.acknowledged = 0  # table version that the edge matches by
        self.refusal: wire.Refused | None = None
        self.last_loss = ""
        self.leaving = False  # the edge asked us to go elsewhere
        self._old: tuple[DialledLink, float] | None = None  # serves until the next one does
        self._answer: asyncio.Future[None] | None = None
        self._over: asyncio.Event = asyncio.Event()
        self._failures = 0
        self._redials = 0
        self._hurry = asyncio.Event()
        self._up_since = 0.0  # monotonic

    # -- the life of a lane ------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a link up until cancelled."""
        while True:
            try:
                await self._once()
            except FAILURES as error:
                self._failures += 1
                log.warning("link %d: %s", self.number, error)
            await self._wait()

    async def _once(self) -> None:
        """Dial, register, and stay until the link is lost or asked to leave."""
        self.refusal = None
        self.leaving = False
        pipe = await self.house.dial()
        link = DialledLink(asyncio.get_running_loop(), self)
        self._over.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self.link = link
        link.begin(pipe)
        self._up_since = time.monotonic()
        link.send(
            pack(
                wire.Register(
                    wire.VERSIONS,
                    self.house.tunnel,
                    self.house.replica,
                    self.house.software,
                    self.clock(),
                    self.last_loss,
                )
            )
        )
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._answer
        except TimeoutError:
            link.abort("link-timeout")
            raise LaneFailed("the edge didn't answer register") from None
        except asyncio.CancelledError:
            link.abort("draining")
            raise
        if self.link is not link or self.accepted is None:
            # what accepted us sent us away or closed in the same breath
            raise LaneFailed(f"accepted, and at once {self.last_loss or 'lost'}")
        await self._stay(link, self.accepted)

    async def _stay(self, link: DialledLink, accepted: wire.Accepted) -> None:
        if not self.house.covers_new(self, accepted.slot, accepted.slots):
            self._redials += 1
            if self._redials <= REDIALS:
                link.close("link-goaway")
                await self._over.wait()
                await asyncio.sleep(self.chance(0.0, REDIAL_APART))
                self._hurry.set()
                return
        self._redials = 0
        log.info(
            "link %d is up (worker %d of %d)", self.number, accepted.slot + 1, accepted.slots
        )
        self.announce()
        link.ping()
        await self._over.wait()
        if time.monotonic() - self._up_since >= SETTLED:
            self._failures = 0
        if not self.leaving:
            log.warning("link %d lost: %s", self.number, self.last_loss)

    async def _wait(self) -> None:
        """Wait before the next dial, as long as the last failure asks for."""
        refusal = self.refusal
        if self._hurry.is_set():
            self._hurry.clear()
            return
        if refusal is not None and refusal.final:
            log.error("link %d refused for good: %s: %s", self.number, refusal.reason, refusal.text)
            pause = LONGEST / 2 + self.chance(0.0, LONGEST / 2)
        else:
            pause = self.chance(0.0, 2.0 ** min(self._failures, MAX_EXPONENT))
            if refusal is not None:
                pause = max(pause, min(refusal.retry_after, 60.0))
        try:
            async with asyncio.timeout(pause):
                await self._hurry.wait()
            self._hurry.clear()
        except TimeoutError:
            pass

    def hurry(self) -> None:
        """Dial now instead of at the end of the pause; a link that is up is measured."""
        self._hurry.set()
        if self.link is not None:
            self.link.ping()

    # -- the link calls us -------------------------------------------------------------------------

    def message(self, link: DialledLink, body: bytes) -> None:
        """Take one message of the edge."""
        if link is not self.link:
            return
        try:
            message = unpack(body)
        except BadMessage as error:
            log.warning("link %d: %s", self.number, error)
            link.close("link-protocol")
            return
        if message is not None:
            self._take(link, message)

    def _take(self, link: DialledLink, message: wire.Message) -> None:
        if isinstance(message, wire.Accepted):
            self.accepted = message
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(None)
        elif isinstance(message, wire.Refused):
            self.refusal = message
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(LaneFailed(f"{message.reason}: {message.text}"))
            link.close("link-refused")
        elif isinstance(message, wire.TableAccepted):
            self.acknowledged = message.version
            self._part()
            self.house.unrouted(message.unrouted)
            self.house.changed()
        elif isinstance(message, wire.TableRefused):
            log.error("table %d refused: %s: %s", message.version, message.reason, message.text)
        elif isinstance(message, wire.Config):
            self.house.configure(self, message)
        elif isinstance(message, wire.Certificate):
            self.house.certified(message)
        elif isinstance(message, wire.Drain):
            self.depart(sent_away=True)  # the edge is stopping
            # It closes the link when the streams have ended; we do when it doesn't.
            asyncio.get_running_loop().call_later(
                min(max(message.seconds, 0.0), MAX_GRACE) + 5.0, link.close, "link-goaway"
            )

    def stream(self, link: DialledLink, inbound: Inbound) -> None:
        """Serve a stream that the edge opened."""
        self.house.serve(link, inbound)

    def lost(self, link: DialledLink, reason: str) -> None:
        """Note the loss; `run` goes on from there."""
        if link is not self.link:
            return
        self.link = None
        self.accepted = None
        self.acknowledged = 0
        self.last_loss = reason
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LaneFailed(f"closed by the edge: {reason}"))
        self._over.set()
        self.house.changed()

    # -- said to the edge --------------------------------------------------------------------------

    def announce(self) -> None:
        """Tell the edge the current table."""
        table = self.house.table()
        if table is not None and self.link is not None and self.accepted is not None:
            self.link.send(pack(wire.Table(table.version, table.entries(), table.owner)))

    def send(self, message: wire.Message) -> None:
        """Send one message on the live link, if there is one."""
        if self.link is not None:
            self.link.send(pack(message))

    def move(self, grace: float) -> None:
        """Dial another link, and leave this one when the other serves."""
        if self.link is not None and self._old is None:
            self._old = self.link, grace
            self.depart()

    def links(self) -> list[DialledLink]:
        """Return the live links of this lane: two while it moves."""
        both = [self.link, self._old[0] if self._old is not None else None]
        return [one for one in both if one is not None and not one.lost]

    def _part(self) -> None:
        if self._old is None:
            return
        old, grace = self._old
        self._old = None
        old.send(pack(wire.Drain(grace, "moved")))
        asyncio.get_running_loop().call_later(grace, old.close, "link-goaway")

    def depart(self, sent_away: bool = False) -> None:
        """Let the streams end on the old link, and dial another one at once."""
        if self.link is None:
            return
        self.leaving = True
        self.link = None
        self.accepted = None
        self.acknowledged = 0
        self.last_loss = "draining"
        if sent_away and time.monotonic() - self._up_since < SETTLED:
            self._failures += 1  # an edge that sends everybody away would be dialled in a loop
        else:
            self._hurry.set()
        self._over.set()
        self.house.changed()

    @property
    def ready(self) -> bool:
        """True when the edge acknowledged the link and the current table."""
        table = self.house.table()
        return (
            self.accepted is not None and table is not None and self.acknowledged == table.version
        )
