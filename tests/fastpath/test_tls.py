"""tls.pyx: contexts by SNI, profiles, client certificates, resumption, dialling. Section I."""

import ctypes
import datetime as dt
import gc
import os
import ssl
import subprocess

import pytest

from _fastpath.tls import (
    TicketKeys,
    TlsClientContext,
    TlsContexts,
    TlsEnd,
    TlsError,
    certificate_names,
)
from tests.kit.certificates import CLIENT, SERVER, Authority, Leaf
from tests.kit.tls_peer import PythonClient, drain, listening, pump, python_context

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


# -- bytes through ----------------------------------------


@pytest.mark.parametrize("step", [1 << 20, 1000, 1], ids=["whole", "pieces", "byte by byte"])
def test_bytes_go_both_ways(step: int) -> None:
    client, server = dial("wiki.example.com", step=step)
    assert (client.established, server.established) == (True, True)
    assert (client.profile, server.profile) == (DIALLED, APPLICATION)
    assert (server.server_name, server.alpn, client.alpn) == (
        b"wiki.example.com",
        b"http/1.1",
        b"http/1.1",
    )
    assert server.version == "TLSv1.3"
    request, answer = os.urandom(200_000), os.urandom(70_000)
    client.write(request)
    got = bytearray()
    while wire := client.take(16000):
        server.feed(wire)
        got += drain(server)[1]
    assert got == request
    server.write(answer)
    client.feed(server.take())
    assert drain(client) == (0, answer)


def test_close_notify_ends_reading_and_a_garbled_record_fails_it() -> None:
    client, server = dial("wiki.example.com")
    client.shutdown()
    server.feed(client.take())
    assert server.read()[0] == -1
    client, server = dial("wiki.example.com")
    client.write(b"x" * 100)
    wire = bytearray(client.take())
    wire[20] ^= 1
    server.feed(bytes(wire))
    assert server.read()[0] == -2
    assert "bad record mac" in (server.why or "")
    assert not server.established
    with pytest.raises(TlsError):
        server.write(b"late")
    server.feed(b"more")
    assert server.read()[0] == -2


def test_nothing_is_read_or_written_before_the_handshake() -> None:
    server = TlsEnd.server(CONTEXTS)
    assert server.read() == (0, b"")
    with pytest.raises(TlsError, match="handshake not done"):
        server.write(b"x")


def test_quiet_connections_give_their_buffers_back() -> None:
    client, server = dial("wiki.example.com")
    client.write(b"x" * 300_000)
    server.feed(client.take())
    assert len(drain(server)[1]) == 300_000
    server.idle()
    assert server.buffered == 0
    assert client.buffered <= 131_072  # a drained large buffer goes at once


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resting_in_the_middle_of_a_record_loses_nothing(version: ssl.TLSVersion) -> None:
    context = python_context(PUBLIC.pem)
    context.maximum_version = version
    server = TlsEnd.server(CONTEXTS)
    client = PythonClient(context, "wiki.example.com")
    assert client.shake(server)
    for cut in range(60):
        client.ssl.write(b"%060d" % cut)
        wire = client.outbound.read()
        server.feed(wire[:cut])
        assert drain(server) == (0, b"")
        server.idle()
        server.feed(wire[cut:])
        assert drain(server) == (0, b"%060d" % cut)
        server.idle()
        server.write(b"answer")
        server.idle()  # what waits to be sent stays
        assert client.read(server) == b"answer"


def test_an_idle_connection_is_small() -> None:
    class Mallinfo(ctypes.Structure):
        _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(10)]

    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = Mallinfo
    kept = [dial("wiki.example.com")[1] for _ in range(50)]
    gc.collect()
    before = libc.mallinfo2().field_7  # bytes in use
    for _ in range(100):
        client, server = dial("wiki.example.com")
        client.write(b"x" * 1000)
        server.feed(client.take())
        drain(server)
        server.write(b"y" * 1000)
        server.take()
        server.idle()
        kept.append(server)
    del client
    gc.collect()
    assert (libc.mallinfo2().field_7 - before) / 100 < 18_000


def test_a_connection_keeps_its_contexts_over_a_reload() -> None:
    contexts = build()
    client, server = dial("wiki.example.com", contexts)
    del contexts
    gc.collect()
    client.write(b"still here")
    server.feed(client.take())
    assert drain(server)[1] == b"still here"


