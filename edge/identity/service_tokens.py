"""Service tokens: what a program shows instead of signing in. The secret is shown once and kept
as a hash.

The secret has 238 random bits, so a plain SHA-256 is as good as a slow hash and costs workers
nothing."""

import hashlib
import secrets
import string
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.identity.revocations import NobodyFound, Revocations
from edge.store import ServiceTokenRow, Store

PREFIX = "skst_"
ALPHABET = string.ascii_letters + string.digits
YEAR = 365 * 86400
MIN_GRACE, MAX_GRACE = 0, 30 * 86400  # seconds that the old secret works after a rotation


@dataclass(frozen=True, slots=True, repr=False)
class Created:
    """A token with its secret, for the one time when it is shown."""

    id: str
    name: str
    client_id: str
    secret: str
    expires: int


def new_secret() -> str:
    """Return prefix + 40 letters and digits + 8 hex of checksum: scanners can tell it from
    noise."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(40))
    return f"{PREFIX}{body}{zlib.crc32(body.encode()):08x}"


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class ServiceTokens:
    def __init__(self, store: Store, revocations: Revocations, clock: Callable[[], float]) -> None:
        self._store = store
        self._revocations = revocations
        self._clock = clock

    async def create(self, name: str, duration: int = YEAR) -> Created:
        """Make a token that lives `duration` seconds; NameTaken when the name is in use."""
        now = int(self._clock())
        secret = new_secret()
        row = ServiceTokenRow(
            id=str(uuid.uuid4()),
            client_id=f"{secrets.token_hex(16)}.access",
            name=name,
            secrets=((digest(secret), now + duration),),
            created=now,
            expires=now + duration,
        )
        await self._store.service_tokens.add(row)
        return Created(row.id, row.name, row.client_id, secret, row.expires)

    async def list(self) -> Sequence[ServiceTokenRow]:
        return await self._store.service_tokens.all()

    async def rotate(self, which: str, grace: int = 0) -> Created:
        """Give the token a new secret; the old one works `grace` seconds more (≤ 30 days)."""
        if not MIN_GRACE <= grace <= MAX_GRACE:
            raise ValueError("grace must be between 0 and 30 days")
        row = await self._find(which)
        now = int(self._clock())
        secret = new_secret()
        old = tuple(
            (d, min(until, now + grace)) for d, until in row.secrets if until > now and grace
        )
        await self._store.service_tokens.change(
            row.id, ((digest(secret), row.expires), *old[:1]), row.expires
        )
        return Created(row.id, row.name, row.client_id, secret, row.expires)

    async def refresh(self, which: str, duration: int = YEAR) -> ServiceTokenRow:
        """Let the token live `duration` seconds from now."""
        row = await self._find(which)
        expires = int(self._clock()) + duration
        await self._store.service_tokens.change(
            row.id, ((row.secrets[0][0], expires), *row.secrets[1:]), expires
        )
        return await self._find(which)

    async def delete(self, which: str) -> ServiceTokenRow:
        """Delete the token and revoke it on every worker."""
        row = await self._find(which)
        await self._revocations.service_token(row.client_id)
        await self._store.service_tokens.remove(row.id)
        return row

    async def for_snapshot(self, now: float) -> dict[str, Sequence[object]]:
        """Return {client_id: [id, name, [[sha256 hex, expires], …]]}: what workers verify with."""
        found: dict[str, Sequence[object]] = {}
        for row in await self._store.service_tokens.all():
            live = [[d, until] for d, until in row.secrets if until > now]
            if live:
                found[row.client_id] = [row.id, row.name, live]
        return found

    async def _find(self, which: str) -> ServiceTokenRow:
        row = await self._store.service_tokens.find(which)
        if row is None:
            raise NobodyFound(which)
        return row
