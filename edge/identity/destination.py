"""Where a sign-in leads: an application, its host, and a path on that host. Never another site."""

import base64
import hashlib
import re
from dataclasses import dataclass

from edge.identity.world import Application, World

NONCE = re.compile(r"[A-Za-z0-9_-]{22}")  # 128 random bits, base64url
META = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 of a nonce, base64url
# What may follow https:// in an address that we send browsers to: nothing that ends a host early.
HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
MAX_HOST = 253  # characters
MAX_REDIRECT = 4096  # characters; longer ones lead to /


@dataclass(frozen=True, slots=True)
class Destination:
    application: Application
    host: str
    redirect: str  # path and query on that host
    meta: str  # digest of the start nonce that the application's host gave the browser


def safe_redirect(text: str) -> str:
    """Return the path and query to go back to, or "/" for anything that a browser might read as
    a host.

    Exactly one slash first; no backslash, control byte, blank or non-ASCII: browsers drop some of
    them and then see another address than we did."""
    if not text.startswith("/") or len(text) > MAX_REDIRECT:
        return "/"
    if any(not "!" <= character <= "~" or character == "\\" for character in text):
        return "/"
    # The same once decoded: `/%2fevil` and `/%5cevil` become `//evil` behind a careless origin.
    second = text[1:4].lower()
    if second.startswith("/") or second in ("%2f", "%5c", "%09", "%0a", "%0d", "%00"):
        return "/"
    if re.match(r"/(?:\.|%2e)*(?:/|%2f|%5c)", text, re.IGNORECASE):
        return "/"
    return text


def meta_of(nonce: str) -> str:
    """Return what the sign-in address carries instead of the nonce."""
    digest = hashlib.sha256(nonce.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def destination(world: World, host: str, aud: str, redirect: str, meta: str) -> Destination | None:
    """Return where this sign-in leads, or None when the parts don't belong together."""
    application = world.applications.get(aud)
    if application is None or META.fullmatch(meta) is None:
        return None
    host = host.lower()
    # A wildcard covers any first label, so also `1572395042?.example.com`, another site's address.
    if len(host) > MAX_HOST or HOST.fullmatch(host) is None or not application.covers(host):
        return None
    return Destination(application, host, safe_redirect(redirect), meta)
