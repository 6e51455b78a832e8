"""Codes that are out, and the browsers that are known: digests only, never a code or a cookie."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from edge.store.engine import Database
from edge.store.tables import devices, pins


@dataclass(frozen=True, slots=True)
class PinRow:
    flow: str
    digest: str
    digits: int
    created: int
    expires: int
    tries: int
    used: int | None


class Pins:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, flow: str, digest: str, digits: int, now: int, expires: int) -> None:
        """Store the flow's code in place of an older one."""
        async with self._database.write() as connection:
            await connection.execute(delete(pins).where(pins.c.flow == flow))
            await connection.execute(
                insert(pins).values(
                    flow=flow,
                    digest=digest,
                    digits=digits,
                    created=now,
                    expires=expires,
                    tries=0,
                    used=None,
                )
            )

    async def get(self, flow: str) -> PinRow | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(pins).where(pins.c.flow == flow))).first()
        return None if row is None else PinRow(**row._mapping)

    async def count_try(self, flow: str, tries: int, now: int) -> PinRow | None:
        """Count one try and return the code to compare with; None when there is no try left.

        Counted before it is compared: parallel guesses can't share one try."""
        async with self._database.write() as connection:
            row = (
                await connection.execute(
                    update(pins)
                    .where(
                        pins.c.flow == flow,
                        pins.c.tries < tries,
                        pins.c.used.is_(None),
                        pins.c.expires > now,
                    )
                    .values(tries=pins.c.tries + 1)
                    .returning(pins)
                )
            ).first()
        return None if row is None else PinRow(**row._mapping)

    async def use(self, flow: str, digest: str, now: int) -> bool:
        """Use the code up: True for the one caller that did."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(pins)
                .where(
                    pins.c.flow == flow,
                    pins.c.digest == digest,
                    pins.c.used.is_(None),
                    pins.c.expires > now,
                )
                .values(used=now)
            )
            return changed.rowcount == 1

    async def know_device(self, device: str, address: str, expires: int) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(devices).where(devices.c.device == device, devices.c.address == address)
            )
            await connection.execute(
                insert(devices).values(device=device, address=address, expires=expires)
            )

    async def device_known(self, device: str, address: str, now: int) -> bool:
        async with self._database.read() as connection:
            found = await connection.execute(
                select(devices.c.expires).where(
                    devices.c.device == device,
                    devices.c.address == address,
                    devices.c.expires > now,
                )
            )
            return found.first() is not None

    async def clean(self, now: int) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(pins).where(pins.c.expires <= now))
            await connection.execute(delete(devices).where(devices.c.expires <= now))
