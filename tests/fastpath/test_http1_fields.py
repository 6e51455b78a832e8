"""Sections C and E at the parser: what a request's fields mean together."""

import pytest

from _fastpath.http1 import parse_request
from tests.kit.head_feeds import CHUNKED, accepted, head, judge


def kinds(*lines: bytes) -> list[tuple[bytes, str, bool]]:
    return [(name, kind, listed) for name, _, kind, listed in accepted(*lines)["fields"][1:]]


@pytest.mark.parametrize(
    "name",
    [
        b"Cf-Access-Authenticated-User-Email",
        b"CF-CONNECTING-IP",
        b"cf-ray",
        b"Cf-Access-Jwt-Assertion",
        b"cf_connecting_ip",
        b"Cf.Access.Jwt.Assertion",
        b"Cf_Access_Token",
        b"CF-Access_Client-Id",
        b"X-Forwarded-Host",
        b"x_forwarded_for",
        b"X-Forwarded_For",
        b"X-Forwarded-Prefix",
        b"Forwarded",
        b"X-Real-IP",
        b"X_Real_Ip",
        b"True-Client-IP",
        b"X-Original-URL",
        b"x-rewrite-url",
        b"Proxy",
        b"Cf-" + b"x" * 100,
        b"Cf_" + b"x" * 100,
    ],
)
def test_c01_c02_c10_b16_b17_names_that_only_we_may_set(name: bytes) -> None:
    assert kinds(name + b": admin") == [(name, "owned", False)]


@pytest.mark.parametrize(
    "name",
    [
        b"cf",
        b"cf-",
        b"cfx",
        b"x-forwarded",
        b"x-forwarded-",
        b"x-forward-for-x",
        b"x-realip",
        b"forwarded-x",
        b"xforwarded-for",
        b"user_agent",
        b"~",
        b"-",
        b"true_client",
        b"Content-Type",
        b"X-Frame-Options-Long-Name_With_More",
    ],
)
def test_c02_names_that_are_nobodys_business(name: bytes) -> None:
    assert kinds(name + b": x") == [(name, "other", False)]


@pytest.mark.parametrize("name", [b"Id-User\x20", b"ID-user\xa0"])
def test_c02_names_with_blanks(name: bytes) -> None:
    assert judge(parse_request, head(name + b": admin")) == "field-name-invalid"


def test_c03_c04_c05_connection_strips_nothing_that_we_judge_by() -> None:
    listed = kinds(
        b"Connection: close, Cf-Access-Token, X-Forwarded-For ,Host,content-length ,"
        b" Transfer-Encoding,"
        b"x-forwarded-proto,cf-ray, Authorization,X-Mine",
        b"Content-Length: 0",
        b"cf-access-token: t",
        b"X-Forwarded-For: 1.2.3.4",
        b"X-Forwarded-Proto: https",
        b"Cf-Ray: r",
        b"AUTHORIZATION: b",
        b"x-mine: 1",
        b"x-other: 2",
    )
    assert [name for name, _, hop in listed if hop] == [b"AUTHORIZATION", b"x-mine"]


def test_connection_options_are_tokens_and_few() -> None:
    assert judge(parse_request, head(b"Connection: a b")) == "field-value-invalid"
    assert judge(parse_request, head(b"Connection: " + b"," * 32)) == "field-value-invalid"
    accepted(b"Connection: " + b"," * 31)
    assert (
        judge(parse_request, head(b"Connection: " + b"," * 20, b"Connection: " + b"," * 20))
        == "field-value-invalid"
    )


@pytest.mark.parametrize(
    ("minor", "options", "keep"),
    [
        (1, [], True),
        (1, [b"close"], False),
        (1, [b"keep-alive, CLOSE"], False),
        (1, [b"x", b"Close"], False),
        (0, [], False),
        (0, [b"Keep-Alive"], True),
        (0, [b"keep-alive", b"close"], False),
    ],
)
def test_keep_alive(minor: int, options: list[bytes], keep: bool) -> None:
    view = accepted(*[b"Connection: " + o for o in options], first=b"GET / HTTP/1.%d" % minor)
    assert view["keep_alive"] is keep


def test_c06_hop_by_hop_names_are_known() -> None:
    names = (
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"Proxy-Authorization",
        b"Proxy-Authenticate",
        b"HTTP2-Settings",
    )
    assert [k for _, k, _ in kinds(*[n + b": x" for n in names])] == [
        n.decode().lower() for n in names
    ]


KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
SOCKET = (
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: WebSocket",
    KEY,
    b"Sec-WebSocket-Version: 13",
)


def test_e04_a_websocket_handshake() -> None:
    assert accepted(*SOCKET)["upgrade"] == "websocket"
    assert accepted(b"Connection: upgrade", b"Upgrade: sekisho-tcp/1")["upgrade"] == "tcp"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((*SOCKET[:2], SOCKET[3]), "upgrade-invalid"),
        ((*SOCKET[:2], b"Sec-WebSocket-Key: short", SOCKET[3]), "upgrade-invalid"),
        (
            (*SOCKET[:2], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==", SOCKET[3]),
            "upgrade-invalid",
        ),
        ((*SOCKET, KEY), "upgrade-invalid"),
        ((*SOCKET[:3], b"Sec-WebSocket-Version: 12"), "websocket-version"),
        (SOCKET[:3], "websocket-version"),
        ((b"Connection: close", *SOCKET[1:]), "upgrade-invalid"),
        (SOCKET[1:], "upgrade-invalid"),
        ((*SOCKET, b"Content-Length: 1"), "upgrade-invalid"),
        ((*SOCKET, CHUNKED), "upgrade-invalid"),
        ((b"Upgrade: sekisho-tcp/1",), "upgrade-invalid"),
    ],
)
def test_e04_half_of_a_handshake(lines: tuple[bytes, ...], reason: str) -> None:
    assert judge(parse_request, head(*lines)) == reason


def test_e04_only_get_switches() -> None:
    assert judge(parse_request, head(*SOCKET, first=b"POST / HTTP/1.1")) == "upgrade-invalid"


@pytest.mark.parametrize(
    "value", [b"websocket, h2c", b"foo", b"h2c", b"websocket/13", b"sekisho-tcp/2", b""]
)
def test_e03_e06_other_upgrades_are_dropped(value: bytes) -> None:
    assert accepted(b"Connection: upgrade", b"Upgrade: " + value)["upgrade"] == "other"


def test_e06_two_upgrade_fields_or_http_10_switch_nothing() -> None:
    assert accepted(*SOCKET, b"Upgrade: h2c")["upgrade"] == "other"
    assert accepted(*SOCKET, first=b"GET / HTTP/1.0")["upgrade"] == "other"


def test_e09_expect() -> None:
    assert accepted(b"Expect: 100-Continue")["expect_continue"]
    assert not accepted(b"Expect: 100-continue", first=b"POST / HTTP/1.0")["expect_continue"]
    assert not accepted()["expect_continue"]
