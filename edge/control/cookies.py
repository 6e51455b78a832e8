"""Cookies, read strictly and written one way. No library's lenient parser: what it forgives, it
confuses."""

import re
from collections.abc import Iterable

from _fastpath.clearing import clearings

# A browser takes a __Host- cookie from the host itself only: no sibling site can plant one.
# CF_Authorization has Cloudflare's name, so on the auth domain it counts beside SESSION alone.
GLOBAL = "CF_Authorization"  # on the auth domain: the global session
SESSION = "__Host-CF_Session"  # on the auth domain: that this very browser got it from us
START = "__Host-CF_AppSession"  # on an application's host: the start nonce of a sign-in
DEVICE = "__Host-CF_Device"  # on the auth domain: this browser has signed in before
FLOW = "__Host-CF_Flow"  # on the auth domain: the browser that a sign-in is bound to

_VALUE = re.compile(rb"[!#-+\--:<-\[\]-~]*")  # RFC 6265 cookie-octet, no quotes


def read(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """Return every cookie that has a plain name and value, with all its values in order.

    Only the blank after a semicolon is skipped. A name with anything else around it, a pair without
    `=`, or a quoted value is not a cookie of ours and is left out."""
    found: dict[str, list[str]] = {}
    for field, line in headers:
        if field != b"cookie":
            continue
        for pair in line.split(b";"):
            name, equals, value = pair.removeprefix(b" ").partition(b"=")
            if equals and name and _VALUE.fullmatch(value):
                found.setdefault(name.decode("latin-1"), []).append(value.decode("ascii"))
    return found


def write(
    name: str, value: str, *, max_age: int | None, same_site: str = "Lax", http_only: bool = True
) -> str:
    """Return a Set-Cookie value: host-only, Secure, Path=/."""
    parts = [f"{name}={value}", "Path=/", "Secure", f"SameSite={same_site}"]
    if http_only:
        parts.append("HttpOnly")
    if max_age is not None:
        parts.append(f"Max-Age={max_age}")
    return "; ".join(parts)


def clear(name: str) -> str:
    return write(name, "", max_age=0)


def clear_everywhere(name: str, host: str, path: str) -> list[str]:
    """Return what clears the host's own cookie and those that a sibling site may have planted, for
    every path and parent domain from which a browser sends one here."""
    found: list[bytes] = clearings(name.encode(), host.encode(), path.encode())
    return [line.decode() for line in found]
