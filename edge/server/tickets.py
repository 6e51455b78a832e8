"""TLS ticket keys: the same on every worker, derived from one secret, a new one each period.

Derived rather than drawn, so that a replaced control process (or another node on the same store)
hands out the keys that clients' tickets were made under."""

import hashlib
import hmac

PERIOD = 8 * 3600  # seconds that one key encrypts; it decrypts for one period more
SIZE = 80  # bytes: name, cipher and MAC key


def ticket_keys(secret: bytes, now: float) -> list[bytes]:
    """Return the keys of this period (encrypts) and of the one before (decrypts only)."""
    period = int(now) // PERIOD
    return [_key(secret, period), _key(secret, period - 1)]


def _key(secret: bytes, period: int) -> bytes:
    blocks = b""
    for counter in range(-(-SIZE // 32)):
        info = b"sekisho ticket key %d %d" % (period, counter)
        blocks += hmac.new(secret, info, hashlib.sha256).digest()
    return blocks[:SIZE]
