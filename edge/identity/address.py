"""E-mail addresses and client networks, each in the one form that everything is keyed on."""

import ipaddress
import re

# A dot-atom before exactly one @, and a domain of at least two labels: all ASCII. Quoted local
# parts,
# lists, comments and other alphabets are refused: each has been a way to be somebody else.
_LOCAL = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"({_LOCAL})@({_LABEL}(?:\.{_LABEL})+)")
MAX_LOCAL, MAX_ADDRESS = 64, 254


def canonical(text: str) -> str | None:
    """Return the address in lower case without blanks around it, or None when it isn't one
    address."""
    address = text.strip(" \t")
    if not address.isascii() or len(address) > MAX_ADDRESS:
        return None
    address = address.lower()
    found = _ADDRESS.fullmatch(address)
    if found is None or len(found[1]) > MAX_LOCAL:
        return None
    return address


def mailbox(address: str) -> str:
    """Return the address without its +tag: limits count per mailbox, however it is written."""
    local, _, domain = address.partition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def network(address: str) -> str:
    """Return the client's network, /24 or /56: what one subscriber can change at will counts as
    one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    width = 24 if parsed.version == 4 else 56
    return str(ipaddress.ip_network((parsed, width), strict=False))
