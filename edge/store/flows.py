"""Sign-ins that somebody began: rows that live ten minutes and are bounded in number."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from edge.store.engine import Database
from edge.store.tables import flows, pins

MAX_FLOWS = 100_000  # sign-ins that somebody began; over it: the oldest go, so that no disk fills
MAX_FLOWS_NETWORK = 1_000  # of them from one client network; over it: that network's oldest go


@dataclass(frozen=True, slots=True)
class Flow:
    id: str
    browser: str
    network: str
    provider: str
    aud: str
    host: str
    redirect: str
    meta: str
    language: str
    secret: dict[str, Any]
    created: int
    expires: int
    used: int | None = None


class Flows:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, flow: Flow) -> None:
        async with self._database.write() as connection:
            values = {field: getattr(flow, field) for field in flow.__slots__}
            values["secret"] = json.dumps(flow.secret, separators=(",", ":"))
            await connection.execute(insert(flows).values(**values))
            for where, bound in (
                (flows.c.network == flow.network, MAX_FLOWS_NETWORK),
                (None, MAX_FLOWS),
            ):
                counted = select(func.count()).select_from(flows)
                oldest = select(flows.c.id).order_by(flows.c.created, flows.c.id)
                if where is not None:
                    counted, oldest = counted.where(where), oldest.where(where)
                excess = int((await connection.execute(counted)).scalar_one()) - bound
                if excess > 0:
                    gone = (await connection.execute(oldest.limit(excess))).scalars().all()
                    await connection.execute(delete(pins).where(pins.c.flow.in_(gone)))
                    await connection.execute(delete(flows).where(flows.c.id.in_(gone)))

    async def get(self, flow: str, now: int) -> Flow | None:
        """Return a flow that is neither expired nor used."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    select(flows).where(
                        flows.c.id == flow, flows.c.expires > now, flows.c.used.is_(None)
                    )
                )
            ).first()
        return None if row is None else Flow(**{**row._mapping, "secret": json.loads(row.secret)})

    async def take(self, flow: str, now: int) -> bool:
        """Use a flow up: True for the one caller that did, False for everybody else."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(flows)
                .where(flows.c.id == flow, flows.c.used.is_(None), flows.c.expires > now)
                .values(used=now)
            )
            return changed.rowcount == 1

    async def clean(self, now: int) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(flows).where(flows.c.expires <= now))
