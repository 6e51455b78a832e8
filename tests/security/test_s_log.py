"""The access log of a real edge: one line a request, each member of issue 3 §8 by its name, and no other."""

import time

import pytest

from tests.kit.edge_mint import EdgeMint
from tests.kit.origin import Seen
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, A, post, request
from tests.security.test_e_upgrades import WEBSOCKET, own, switch

Line = dict[str, object]
ALWAYS = {"time", "id", "client", "method", "host", "path", "status", "bytes_in", "bytes_out", "first_us", "total_us",
          "snapshot"}
PLACED = ALWAYS | {"application"}
DECIDED = PLACED | {"decision", "reason"}
SERVED = DECIDED | {"policy", "rule", "edge_us", "upstream_us"}


def line_of(checkpoint: Checkpoint, send: bytes, status: int, *, tls: bool = False, name: str = OPEN) -> Line:
    """Send one request and return its log line; what holds for every line is checked here."""
    with checkpoint.client(tls=tls, name=name) as c:
        answer = c.send(send).answer()
    assert answer.status == status, answer.body[:200]
    line = checkpoint.line(answer.get("cf-ray") or "")
    assert line["status"] == status and line["client"] == "127.0.0.1"
    # 0: bytes that are no request, which no snapshot was asked about
    assert line["snapshot"] in (0 if status == 400 else None, checkpoint.edge.status()["version"])
    assert abs(time.time() - time.mktime(time.strptime(str(line["time"])[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
    first, total = int(str(line["first_us"])), int(str(line["total_us"]))
    assert 0 <= first <= total
    if "upstream_us" in line:
        # to the question, from there to the head of the answer; the rest is the body's time
        assert int(str(line["edge_us"])) + int(str(line["upstream_us"])) <= total
    return line


def is_like(line: Line, keys: set[str], **values: object) -> None:
    assert set(line) == keys
    assert {name: line[name] for name in values} == values


def test_allow(checkpoint: Checkpoint) -> None:
    cookie = checkpoint.cookie(A)
    checkpoint.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    body = b"y" * 300
    line = line_of(checkpoint, post(f"Cookie: {cookie}", "Content-Length: 300", body=body, host=A), 200)
    is_like(line, SERVED | {"person"}, method="POST", host=A, path="/", application="A", person="alice@example.com",
            decision="allow", reason="policy-allowed", policy="Alice", rule=0)
    assert int(str(line["bytes_in"])) >= 300 and int(str(line["bytes_out"])) >= 1000


def test_bypass_over_tls_with_what_was_dropped(checkpoint: Checkpoint) -> None:
    plain = line_of(checkpoint, request(), 200)
    is_like(plain, SERVED, application="Open", decision="bypass", reason="policy-bypassed", policy="All")
    line = line_of(checkpoint, request("Cf-Access-Authenticated-User-Email: root@example.com", "X-Real-IP: 1.2.3.4",
                                       first="GET /a/../b?secret=1 HTTP/1.1"), 200, tls=True)
    is_like(line, SERVED | {"tls", "dropped_fields"}, tls=True, path="/b")
    assert int(str(line["dropped_fields"])) >= 2 and "secret" not in str(line), "the query is nobody's business"


def test_service(checkpoint: Checkpoint) -> None:
    made = checkpoint.edge.admin.call("POST", "/service-tokens", {"name": "log", "duration": 600})
    fields = [f"CF-Access-Client-Id: {made['client_id']}", f"CF-Access-Client-Secret: {made['client_secret']}"]
    line = line_of(checkpoint, request(*fields, host="robots.sekisho.localhost"), 200)
    is_like(line, SERVED | {"service_token"}, application="Robots", service_token=made["id"], decision="service",
            reason="policy-service-admitted", policy="Machines")
    assert made["client_secret"] not in str(line)


@pytest.mark.parametrize(("accept", "status"), [("text/html", 302), ("application/json", 401)])
def test_login(checkpoint: Checkpoint, accept: str, status: int) -> None:
    line = line_of(checkpoint, request(f"Accept: {accept}", host=A), status)
    assert set(line) >= DECIDED
    assert (line["decision"], line["reason"]) == ("login", "session-missing")
    assert "person" not in line and "upstream_us" not in line


def test_deny(checkpoint: Checkpoint) -> None:
    line = line_of(checkpoint, request(host="office.sekisho.localhost"), 403)
    assert set(line) >= DECIDED and "upstream_us" not in line and "person" not in line
    assert (line["decision"], line["reason"], line["application"]) == ("deny", "policy-no-match", "Office")


def test_deny_names_the_person(checkpoint: Checkpoint) -> None:
    """Somebody who is known, and whom no policy admits any more."""
    mint = EdgeMint.of(checkpoint.edge, f"sqlite:///{checkpoint.folder}/state.db", time.time())
    other = mint.over(checkpoint.token(A), email="mallory@example.com")
    checkpoint.clear()
    line = line_of(checkpoint, request(f"Cookie: CF_Authorization={other}", host=A), 403)
    assert (line["decision"], line["person"], line["reason"]) == ("deny", "mallory@example.com", "policy-no-match")
    assert not checkpoint.origin.requests


@pytest.mark.parametrize(("send", "status", "reason"), [
    (request("Content-Length: 1", "Transfer-Encoding: chunked"), 400, "length-and-encoding"),
    (request(host="nobody.example"), 404, "host-unknown"),
    (request(first="GET /%2e%2e/%2e%2e HTTP/1.1"), 400, "path-above-root"),
])
def test_nobody_decided(checkpoint: Checkpoint, send: bytes, status: int, reason: str) -> None:
    """What is no request, or has no place: a reason, and no decision, for nobody made one."""
    line = line_of(checkpoint, send, status)
    assert line["reason"] == reason and "person" not in line and "policy" not in line
    assert line.get("decision", "none") == "none"


def test_what_control_answers_is_no_denial(checkpoint: Checkpoint) -> None:
    line = line_of(checkpoint, request(first="GET /cdn-cgi/access/certs HTTP/1.1", host=A), 200)
    assert line["application"] == "A" and line.get("decision", "none") == "none"


def test_upgrade_and_stream_count_their_time_as_the_upstream_s(checkpoint: Checkpoint) -> None:
    checkpoint.origin.answer = switch
    with checkpoint.client() as c:
        opened = c.send(request(own(checkpoint, OPEN), *WEBSOCKET)).answer()
        time.sleep(0.5)
        c.send(b"\x82\x05hello").exactly(7, time.monotonic() + 2)
    line = checkpoint.line(opened.get("cf-ray") or "")
    assert (line["status"], line["upgraded"]) == (101, True)
    assert int(str(line["bytes_in"])) >= 7 and int(str(line["bytes_out"])) >= 7
    assert int(str(line["total_us"])) >= 500_000 > int(str(line["edge_us"])), "the wait wasn't ours"

    def slow(seen: Seen, sock: object) -> bytes | None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")      # type: ignore[attr-defined]
        time.sleep(0.5)
        return b"b"

    checkpoint.origin.answer = slow
    line = line_of(checkpoint, request(), 200)
    assert int(str(line["total_us"])) >= 500_000 > 400_000 > int(str(line["first_us"]))
    assert int(str(line["edge_us"])) < 400_000


def test_a_retry_and_an_origin_that_is_gone(checkpoint: Checkpoint) -> None:
    def once(seen: Seen, sock: object) -> bytes | None:
        if checkpoint.origin.count == 2:
            sock.close()                                                    # type: ignore[attr-defined]
            return None
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    checkpoint.origin.answer = once
    with checkpoint.client() as c:
        c.send(request()).answer()
        answer = c.send(request(first="GET /again HTTP/1.1")).answer()
    assert checkpoint.line(answer.get("cf-ray") or "")["retried"] is True
    checkpoint.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab"
    line = line_of(checkpoint, request(), 502)
    assert line["reason"] == "origin-response-invalid" and line["decision"] == "bypass"
