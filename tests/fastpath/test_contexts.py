"""contexts.pyx: names, versions, ciphers and protocols of a ClientHello. Section I."""

import subprocess

import pytest

from _fastpath.contexts import TlsClientContext
from _fastpath.tls import TlsEnd
from tests.kit.tls_cast import (
    CONNECTOR,
    CONTEXTS,
    DENY,
    LINKS,
    WITH_FALLBACK,
    dial,
    hello_with_name,
)
from tests.kit.tls_peer import listening

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