def test_a_thousand_connections_leave_nothing_behind() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def round_of(n: int) -> None:
        for i in range(n):
            dial("wiki.example.com" if i % 4 else "nobody.example.net")

    round_of(100)
    before = resident()
    round_of(300)
    assert resident() - before < 3_000_000


# -- names: I04 ----------------------------------------


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("WIKI.Example.COM", b"wiki.example.com"),
        ("wiki.example.com.", b"wiki.example.com"),
        ("x.app.example.com", b"x.app.example.com"),
    ],
)
def test_i04_names_are_folded(name: str, seen: bytes) -> None:
    client, server = dial(name)
    assert server.established and client.established
    assert server.server_name == seen


@pytest.mark.parametrize(
    "name",
    [
        "a.b.app.example.com",
        "app.example.com",
        "nobody.example.net",
        "xwiki.example.com",
        "com",
    ],
)
def test_i04_unknown_names_get_an_alert(name: str) -> None:
    client, server = dial(name)
    assert not server.established and server.profile == 0
    assert server.why == "no certificate here for the name that the client asked for"
    assert "unrecognized name" in (client.why or "")


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "[2001:db8::7]"])
def test_i04_no_sni_gets_an_alert_or_the_deny_certificate(address: str) -> None:
    client, server = dial(address, verify=False)
    assert not server.established
    client, server = dial(address, WITH_FALLBACK, verify=False)
    assert server.established and server.server_name == b""
    assert client.peer_certificate() == DENY.der


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


@pytest.mark.parametrize(
    "raw",
    [
        b"192.0.2.7",
        b"wiki.example.com\x00.evil.example",
        b"wiki..example.com",
        b".",
        b"..",
        b"\xff",
        b"wiki example.com",
        b"-",
        b"a" * 254,
        b".wiki.example.com",
        b"wiki.example.com..",
    ],
)
def test_i04_what_is_no_host_name_matches_nothing(raw: bytes) -> None:
    server = TlsEnd.server(CONTEXTS)
    server.feed(hello_with_name(raw))
    assert server.handshake() == -1
    assert server.profile == 0 and server.take()[:1] == b"\x15"
    server = TlsEnd.server(WITH_FALLBACK)
    server.feed(hello_with_name(raw))
    server.handshake()
    assert server.server_name not in {b"wiki.example.com", b"mail.example.com"}


def test_i04_two_names_or_a_torn_list_are_refused() -> None:
    whole = hello_with_name(b"wiki.example.com")
    for old, new in [
        (b"\x00\x13\x00\x00\x10wiki", b"\x00\x12\x00\x00\x10wiki"),  # list shorter than said
        (b"\x00\x13\x00\x00\x10wiki", b"\x00\x13\x00\x00\x0fwiki"),  # bytes after the name
        (b"\x00\x13\x00\x00\x10wiki", b"\x00\x13\x01\x00\x10wiki"),
    ]:  # another type of name
        assert old in whole
        server = TlsEnd.server(WITH_FALLBACK)
        server.feed(whole.replace(old, new))
        assert server.handshake() == -1
        assert not server.established


# -- hello in pieces, and hello twice: I03 ----------------------------------------


def in_records_of_one(wire: bytes) -> bytes:
    """The handshake records of wire, cut into records of one byte."""
    out, at = bytearray(), 0
    while at < len(wire):
        size = int.from_bytes(wire[at + 3 : at + 5], "big")
        kind, body = wire[at : at + 3], wire[at + 5 : at + 5 + size]
        out += b"".join(kind + b"\x00\x01" + bytes([b]) for b in body)
        at += 5 + size
    return bytes(out)


@pytest.mark.parametrize(
    "cut", [in_records_of_one, lambda wire: wire], ids=["1-byte records", "whole"]
)
def test_i03_a_client_hello_in_pieces_gets_the_same_policy(cut) -> None:
    context = TlsClientContext(trust=LINKS.pem, alpn=["sekisho-link/1"])
    client, server = TlsEnd.client(context, "tunnel.login.example.com"), TlsEnd.server(CONTEXTS)
    client.handshake()
    wire = cut(client.take())
    half = len(wire) // 2
    server.feed(wire[:half])
    server.handshake()
    server.feed(wire[half:])
    server.handshake()
    client.feed(server.take())
    client.handshake()
    server.feed(client.take())
    assert server.handshake() == -1
    assert server.why is not None and "did not return a certificate" in server.why


