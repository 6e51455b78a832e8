"""The connector's configuration: cloudflared's shape, strict, every problem at its place."""

from pathlib import Path

import pytest

from edge.connector.ingress import Read, match, read_file, read_text_of
from edge.connector.scalars import parse_duration, split_address

GOOD = """\
tunnel: office
credentials-file: office.json
metrics: 127.0.0.1:20300
originRequest:
  connectTimeout: 5s
ingress:
  - hostname: wiki.example.com
    path: ^/api/
    service: http://10.0.0.5:8080
    originRequest:
      httpHostHeader: wiki.lan
      disableChunkedEncoding: true
  - hostname: "*.example.com"
    service: https://web:8443
    originRequest: {originServerName: web.lan, tlsTimeout: 1m30s, matchSNItoHost: true}
  - hostname: "*"
    path: /status$
    service: http_status:204
  - hostname: BÜCHER.example
    service: unix:/run/app.sock
  - service: hello_world
"""


def read(text: str) -> Read:
    return read_text_of(text.encode(), Path("/etc/sekisho/config.yml"))


def problems(text: str) -> list[str]:
    return [str(one).removeprefix("/etc/sekisho/config.yml:") for one in read(text).problems]


def test_a_whole_file() -> None:
    found = read(GOOD)
    assert found.problems == ()
    settings = found.settings
    assert settings is not None
    assert settings.credentials_file == Path("/etc/sekisho/office.json")
    assert settings.metrics == ("127.0.0.1", 20300)
    assert settings.links == 4
    first, second, third, fourth, last = settings.rules
    assert first.announced() == {
        "index": 0,
        "hostname": "wiki.example.com",
        "path": "^/api/",
        "service": "http://10.0.0.5:8080",
        "options": {"httpHostHeader": "wiki.lan", "disableChunkedEncoding": True},
    }
    assert first.origin.connect_timeout == 5 and second.origin.connect_timeout == 5
    assert (second.origin.server_name, second.origin.tls_timeout) == ("web.lan", 90)
    # what only the connector needs is not told: no names of files, no dial options
    assert second.announced()["options"] == {"matchSNItoHost": True}
    assert third.hostname == ""
    assert fourth.hostname == "xn--bcher-kva.example"
    assert last.announced() == {"index": 4, "hostname": "", "path": "", "service": "hello_world"}


@pytest.mark.parametrize(
    ("host", "path", "index"),
    [
        ("wiki.example.com", "/api/x", 0),
        ("wiki.example.com", "/x/api/", 1),
        ("a.b.example.com", "/", 1),
        ("example.com", "/status", 2),
        ("example.com", "/status/x", 4),
        ("xn--bcher-kva.example", "/", 3),
    ],
)
def test_rule_of_a_url(host: str, path: str, index: int) -> None:
    settings = read(GOOD).settings
    assert settings is not None
    found = match(settings.rules, host, path)
    assert found is not None and found.index == index


LAST = "- service: http_status:404\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ingres: []\n", "1:1: there is no key “ingres” here (did you mean “ingress”?)"),
        ("tunnel: a\ntunnel: b\n", "2:1: “tunnel” is here twice; the first is in line 1"),
        ("ingress: {}\n", "1:10: “ingress” is a list of rules"),
        ("ingress:\n- service: http://a\n  servce: x\n", "3:3: a rule has no key “servce”"),
        ("ingress:\n- hostname: a.b\n" + LAST, "2:3: a rule needs a “service”"),
        (
            "ingress:\n- service: http://a\n  connectTimeout: 3s\n",
            "3:3: a rule has no key “connectTimeout” (it belongs under “originRequest”)",
        ),
        (
            "ingress:\n- hostname: a.b\n  service: http://a\n",
            "2:3: the last rule must match everything: no hostname, no path",
        ),
        (
            "ingress:\n- service: http://a\n" + LAST,
            "2:3: only the last rule may match everything: later ones are dead",
        ),
        (
            "ingress:\n- hostname: a.b:80\n  service: http://a\n" + LAST,
            "2:13: a hostname has no port",
        ),
        (
            "ingress:\n- hostname: a.*.b\n  service: http://a\n" + LAST,
            "2:13: a wildcard stands only at the front: *.example.com",
        ),
        (
            "ingress:\n- hostname: a_.-b\n  service: http://a\n" + LAST,
            "2:13: “a_.-b” is not a hostname",
        ),
        (
            "ingress:\n- path: '(a'\n  service: http://a\n" + LAST,
            "2:9: the path pattern is not understood",
        ),
        (
            "ingress:\n- service: http://a/b\n",
            "2:12: a service has no path: requests keep the path that they came with",
        ),
        (
            "ingress:\n- service: http://u:p@a\n",
            "2:12: a service has no user name or password in it",
        ),
        ("ingress:\n- service: tcp://a\n", "2:12: tcp has no usual port: write tcp://a:PORT"),
        ("ingress:\n- service: wiki\n", "2:12: “wiki” is not a service; write http://HOST:PORT"),
        (
            "ingress:\n- service: http_status:42\n",
            "2:12: http_status takes a number from 100 to 999",
        ),
        ("ingress:\n- service: unix:run/a\n", "2:12: unix: wants the absolute path of a socket"),
        ("ingress:\n- service: socks-proxy\n", "2:12: socks-proxy lets users choose"),
        ("metrics: 20241\n", "1:10: “metrics” is an address like 127.0.0.1:20241"),
        ("links: 0\n", "1:8: “links” is a number from 1 to 64"),
        ("grace-period: 5m\n", "1:15: “grace-period” is a time like 30s, at most 180s"),
        ("loglevel: loud\n", "1:11: “loud” is none of debug, info, warn, error, fatal"),
        ("warp-routing: {enabled: true}\n", "1:1: warp-routing is not supported"),
        ("allow: ['http://a']\n", "1:9: “http://a” is not a pattern; write SCHEME://HOST:PORT"),
        ("region: us\n", "1:1: warning: “region” has no meaning here and is ignored"),
    ],
)
def test_problem_at_its_place(text: str, expected: str) -> None:
    found = problems(text)
    assert any(one.startswith(expected) for one in found), found


