"""The edge's database, behind one facade: `await Store.open(url)`, then one attribute per kind
of row."""

from edge.store.accounts import Account, Accounts
from edge.store.counters import Counters
from edge.store.engine import Database
from edge.store.errors import NameTaken, StoreError, StoreRefused, StoreUnavailable
from edge.store.events import Event, Events
from edge.store.flows import Flow, Flows
from edge.store.keys import KeyRow, Keys
from edge.store.objects import Objects, Thing
from edge.store.pins import PinRow, Pins
from edge.store.revocations import RevocationRow, Revocations
from edge.store.schema import upgrade
from edge.store.service_tokens import ServiceTokenRow, ServiceTokens
from edge.store.sessions import ApplicationSessionRow, Handoff, SessionRow, Sessions

__all__ = [
    "Account",
    "ApplicationSessionRow",
    "Event",
    "Flow",
    "Handoff",
    "KeyRow",
    "NameTaken",
    "PinRow",
    "RevocationRow",
    "ServiceTokenRow",
    "SessionRow",
    "Store",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "Thing",
]


class Store:
    """Everything that outlives a process. Only control and the command line's `init` open it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = Keys(database)
        self.accounts = Accounts(database)
        self.sessions = Sessions(database)
        self.flows = Flows(database)
        self.pins = Pins(database)
        self.counters = Counters(database)
        self.service_tokens = ServiceTokens(database)
        self.revocations = Revocations(database)
        self.events = Events(database)
        self.objects = Objects(database)

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Open and migrate the database at sqlite:////path or postgresql://….

        StoreRefused: newer than this release, or half migrated. StoreUnavailable: can't be
        reached."""
        database = Database(url)
        try:
            async with database.write() as connection:
                await connection.run_sync(upgrade)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        await self._database.close()

    async def clean(self, now: int, *, keep_events: int = 400 * 86400) -> None:
        """Delete what nobody needs any more; called every few minutes."""
        await self.flows.clean(now)
        await self.pins.clean(now)
        await self.counters.clean(now)
        await self.sessions.clean(now)
        await self.revocations.clean(now)
        await self.events.clean(now - keep_events)