def s_client(port: int, *options: str, feed: bytes = b"", echo: bool = False) -> str:
    """What `openssl s_client` prints on both its outputs. echo: wait until feed has come back."""
    with subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as program:
        assert program.stdin and program.stdout
        seen = b""
        if echo:  # its tickets arrive before
            program.stdin.write(feed)
            program.stdin.flush()
            while feed not in seen and (line := program.stdout.readline()):
                seen += line
            feed = b""
        rest, _ = program.communicate(feed, timeout=20)
    return (seen + rest).decode("utf-8", "replace")


def test_i03_hello_retry_may_not_change_the_name() -> None:
    """The client's first key share is P-521, which we don't take: it has to say hello twice."""
    hellos: list[bytes] = []

    def change_second(data: bytes) -> bytes:
        if b"wiki.example.com" in data:  # the second one follows a ChangeCipherSpec
            hellos.append(data)
            if len(hellos) == 2:
                return data.replace(b"wiki.example.com", b"mail.example.com")
        return data

    options = ("-servername", "wiki.example.com", "-groups", "P-521:P-256", "-tls1_3")
    with listening(CONTEXTS) as (port, ends):
        s_client(port, *options)
    assert ends[-1].established
    with listening(CONTEXTS, change_second) as (port, ends):
        text = s_client(port, *options)
    assert len(hellos) == 2
    assert not ends[-1].established
    assert ends[-1].why == "the client named another host in its second ClientHello"
    assert "illegal parameter" in text


# -- versions, ciphers, renegotiation, early data: I05, I08 ----------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1",),
        ("-tls1_1",),
        ("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"),
    ],
    ids=" ".join,
)
def test_i05_old_versions_and_ciphers_are_refused(options: tuple[str, ...]) -> None:
    options = (*options, "-cipher", "ALL:@SECLEVEL=0") if "-cipher" not in options else options
    with listening(CONTEXTS) as (port, ends):
        text = s_client(port, "-servername", "wiki.example.com", *options)
    assert ends and not ends[-1].established
    assert "alert" in text


@pytest.mark.parametrize(
    ("options", "cipher"),
    [
        (("-tls1_2",), "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (
            ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"),
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"),
            "TLS_AES_128_GCM_SHA256",
        ),
        (
            ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"),
            "TLS_CHACHA20_POLY1305_SHA256",
        ),  # a client without AES in hardware puts it first
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_i05_the_server_chooses_the_cipher(options: tuple[str, ...], cipher: str) -> None:
    with listening(CONTEXTS) as (port, ends):
        text = s_client(port, "-servername", "wiki.example.com", *options)
    assert ends[-1].cipher == cipher
    assert "Compression: NONE" in text


def test_i05_renegotiation_is_refused() -> None:
    with listening(CONTEXTS) as (port, _):
        text = s_client(port, "-servername", "wiki.example.com", "-tls1_2", feed=b"R\n")
    assert "RENEGOTIATING" in text
    assert "no renegotiation" in text


def test_i08_tickets_allow_no_early_data(tmp_path) -> None:
    saved, early = tmp_path / "session.pem", tmp_path / "early"
    early.write_bytes(b"GET / HTTP/1.1\r\n\r\n")
    with listening(CONTEXTS) as (port, ends):
        common = ("-servername", "wiki.example.com", "-tls1_3")
        s_client(port, *common, "-sess_out", str(saved), feed=b"hello\n", echo=True)
        text = s_client(
            port, *common, "-sess_in", str(saved), "-early_data", str(early), feed=b"hello\n"
        )
    assert [end.resumed for end in ends] == [False, True]
    assert "Early data was accepted" not in text
    assert "Max Early Data: 0" in text or "Early data was not sent" in text


# -- ALPN: I06 ----------------------------------------


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (("http/1.1",), b"http/1.1"),
        (("h2", "http/1.1"), b"http/1.1"),
        ((), b""),
    ],
)
def test_i06_http_11_is_what_applications_speak(offer: tuple[str, ...], agreed: bytes) -> None:
    client, server = dial("wiki.example.com", alpn=offer)
    assert server.established and server.alpn == agreed == client.alpn


