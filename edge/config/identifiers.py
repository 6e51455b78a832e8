"""Ids and AUD tags that only a name and this installation's key decide."""

import hashlib
import hmac
import uuid


def default_aud(aud_key: bytes, name: str) -> str:
    """Return an application's AUD tag: 64 hexadecimal digits. edge.identity.keys makes the same."""
    return hmac.new(aud_key, name.encode(), hashlib.sha256).hexdigest()


def default_id(aud_key: bytes, kind: str, name: str) -> str:
    """Return a UUID for an application, identity provider or tunnel of the file."""
    digest = hmac.new(aud_key, f"id\0{kind}\0{name}".encode(), hashlib.sha256).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
