"""tls.pyx: bytes through one connection, its memory, and what isn't TLS. Section I."""

import ctypes
import gc
import os
import ssl

import pytest

from _fastpath import limits
from _fastpath.pem import TlsError
from _fastpath.tls import TlsEnd
from tests.kit.tls_cast import (
    APPLICATION,
    CONTEXTS,
    DIALLED,
    PUBLIC,
    build,
    dial,
)
from tests.kit.tls_peer import PythonClient, drain, python_context

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


def test_key_updates_are_answered_but_not_without_end() -> None:
    client, server = dial("wiki.example.com")
    for _ in range(100):  # a peer that renews its keys now and then stays
        client.renew_keys()
        server.feed(client.take())
        assert server.read() == (0, b"")
    client.feed(server.take())
    client.write(b"still here")
    server.feed(client.take())
    assert server.read() == (1, b"still here")
    answered = 0
    while server.established:  # one that only renews and never reads is cut before it fills the memory
        client.renew_keys()
        server.feed(client.take())
        server.read()
        answered += 1
        assert answered < 5000
    assert server.why == "too many key updates"
    assert len(server.take()) <= limits.MAX_TLS_UNASKED + 100


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


def test_a_drained_connection_holds_no_buffer() -> None:
    """Not only after idle(): kept for a while, it would leave a hole beside what lives as long as the connection."""
    client, server = dial("wiki.example.com")
    assert drain(client) == (0, b"")  # tickets came after the handshake
    assert (client.buffered, server.buffered) == (0, 0)
    client.write(b"x" * 1000)
    wire = client.take()
    assert client.buffered == 0
    server.feed(wire[:500])
    assert drain(server) == (0, b"") and server.buffered == 0  # half a record lies in libssl
    server.feed(wire[500:])
    assert server.buffered > 0
    assert drain(server)[1] == b"x" * 1000 and server.buffered == 0
    server.write(b"y" * 1000)
    first = server.take(100)
    assert server.buffered > 0  # the rest waits
    client.feed(first + server.take())
    assert drain(client)[1] == b"y" * 1000 and (client.buffered, server.buffered) == (0, 0)


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
        bytes((i * 37 + 99) & 255 for i in range(64)),
        b"\x16\x03\x01\xff\xff" + b"a" * 70000,
    ],
)
def test_rubbish_fails_cleanly(first: bytes) -> None:
    server = TlsEnd.server(CONTEXTS)
    server.feed(first)
    assert server.handshake() == -1
    assert not server.plain and server.why