@pytest.mark.parametrize(
    "offer", [("h2",), ("http/0.9",), ("http/1.0",), ("ftp", "smtp"), ("sekisho-link/1",)]
)
def test_i06_no_other_protocol_is_spoken(offer: tuple[str, ...]) -> None:
    client, server = dial("wiki.example.com", alpn=offer)
    assert not server.established
    assert server.why == "the client offers no protocol that is spoken here"
    assert "no application protocol" in (client.why or "")


@pytest.mark.parametrize("offer", [("http/1.1",), (), ("h2",)])
def test_i06_a_link_speaks_its_own_protocol_only(offer: tuple[str, ...]) -> None:
    _, server = dial("tunnel.login.example.com", who=CONNECTOR, trust=LINKS.pem, alpn=offer)
    assert not server.established and server.profile == 0


# -- client certificates: I01 at this level, I07 ----------------------------------------


def test_a_link_is_known_by_its_certificate() -> None:
    client, server = link()
    assert server.established and server.profile == TUNNEL and server.alpn == b"sekisho-link/1"
    assert server.peer_certificate() == CONNECTOR.der
    assert server.peer_issuer() is not None
    assert client.peer_certificate() == EDGE.der
    assert server.version == "TLSv1.3"


def test_a_link_needs_tls_13() -> None:
    context = python_context(LINKS.pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["sekisho-link/1"])
    server = TlsEnd.server(CONTEXTS)
    assert not PythonClient(context, "tunnel.login.example.com").shake(server)


BAD_PEOPLE = {
    "none": None,
    "expired": STAFF.leaf("urn:person:1", usage=CLIENT, start=-3 * DAY, end=-DAY),
    "not yet valid": STAFF.leaf("urn:person:1", usage=CLIENT, start=DAY, end=2 * DAY),
    "other CA": OTHER.leaf("urn:person:1", usage=CLIENT),
    "right name, wrong CA": Authority("staff CA").leaf("urn:person:1", usage=CLIENT),
    "no EKU": STAFF.leaf("urn:person:1", usage=None),
    "server's EKU": STAFF.leaf("urn:person:1", usage=SERVER),
    "a connector's": CONNECTOR,
}


@pytest.mark.parametrize("who", BAD_PEOPLE)
def test_i07_bad_client_certificates_are_refused(who: str) -> None:
    client, server = dial("vault.example.com", who=BAD_PEOPLE[who])
    assert not server.established and server.profile == 0 and server.why
    client.feed(server.take())
    assert client.read()[0] == -2  # the client hears it, too: an alert after its own Finished


def test_i07_a_good_one_enters_and_others_need_none() -> None:
    _, server = dial("vault.example.com", who=PERSON)
    assert server.established and server.profile == CLIENT_CA
    assert server.peer_certificate() == PERSON.der
    _, server = dial("wiki.example.com", who=PERSON)
    assert server.established and server.profile == APPLICATION
    assert server.peer_certificate() is None  # nobody asked


def test_i07_revoked() -> None:
    listed = build(revoked=STAFF.revoke(PERSON))
    assert "revoked" in (dial("vault.example.com", listed, who=PERSON)[1].why or "")
    assert dial("vault.example.com", listed, who=STAFF.leaf("urn:person:2", usage=CLIENT))[
        1
    ].established


@pytest.mark.parametrize(
    "bad", [None, b"", b"not PEM", STAFF.pem[:100]], ids=["none", "empty", "no PEM", "torn"]
)
def test_i07_missing_client_ca_or_crl_refuses_everybody(bad: bytes | None) -> None:
    contexts = build(staff=bad)
    assert not dial("vault.example.com", contexts, who=PERSON)[1].established
    assert not dial("vault.example.com", contexts)[1].established
    if bad is not None:
        assert not dial("vault.example.com", build(revoked=bad), who=PERSON)[1].established


def test_i07_the_entry_says_that_it_refuses_everybody() -> None:
    contexts = TlsContexts()
    assert contexts.add(
        [], WIKI.certificate, WIKI.key, profile="client_ca", client_ca=b""
    ).refuses_all
    assert not contexts.add(
        [], WIKI.certificate, WIKI.key, profile="client_ca", client_ca=STAFF.pem
    ).refuses_all
    assert not contexts.add([], WIKI.certificate, WIKI.key).refuses_all


