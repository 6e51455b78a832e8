"""One-time PIN: a code by mail, typed in the browser that asked for it.

Guessing is bounded from four sides: five tries a code, five mails an hour and address, failures
that count per address and per client network and outlive a new code, and failures over the
installation. Nobody's try is refused for what a stranger did: over a budget, browsers that haven't
signed in before wait ten seconds a try, each in a place that strangers can't take. Mails are
another matter, since each one that a stranger asks for lands with the person: one client network
can't use up what a mailbox gets in an hour, several can, all but the last, which is for known
browsers. A listed and an unlisted address cause the same work and see the same pages."""

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge.identity.address import mailbox
from edge.identity.audit import Audit
from edge.identity.keys import KeyStore
from edge.identity.waiting import WaitingRoom
from edge.store import Flow, PinRow, Store

LIFE = 600  # seconds that a code is good; over it: it is dead
TRIES = 5  # tries of one code; over it: it is dead
MAILS = 5  # mails to one mailbox in an hour, the last for known browsers; over it: none
MAILS_NETWORK = 3  # of them that unknown browsers of one client network cause; over it: none there
WINDOW = 60  # minutes over which failures and mails count
FAILURES_ADDRESS = 10  # wrong codes for one mailbox in an hour; over it: unknown browsers wait
FAILURES_NETWORK = 30  # wrong codes from one client network in an hour; over it: the same there
FAILURES_ALL = 40  # wrong codes in an hour; over it: alarm, unknown browsers wait, 8 digits
SLOW = 10.0  # seconds that a try takes then
MAX_SLOW_NETWORK = 32  # such tries of one client network at once; over it: its next is sent away
MAX_SLOW = 1_000  # of them in all; over it: the newest of the network with most of them goes
FRESH = 1.0  # seconds that a count of failures is good for; a failure here renews it at once
DEVICE_LIFE = 30 * 86400  # seconds that a browser stays known
SHORT, LONG = 6, 8  # digits

RIGHT, WRONG, DEAD, LONGER, MALFORMED, BUSY = (
    "right",
    "wrong",
    "dead",
    "longer",
    "malformed",
    "busy",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A code that was made; `mail` says whether it may be sent."""

    code: str
    digits: int
    mail: bool

    def __repr__(self) -> str:
        return f"Asked(digits={self.digits}, mail={self.mail})"


def new_code(digits: int) -> str:
    """Return a uniformly random code."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


class OneTimePin:
    def __init__(
        self,
        store: Store,
        keys: KeyStore,
        audit: Audit,
        clock: Callable[[], float],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._keys = keys
        self._audit = audit
        self._clock = clock
        self._waiting = WaitingRoom(pause, each=MAX_SLOW_NETWORK, places=MAX_SLOW)
        self._alarmed = False
        self._counted_at = float("-inf")  # when failures were last counted

    @property
    def alarmed(self) -> bool:
        """What alarm() last said, a few minutes ago at most: for the monitor."""
        return self._alarmed

    async def alarm(self) -> bool:
        """Say whether there were more failures in the last hour than people make."""
        now = self._clock()
        if now - self._counted_at < FRESH:
            return self._alarmed
        failures = await self._store.counters.total("pin-failure", "*", now, WINDOW)
        self._counted_at = now
        alarmed = failures > FAILURES_ALL
        if alarmed and not self._alarmed:
            self._audit.record("pin-alarm", reason="pin-failures", count=failures)
        self._alarmed = alarmed
        return alarmed

    async def ask(self, flow: Flow, address: str, *, listed: bool, known: bool) -> Asked:
        """Make the flow's code, which replaces an older one, and say whether to mail it.

        For an address that isn't listed the same rows are written, with a digest that no code
        has."""
        now = int(self._clock())
        digits = LONG if await self.alarm() else SHORT
        code = new_code(digits)
        budgets = [("pin-mail", self._address(address), MAILS if known else MAILS - 1)]
        if not known:
            pair = self._keys.digest("address-network", mailbox(address), flow.network)
            budgets.append(("pin-mail-network", pair, MAILS_NETWORK))
        room = await self._store.counters.take(now, WINDOW, *budgets)
        digest = self._digest(flow.id, code) if listed and room else secrets.token_hex(32)
        if room or await self._store.pins.get(flow.id) is None:
            await self._store.pins.put(flow.id, digest, digits, now, min(now + LIFE, flow.expires))
        return Asked(code, digits, mail=listed and room)

    async def known(self, device: str | None, address: str) -> bool:
        """Say whether this browser signed in as this address within 30 days."""
        if device is None:
            return False
        return await self._store.pins.device_known(
            self._keys.digest("device", device), self._address(address), int(self._clock())
        )

    async def verify(self, flow: Flow, address: str, typed: str, *, known: bool) -> str:
        """Try a code; one of RIGHT, WRONG, DEAD (no try left on it), LONGER (a longer one is
        needed), MALFORMED, BUSY (nothing was tried). RIGHT comes once a code, whoever else tries at
        the same time."""
        code = typed.strip(" \t\r\n")
        if not (code.isascii() and code.isdigit() and len(code) in (SHORT, LONG)):
            return MALFORMED
        if self._dead(await self._store.pins.get(flow.id)):
            return DEAD  # at once: what can't come right takes nobody's place
        if not known:
            alarm = await self.alarm()
            slow = alarm or await self._over_budget(flow.network, address)
            if slow and not await self._waiting.wait(flow.id, flow.network, SLOW):
                return BUSY  # or the button was pressed again: that try counts
            row = await self._store.pins.get(flow.id)
            if alarm and row is not None and row.digits == SHORT:
                return LONGER
        tried = await self._store.pins.count_try(flow.id, TRIES, int(self._clock()))
        if tried is None:
            return DEAD
        if not hmac.compare_digest(tried.digest, self._digest(flow.id, code)):
            await self._store.counters.add(
                self._clock(),
                ("pin-failure-address", self._address(address)),
                ("pin-failure-network", flow.network),
                ("pin-failure", "*"),
            )
            self._counted_at = float("-inf")
            await self.alarm()
            return WRONG if tried.tries < TRIES else DEAD
        if not await self._store.pins.use(flow.id, tried.digest, int(self._clock())):
            return DEAD
        await self._store.counters.forget("pin-failure-address", self._address(address))
        return RIGHT

    async def remember(self, device: str, address: str) -> None:
        """Know this browser for 30 days."""
        await self._store.pins.know_device(
            self._keys.digest("device", device),
            self._address(address),
            int(self._clock()) + DEVICE_LIFE,
        )

    def _dead(self, row: PinRow | None) -> bool:
        """Say whether no try on this code can be right: count_try() says so too, and for good."""
        return (
            row is None
            or row.used is not None
            or row.tries >= TRIES
            or row.expires <= int(self._clock())
        )

    async def _over_budget(self, network: str, address: str) -> bool:
        now = self._clock()
        counters = self._store.counters
        by_address = await counters.total(
            "pin-failure-address", self._address(address), now, WINDOW
        )
        by_network = await counters.total("pin-failure-network", network, now, WINDOW)
        return by_address > FAILURES_ADDRESS or by_network > FAILURES_NETWORK

    def _digest(self, flow: str, code: str) -> str:
        return self._keys.digest("pin", flow, code)

    def _address(self, address: str) -> str:
        """Return what an address is counted under: a digest, so that a dump lists nobody (O13)."""
        return self._keys.digest("address", mailbox(address))
