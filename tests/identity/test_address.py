"""M09 O09: one canonical form for addresses, or none; networks that count as one."""

import pytest

from edge.identity.address import canonical, mailbox, network


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("A@CORP.com", "a@corp.com"),
        (" user@corp.com\t", "user@corp.com"),
        ("user+1@corp.com", "user+1@corp.com"),
        ("o'neil@corp.co.jp", "o'neil@corp.co.jp"),
        ("a.b@x-y.example", "a.b@x-y.example"),
    ],
)
def test_canonical(typed: str, address: str) -> None:
    assert canonical(typed) == address


@pytest.mark.parametrize(
    "typed",
    [
        "a@b@corp.com",
        '"x@corp.com"@evil.com',
        "x@corp.com, y@corp.com",
        "<x@corp.com>",
        "X <x@corp.com>",
        "x@c\u043erp.com",
        "\uff41@corp.com",
        "x@corp.com\r\nBcc: y@corp.com",
        "x@corp.com\x00",
        "x@corp..com",
        ".x@corp.com",
        "x.@corp.com",
        "x..y@corp.com",
        "x@.com",
        "x@corp.com.",
        "x@[127.0.0.1]",
        "x(comment)@corp.com",
        "x@corp,com",
        "x y@corp.com",
        "\u0131@corp.com",
        "x@corp.com\u00a0",
        "x" * 65 + "@corp.com",
        "x@" + "a" * 64 + ".com",
        "x@" + "a." * 130 + "com",
    ],
)
def test_m09_o09_refused(typed: str) -> None:
    assert canonical(typed) is None


def test_m09_other_domain_stays_another() -> None:
    assert canonical("a@corp.com.evil") == "a@corp.com.evil"


def test_mailbox() -> None:
    assert mailbox("user+tag+x@corp.com") == "user@corp.com"
    assert mailbox("+tag@corp.com") == "+tag@corp.com"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("", "unknown"),
        ("x", "unknown"),
    ],
)
def test_network(address: str, expected: str) -> None:
    assert network(address) == expected
