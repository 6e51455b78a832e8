"""PROXY protocol headers (C11): who is believed, and what closes the connection."""

import ipaddress

import pytest

from _fastpath.preface import parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    n = len(body) if length is None else length
    return SIGNATURE + bytes([0x20 | command, family]) + n.to_bytes(2, "big") + body


IPV4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + (5000).to_bytes(2, "big") + (443).to_bytes(2, "big")
IPV6 = ipaddress.ip_address("2001:db8::7").packed * 2 + bytes(4)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n", "::ffff:192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n", "2001:db8::7"),
        (v2(1, 0x11, IPV4), "::ffff:192.0.2.7"),
        (v2(1, 0x21, IPV6), "2001:db8::7"),
        (v2(1, 0x11, IPV4 + b"\x04\x00\x02ab"), "::ffff:192.0.2.7"),
    ],
)
def test_address_of_a_whole_header_and_of_every_prefix(header: bytes, address: str) -> None:
    for cut in range(len(header)):
        assert parse(header[:cut]) == (0, None), cut
    used, packed = parse(header + b"GET / HTTP/1.1\r\n")
    assert used == len(header)
    assert packed == ipaddress.ip_address(address).packed


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0, 0, b"")])
def test_a_balancer_that_speaks_for_itself_has_no_address(header: bytes) -> None:
    assert parse(header) == (len(header), None)


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXX",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n",
        b"PROXY TCP4 192.0.2.300 10.0.0.1 5000 443\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 5000 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\n",
        b"PROXY TCP4 " + b"1" * 120,
        v2(3, 0x11, IPV4),
        v2(1, 0x11, IPV4[:8]),
        v2(1, 0x31, bytes(216)),
        v2(1, 0x11, IPV4 + b"\x04\xff\xffab"),
        v2(1, 0x11, IPV4 + b"\x04"),
        v2(1, 0x11, b"", length=60000),
        SIGNATURE + bytes([0x11, 0x11]) + (12).to_bytes(2, "big") + IPV4,
    ],
)
def test_C11_what_lies_is_refused(header: bytes) -> None:
    assert parse(header)[0] < 0