def test_certificates_may_be_asked_for_without_being_demanded() -> None:
    contexts = build(require=False)
    _, server = dial("vault.example.com", contexts)
    assert server.established and server.peer_certificate() is None
    _, server = dial("vault.example.com", contexts, who=PERSON)
    assert server.established and server.peer_certificate() == PERSON.der
    assert not dial("vault.example.com", contexts, who=BAD_PEOPLE["other CA"])[1].established


# -- resumption: I02 ----------------------------------------


def resume(
    context: ssl.SSLContext,
    first: str,
    second: str,
    *,
    before: TlsContexts,
    after: TlsContexts,
) -> tuple[TlsEnd, PythonClient]:
    """Make a session for one name, offer it for another; the second connection."""
    server = TlsEnd.server(before)
    client = PythonClient(context, first)
    assert client.shake(server), client.error
    assert client.ssl.session is not None
    server = TlsEnd.server(after)
    client = PythonClient(context, second, client.ssl.session)
    client.shake(server)
    return server, client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_in_every_worker_and_over_key_rotation(version: ssl.TLSVersion) -> None:
    old, new = os.urandom(80), os.urandom(80)
    context = python_context(PUBLIC.pem)
    context.maximum_version = context.minimum_version = version
    wiki = "wiki.example.com"
    here, there = build(TicketKeys([old])), build(TicketKeys([old]))
    assert resume(context, wiki, wiki, before=here, after=there)[0].resumed
    assert resume(context, wiki, wiki, before=here, after=build(TicketKeys([new, old])))[0].resumed
    server, _ = resume(context, wiki, wiki, before=here, after=build(TicketKeys([new])))
    assert server.established and not server.resumed
    server, _ = resume(context, wiki, wiki, before=here, after=build(TicketKeys()))
    assert server.established and not server.resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_i02_a_session_resumes_for_its_own_name_only(version: ssl.TLSVersion) -> None:
    context = python_context(PUBLIC.pem)
    context.maximum_version = context.minimum_version = version
    keys = TicketKeys([os.urandom(80)])
    contexts = build(keys)
    server, _ = resume(
        context, "wiki.example.com", "mail.example.com", before=contexts, after=contexts
    )
    assert server.established and not server.resumed
    server, _ = resume(
        context, "wiki.example.com", "vault.example.com", before=contexts, after=contexts
    )
    assert not server.established and server.profile == 0  # full handshake, certificate demanded
    context.load_verify_locations(cadata=LINKS.pem.decode())
    context.set_alpn_protocols(["sekisho-link/1", "http/1.1"])
    server, _ = resume(
        context, "wiki.example.com", "tunnel.login.example.com", before=contexts, after=contexts
    )
    assert not server.established


def with_certificate(who: Leaf, tmp_path, *anchors: bytes) -> ssl.SSLContext:
    path = tmp_path / "client.pem"
    path.write_bytes(who.certificate + who.key)
    context = python_context(b"".join(anchors))
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_i02_a_resumed_session_keeps_its_certificate_but_not_past_a_changed_ca(
    version, tmp_path
) -> None:
    context = with_certificate(PERSON, tmp_path, PUBLIC.pem)
    context.maximum_version = context.minimum_version = version
    keys = TicketKeys([os.urandom(80)])
    vault = "vault.example.com"
    server, _ = resume(context, vault, vault, before=build(keys), after=build(keys))
    assert server.resumed and server.peer_certificate() == PERSON.der
    for changed in (
        build(keys, staff=OTHER.pem),
        build(keys, revoked=STAFF.revoke(PERSON)),
        build(keys, staff=b""),
    ):
        server, _ = resume(context, vault, vault, before=build(keys), after=changed)
        assert not server.established and not server.resumed


def test_i02_links_neither_get_nor_use_tickets(tmp_path) -> None:
    context = with_certificate(CONNECTOR, tmp_path, LINKS.pem)
    context.set_alpn_protocols(["sekisho-link/1"])
    server = TlsEnd.server(CONTEXTS)
    client = PythonClient(context, "tunnel.login.example.com")
    assert client.shake(server)
    assert client.ssl.session is None or not client.ssl.session.has_ticket


def test_ticket_keys_are_checked() -> None:
    keys = TicketKeys([bytes(80)])
    for bad in ([b"short"], [bytes(80)] * 9, [bytes(81)]):
        with pytest.raises(ValueError, match="ticket key"):
            keys.replace(bad)
    assert keys.size == 1
    keys.replace([bytes(80)] * 8)
    assert keys.size == 8


