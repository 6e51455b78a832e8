"""Tables that the edge owns: only within the operator's own patterns, and never link-local."""

from pathlib import Path

import pytest

from edge.connector.ingress import Settings
from edge.connector.pushed import NotAllowed, rules_of
from edge.connector.service import ServiceRefused, parse, parse_pattern
from tests.kit.tunnel_edge import Origin, connector, on_uvloop, tunnel_edge


def allowing(*patterns: str) -> Settings:
    return Settings(Path("config.yml"), allow=tuple(parse_pattern(one) for one in patterns))


@pytest.mark.parametrize(
    ("pattern", "service", "admitted"),
    [
        ("http://10.0.0.0/8:*", "http://10.1.2.3:8080", True),
        ("http://10.0.0.0/8:8080", "http://10.1.2.3:8081", False),
        ("http://10.0.0.0/8:*", "https://10.1.2.3:443", False),
        ("*://wiki.lan:443", "https://wiki.lan", True),
        ("http://*.lan:80", "http://a.lan", True),
        ("http://*.lan:80", "http://lan", False),
        ("http://*:80", "http://anything", True),
        ("http://10.0.0.0/8:*", "http://ten.lan:80", False),  # a name is not an address
        ("unix:/run/app/*", "unix:/run/app/a.sock", True),
        ("unix:/run/app/*", "unix:/run/app/../other.sock", False),
        ("unix:/run/app/*", "unix:/run/other.sock", False),
        ("*://*:*", "http://169.254.169.254:80", False),
        ("http://169.254.0.0/16:*", "http://169.254.169.254:80", False),
        ("*://*:*", "http://[fe80::1]:80", False),
        ("*://*:*", "http://[::ffff:169.254.169.254]:80", False),
        ("*://*:*", "http://0.0.0.0:80", False),
    ],
)
def test_pattern(pattern: str, service: str, admitted: bool) -> None:
    assert parse_pattern(pattern).admits(parse(service)) is admitted


@pytest.mark.parametrize("text", ["10.0.0.0/8", "http://10.0.0.1/8:80", "unix:x", "http://a b:1"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ServiceRefused):
        parse_pattern(text)


def test_nothing_is_pushed_to_who_allows_nothing() -> None:
    with pytest.raises(NotAllowed, match="no “allow:” patterns"):
        rules_of(({"service": "http://a:80"},), Settings(Path("config.yml")))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (({"service": "http://10.0.0.1:22"},), "fits no “allow:” pattern"),
        (({"service": "http://169.254.169.254"},), "link-local"),
        (({"service": "https://10.0.0.1:80", "originRequest": {"caPool": "/x"}},), "caPool"),
        (({"service": "https://10.0.0.1:80", "originRequest": {"noTLSVerify": True}},), "noTLSV"),
        (({"service": "https://10.0.0.1:80", "originRequest": 5},), "originRequest is a mapping"),
        (({"service": "https://10.0.0.1:80", "originRequest": True},), "is a mapping"),
        (({"service": "http://10.0.0.1:80", "extra": 1},), "no key “extra”"),
        (({"hostname": "a", "service": "http://10.0.0.1:80"},), "last rule must match"),
    ],
)
def test_a_pushed_table_is_refused_as_a_whole(entries: tuple[dict, ...], sentence: str) -> None:
    with pytest.raises(NotAllowed, match=sentence):
        rules_of(entries, allowing("http://10.0.0.0/8:80", "https://10.0.0.0/8:80"))


@on_uvloop
async def test_pushed_table_is_acknowledged_and_served() -> None:
    async with tunnel_edge() as edge, Origin("one") as one, Origin("two") as two:
        office = edge.tunnel("wiki.test")
        made = edge.credential(office)
        allow = (parse_pattern(f"http://127.0.0.1:{two.port}"),)
        async with connector(made, f"- service: {one.url}", allow=allow, links=2) as daemon:
            await edge.serving(office, 2)
            registrar = edge.registrars[0]
            answers = await registrar.push(office, 9, [{"service": two.url}])
            assert [(one.version, one.reason) for one in answers] == [(9, ""), (9, "")]
            await edge.serving(office, 2, version=2)
            assert daemon.table_owner() == "edge"
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"two GET / HTTP/1.1\n")
            answers = await registrar.push(office, 10, [{"service": one.url}])
            assert {one.reason for one in answers} == {"table-not-allowed"}
            _, answer, _ = await edge.request(office)
            assert answer.endswith(b"two GET / HTTP/1.1\n")
