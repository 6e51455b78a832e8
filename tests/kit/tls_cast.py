"""Authorities, certificates and contexts that tests of TLS share, and both ends of a handshake."""

import datetime as dt
import os

from _fastpath.contexts import TicketKeys, TlsClientContext, TlsContexts
from _fastpath.tls import TlsEnd
from tests.kit.certificates import CLIENT, Authority, Leaf
from tests.kit.tls_peer import pump

APPLICATION, CLIENT_CA, TUNNEL, DIALLED = 1, 2, 3, 4
DAY = dt.timedelta(days=1)

PUBLIC, STAFF, LINKS, OTHER = (
    Authority(n) for n in ("public CA", "staff CA", "tunnel CA", "other CA")
)
WIKI = PUBLIC.leaf("wiki.example.com")
MAIL = PUBLIC.leaf("mail.example.com")
WILD = PUBLIC.leaf("*.app.example.com")
VAULT = PUBLIC.leaf("vault.example.com")
EDGE = LINKS.leaf("tunnel.login.example.com")
DENY = PUBLIC.leaf("deny.invalid")
PERSON = STAFF.leaf("urn:person:1", usage=CLIENT)
CONNECTOR = LINKS.leaf("urn:sekisho:tunnel:1", usage=CLIENT)


def build(
    keys: TicketKeys | None = None,
    *,
    fallback: bool = False,
    staff: bytes | None = STAFF.pem,
    revoked: bytes | None = None,
    require: bool = True,
) -> TlsContexts:
    contexts = TlsContexts(TicketKeys([os.urandom(80)]) if keys is None else keys)
    contexts.add(["wiki.example.com"], WIKI.certificate, WIKI.key)
    contexts.add(["mail.example.com"], MAIL.certificate, MAIL.key)
    contexts.add(["*.App.example.com"], WILD.certificate, WILD.key)
    contexts.add(
        ["vault.example.com"],
        VAULT.certificate,
        VAULT.key,
        profile="client_ca",
        client_ca=staff,
        revoked=revoked,
        require=require,
    )
    contexts.add(
        ["tunnel.login.example.com"],
        EDGE.certificate,
        EDGE.key,
        profile="tunnel",
        client_ca=LINKS.pem,
    )
    if fallback:
        contexts.add([], DENY.certificate, DENY.key, fallback=True)
    return contexts


CONTEXTS = build()
WITH_FALLBACK = build(fallback=True)


def dial(
    name: str,
    contexts: TlsContexts = CONTEXTS,
    *,
    who: Leaf | None = None,
    trust: bytes = PUBLIC.pem,
    alpn: tuple[str, ...] = ("http/1.1",),
    verify: bool = True,
    step: int = 1 << 20,
) -> tuple[TlsEnd, TlsEnd]:
    """(client, server) after the handshake, which may have failed."""
    context = TlsClientContext(
        trust=trust,
        alpn=alpn,
        verify=verify,
        certificate=who.certificate if who else None,
        key=who.key if who else None,
    )
    client, server = TlsEnd.client(context, name), TlsEnd.server(contexts)
    pump(client, server, step)
    return client, server


def link(who: Leaf | None = CONNECTOR, contexts: TlsContexts = CONTEXTS) -> tuple[TlsEnd, TlsEnd]:
    return dial(
        "tunnel.login.example.com", contexts, who=who, trust=LINKS.pem, alpn=("sekisho-link/1",)
    )


def hello_with_name(raw: bytes) -> bytes:
    """A TLS 1.2 ClientHello whose server_name extension holds raw."""
    entry = b"\x00" + len(raw).to_bytes(2, "big") + raw
    names = len(entry).to_bytes(2, "big") + entry
    sni = b"\x00\x00" + len(names).to_bytes(2, "big") + names
    groups = b"\x00\x0a\x00\x04\x00\x02\x00\x1d"
    schemes = b"\x00\x0d\x00\x04\x00\x02\x04\x03"
    extensions = sni + groups + schemes
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\x00"
        + b"\x00\x02\xc0\x2b"
        + b"\x01\x00"
        + len(extensions).to_bytes(2, "big")
        + extensions
    )
    shake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(shake).to_bytes(2, "big") + shake