# -- the dialled side ----------------------------------------


@pytest.mark.parametrize(
    ("name", "trust", "says"),
    [
        (
            "wiki.example.com",
            OTHER.pem,
            "isn't valid for wiki.example.com: unable to get local issuer",
        ),
        ("mail.example.com", PUBLIC.pem, "isn't valid for mail.example.com: hostname mismatch"),
        ("192.0.2.1", PUBLIC.pem, "isn't valid for this address: IP address mismatch"),
    ],
)
def test_i10_a_dialled_certificate_must_be_right(name: str, trust: bytes, says: str) -> None:
    contexts = TlsContexts()
    contexts.add([], WIKI.certificate, WIKI.key, fallback=True)
    client, server = dial(name, contexts, trust=trust)
    assert not client.established
    assert says in (client.why or "")
    assert "alert" in (server.why or "")
    client, _ = dial(name, contexts, trust=trust, verify=False)
    assert client.established  # noTLSVerify


def test_i10_expired_and_by_address() -> None:
    contexts = TlsContexts()
    contexts.add(
        ["old.example.com"], *pem(PUBLIC.leaf("old.example.com", start=-3 * DAY, end=-DAY))
    )
    contexts.add([], *pem(PUBLIC.leaf("192.0.2.1", "2001:db8::1")), fallback=True)
    assert "has expired" in (dial("old.example.com", contexts)[0].why or "")
    assert dial("192.0.2.1", contexts)[0].established
    assert dial("[2001:db8::1]", contexts)[0].established


def pem(leaf: Leaf) -> tuple[bytes, bytes]:
    return leaf.certificate, leaf.key


def test_dialling_checks_its_arguments() -> None:
    with pytest.raises(TlsError, match="neither a host name"):
        TlsEnd.client(TlsClientContext(trust=PUBLIC.pem), "not a name")
    with pytest.raises(TlsError, match="no certificate in the trust"):
        TlsClientContext(trust=b"")
    assert TlsClientContext().verify  # the system's anchors
    assert not TlsClientContext(verify=False).verify


def test_a_server_that_is_too_old_for_us() -> None:
    contexts = TlsContexts()
    contexts.add([], WIKI.certificate, WIKI.key, fallback=True)
    client = TlsEnd.client(TlsClientContext(trust=PUBLIC.pem, minimum="1.3"), "wiki.example.com")
    assert pump(client, TlsEnd.server(contexts)) == (1, 1)


# -- what isn't TLS ----------------------------------------


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"]
)
def test_i09_plain_http_is_recognised(first: bytes) -> None:
    server = TlsEnd.server(CONTEXTS)
    server.feed(first)
    assert server.handshake() == -1
    assert server.plain and server.profile == 0


@pytest.mark.parametrize(
    "first",
    [
        b"\x00" * 50,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        os.urandom(64),
        b"\x16\x03\x01\xff\xff" + b"a" * 70000,
    ],
)
def test_rubbish_fails_cleanly(first: bytes) -> None:
    server = TlsEnd.server(CONTEXTS)
    server.feed(first)
    assert server.handshake() == -1
    assert not server.plain and server.why


# -- files ----------------------------------------


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        (b"", WIKI.key, "no certificate"),
        (b"x", WIKI.key, "no certificate"),
        (WIKI.certificate, b"", "private key"),
        (WIKI.certificate, MAIL.key, "doesn't belong"),
    ],
)
def test_unusable_files_are_named(certificate: bytes, key: bytes, says: str) -> None:
    contexts = TlsContexts()
    with pytest.raises(TlsError, match=says):
        contexts.add(["wiki.example.com"], certificate, key)
    server = TlsEnd.server(contexts)
    server.feed(hello_with_name(b"wiki.example.com"))
    assert server.handshake() == -1  # nothing was added


def test_a_key_with_a_password_is_refused_without_asking() -> None:
    from cryptography.hazmat.primitives import serialization

    locked = serialization.load_pem_private_key(WIKI.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(TlsError, match="private key"):
        TlsContexts().add([], WIKI.certificate, locked)


def test_names_of_a_certificate() -> None:
    assert certificate_names(PUBLIC.leaf("a.example", "*.b.example", "192.0.2.1").certificate) == [
        "a.example",
        "*.b.example",
    ]
    assert certificate_names(PUBLIC.pem) == []
