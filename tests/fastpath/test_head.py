"""What a field name and a host mean to us, outside a head."""

import pytest

from _fastpath.errors import WireError
from _fastpath.head import KINDS, kind_of, normal_host

KNOWN = [kind for kind in KINDS.values() if kind not in ("other", "owned", "refused")]


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_name_in_any_case(name: str) -> None:
    assert kind_of(name.encode()) == kind_of(name.upper().encode()) == name


@pytest.mark.parametrize("name", KNOWN)
def test_no_name_beside_it(name: str) -> None:
    """One letter changed, at each place, is another name, though it may share its slot."""
    for at, letter in enumerate(name):
        if letter != "-":
            near = name[:at] + ("q" if letter != "q" else "z") + name[at + 1 :]
            assert kind_of(near.encode()) in ("other", "owned"), near
    assert kind_of(name.encode() + b"x") in ("other", "owned")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"", "other"),
        (b"Transfer_Encoding", "refused"),
        (b"content.length", "refused"),
        (b"cf_ray", "owned"),
        (b"x_y", "other"),
    ],
)
def test_disguises(name: bytes, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    "host",
    [
        b"app-a, app-b",
        b"app-a app-b",
        b"u@app-a",
        b"app-a/x",
        b"app-a#x",
        b"app-a?x",
        b"app%2da",
        b"app-a\x02",
        b"app-a:98777",
        b"app-a:80:80",
        b"app-a:1.2",
        b"app-a:",
        b"app-a:0",
        b"app-a:080",
        b"app-a:655360",
        b"\xc3\xa9",
        b":80",
        b"a" * 64,
        b"a." * 127 + b"a",
        b"a." * 126 + b"ab",
        b"",
        b"a" * 256,
    ],
    ids=ascii,
)
def test_b07_no_host(host: bytes) -> None:
    with pytest.raises(WireError, match="host-invalid"):
        normal_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"..app-a",
        b"app-a..",
        b".",
        b"[::1",
        b"[::1].",
        b"extra[::1]",
        b"[]",
        b"[:]",
        b"[::1]x",
        b"[::1]:",
        b"[::g]",
        b"[",
    ],
)
def test_b09_no_host(host: bytes) -> None:
    with pytest.raises(WireError, match="host-invalid"):
        normal_host(host)


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        (b"app-a.example.com", b"app-a.example.com", None),
        (b"APP-A.example.com", b"app-a.example.com", None),
        (b"app-a.example.com:443", b"app-a.example.com", 443),
        (b"app-a.example.com.", b"app-a.example.com", None),
        (b"app-a.example.com.:65535", b"app-a.example.com", 65535),
        (b"127.0.0.1:8080", b"127.0.0.1", 8080),
        (b"[2001:DB8::1]", b"[2001:db8::1]", None),
        (b"[::1]:1", b"[::1]", 1),
        (b"a_b", b"a_b", None),
        (b"a" * 63, b"a" * 63, None),
    ],
)
def test_b08_hosts(host: bytes, name: bytes, port: int | None) -> None:
    assert normal_host(host) == (name, port)
    assert normal_host(name) == (name, None)
