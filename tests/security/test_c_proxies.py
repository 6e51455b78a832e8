"""Behind a load balancer: who is believed about the client's address and scheme (C07–C11, K15)."""

from collections.abc import Iterator

import pytest

from edge.demo.authority import DemoAuthority
from tests.kit.edge_process import EdgeProcess, free_port
from tests.kit.origin import RecordingOrigin
from tests.kit.raw import Raw
from tests.security.rows import request

HOST, OFFICE = "open.example.test", "office.example.test"
CONFIG = """\
auth_domain: login.example.test
listen: ["127.0.0.1:{tls}"]
plain: ["127.0.0.1:{plain}", "127.0.0.1:{wrapped}"]
redirect: ["127.0.0.1:{redirect}"]
trusted_proxies: ["127.0.0.1/32", "10.9.0.0/16"]
proxy_protocol: ["127.0.0.1:{wrapped}"]
workers: 1
access_log: "off"
certificates: [{{certificate: {folder}/edge.pem, key: {folder}/edge.key}}]
routes:
  - {{hostname: "*.example.test", service: "{origin}"}}
applications:
  - name: Open
    domain: open.example.test
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
  - name: Office
    domain: office.example.test
    policies: [{{name: Office, decision: bypass, include: [{{ip: 10.0.0.0/8}}]}}]
"""


class Behind:
    def __init__(self, folder) -> None:  # type: ignore[no-untyped-def]
        self.origin = RecordingOrigin()
        self.tls, self.plain, self.wrapped, self.redirect = (free_port() for _ in range(4))
        DemoAuthority().issue([HOST, OFFICE, "login.example.test"], folder / "edge.pem", folder / "edge.key")
        self.edge = EdgeProcess(CONFIG.format(
            folder=folder, tls=self.tls, plain=self.plain, wrapped=self.wrapped, redirect=self.redirect,
            origin=self.origin.url), folder).start()

    def ask(self, *fields: str, host: str = HOST, port: int = 0, before: bytes = b""):  # type: ignore[no-untyped-def]
        with Raw(("127.0.0.1", port or self.plain)) as c:
            return c.send(before + request(*fields, host=host)).answer()

    def seen(self, *fields: str, **more):  # type: ignore[no-untyped-def]
        self.origin.clear()
        assert self.ask("X-Forwarded-Proto: https", *fields, **more).status == 200
        return self.origin.wait(1)[0]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    one = Behind(tmp_path_factory.mktemp("behind"))
    yield one
    one.edge.stop()
    one.origin.close()


@pytest.mark.parametrize(("fields", "address"), [
    (["X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: 8.8.8.8, 203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: 203.0.113.9, 10.9.1.1"], "203.0.113.9"),
    (["X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: [::ffff:203.0.113.9]:77"], "203.0.113.9"),
    (["X-Forwarded-For: " + ", ".join(["8.8.8.8"] * 200) + ", 203.0.113.9"], "203.0.113.9"),
])
def test_C08_the_right_most_hop_that_is_no_proxy(behind: Behind, fields: list[str], address: str) -> None:
    seen = behind.seen(*fields)
    for name in ("x-forwarded-for", "x-real-ip", "cf-connecting-ip"):
        assert seen.all(name) == [address], name


@pytest.mark.parametrize("hop", ["unknown", "evil", "10.1.2.3, ", "10.1.2.3:x", "_hidden"])
def test_C08_a_malformed_hop_satisfies_no_rule_about_addresses(behind: Behind, hop: str) -> None:
    """C08 C09: and an IPv4 address written as IPv6 satisfies the rule that it would satisfy itself."""
    fields = ["X-Forwarded-Proto: https", f"X-Forwarded-For: {hop}"]
    assert behind.ask(*fields, host=OFFICE).status == 403
    assert behind.ask("X-Forwarded-Proto: https", "X-Forwarded-For: ::ffff:10.1.2.3", host=OFFICE).status == 200


def test_C07_a_spoofed_left_hop_is_not_the_client(behind: Behind) -> None:
    assert behind.ask("X-Forwarded-Proto: https", "X-Forwarded-For: 10.1.2.3, 203.0.113.9", host=OFFICE).status == 403


@pytest.mark.parametrize("fields", [["X-Forwarded-Proto: http"], ["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"]])
def test_K15_what_did_not_come_by_https_is_sent_there(behind: Behind, fields: list[str]) -> None:
    behind.origin.clear()
    answer = behind.ask(*fields)
    assert answer.status == 308 and (answer.get("location") or "").startswith(f"https://{HOST}")
    assert not answer.all("set-cookie") and not behind.origin.requests


def test_the_redirect_listener_does_nothing_else(behind: Behind) -> None:
    answer = behind.ask("X-Forwarded-Proto: https", port=behind.redirect)
    assert answer.status == 308 and (answer.get("location") or "").startswith(f"https://{HOST}")
    assert behind.ask(host="stranger.example.org", port=behind.redirect).status == 404


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 443\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 127, 0, 0, 1]) + b"\x13\x88\x01\xbb",
])
def test_C11_a_proxy_header_names_the_client(behind: Behind, header: bytes) -> None:
    seen = behind.seen(port=behind.wrapped, before=header)
    assert seen.all("cf-connecting-ip") == ["203.0.113.9"]


@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 203.0.113.9\r\n", b"PROXY TCP4 1.2.3.400 127.0.0.1 1 2\r\n"])
def test_C11_without_a_good_header_nothing_is_served(behind: Behind, header: bytes) -> None:
    behind.origin.clear()
    with Raw(("127.0.0.1", behind.wrapped)) as c:
        assert c.send(header + request("X-Forwarded-Proto: https", host=HOST)).closed() == b""
    assert not behind.origin.requests
