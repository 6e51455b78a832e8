"""Addresses as a trusted proxy names them (C08, C09)."""

import ipaddress

import pytest

from _fastpath.address import pack_ip, parse_hop


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (b"1.2.3.4", "1.2.3.4"),
        (b"1.2.3.4:99", "1.2.3.4"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b"[::ffff:10.0.0.1]", "10.0.0.1"),
        (b"::ffff:10.1.2.3", "10.1.2.3"),
    ],
)
def test_C08_C09_forms_of_one_hop(hop: bytes, address: str) -> None:
    assert parse_hop(hop) == ipaddress.ip_address(address)


@pytest.mark.parametrize(
    "hop",
    [
        b"",
        b"unknown",
        b"evil",
        b"1.2.3",
        b"1.2.3.4:",
        b"1.2.3.4:x",
        b"[::1",
        b"[::1]x",
        b"[::1]:",
        b"_hidden",
        b"\xff",
    ],
)
def test_C08_what_is_no_address_is_none(hop: bytes) -> None:
    assert parse_hop(hop) is None


def test_C09_an_ipv4_address_is_mapped() -> None:
    assert pack_ip(ipaddress.ip_address("10.1.2.3")) == bytes(10) + b"\xff\xff\x0a\x01\x02\x03"
    assert pack_ip(ipaddress.ip_address("::1")) == bytes(15) + b"\x01"