def option(text: str) -> list[str]:
    rule = f"ingress:\n- service: https://a\n  originRequest: {{{text}}}\n"
    return [one.split(": ", 1)[1] for one in problems(rule)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "access: {required: true, teamName: t, audTag: [a]}",
            "access is not checked by the connector",
        ),
        ("access: yes", "access is not checked by the connector"),
        ("ipRules: [{prefix: 10.0.0.0/8, allow: true}]", "ipRules is for socks-proxy"),
        ("bastionMode: true", "bastionMode lets users choose what is dialled"),
        ("proxyType: socks", "a proxy in front of the origin is not supported"),
        ("noTLSVerify: maybe", "“noTLSVerify” is true or false"),
        ("caPool: /nonexistent.pem", "/nonexistent.pem: No such file or directory"),
        ("httpHostHeader: 'a b'", "httpHostHeader is a host name"),
        ("connectTimout: 3s", "there is no origin option “connectTimout” (did you mean"),
    ],
)
def test_option_whose_neglect_would_weaken_a_check_is_an_error(text: str, expected: str) -> None:
    assert option(text)[0].startswith(expected), option(text)
    assert read(f"ingress:\n- service: https://a\n  originRequest: {{{text}}}\n").settings is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noTLSVerify: true", "warning: noTLSVerify: anybody between connector and origin"),
        ("http2Origin: true", "warning: the origin is spoken to in HTTP/1.1"),
        ("keepAliveConnections: 5", "warning: “keepAliveConnections” is decided by the edge"),
        ("proxyPort: 5", "warning: “proxyPort” is not used"),
    ],
)
def test_harmless_option_is_a_warning(text: str, expected: str) -> None:
    assert option(text)[0].startswith(expected), option(text)


@pytest.mark.parametrize(
    "text", ["access: {required: false}", "noTLSVerify: false", "bastionMode: false"]
)
def test_option_that_asks_for_nothing(text: str) -> None:
    assert option(text) == []


def test_all_problems_at_once() -> None:
    assert len(problems("tunel: x\nlinks: a\ningress:\n- service: wiki\n- service: x\n")) == 5


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    found = read_file(tmp_path / "none.yml")
    assert found.settings is None
    assert str(found.problems[0]).endswith(":1:1: can't be read: No such file or directory")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("15", 15), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1x", "-1s", "1s1m", "１s"])
def test_no_durations(text: str) -> None:
    assert parse_duration(text) is None


def test_addresses() -> None:
    assert split_address("[::1]:443") == ("::1", 443)
    assert split_address("a.b:1") == ("a.b", 1)
    assert [split_address(one) for one in ("a", "a:", ":1", "a:70000", "::1:5", "a@b:1")] == [
        None
    ] * 6


@pytest.mark.parametrize(
    ("address", "warned"),
    [("127.0.0.1:1", False), ("localhost:1", False), ("[::1]:1", False), ("0.0.0.0:1", True)],
)
def test_monitor_for_others_is_a_warning(address: str, warned: bool) -> None:
    found = read(f"metrics: '{address}'\ningress:\n- service: http://a\n")
    assert found.settings is not None
    told = [str(one) for one in found.problems]
    assert [("/ready and /metrics are for this machine" in one) for one in told] == [True] * warned
