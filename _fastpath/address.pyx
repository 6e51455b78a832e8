"""Client addresses: the one form that rules compare, and the forms in which a proxy names them (C08, C09)."""

import ipaddress


def pack_ip(ip) -> bytes:
    """Return 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    return ip.packed if ip.version == 6 else b"\0" * 10 + b"\xff\xff" + ip.packed


def parse_hop(bytes hop):
    """Return the address of one X-Forwarded-For item, or None when it is none. A port is allowed (C08)."""
    text = hop.decode("latin-1")
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not (port[0] == ":" and port[1:].isdigit())):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdigit():
            return None
    if "%" in text:
        return None                       # a scope id: of any length, and of no meaning here
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped if ip.version == 6 and ip.ipv4_mapped is not None else ip
