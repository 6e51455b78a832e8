"""A private origin behind a real edge and a real connector: the command line from create to delete."""

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.edge_process import SEKISHO, EdgeProcess, edge_process, free_port, wait_until
from tests.kit.origin import OK, RecordingOrigin

CONFIG = """
auth_domain: login.sekisho.localhost
demo: true
plain: ["127.0.0.1:{port}"]
tunnel_listen: ["127.0.0.1:{tunnel}"]
workers: 2
monitor: 127.0.0.1:{watch}
access_log: {folder}/access.log
identity_providers: [{{name: One-time PIN, type: onetimepin}}]
mail: {{server: "smtp://127.0.0.1:1", from: "access@sekisho.localhost"}}
routes:
  - {{hostname: wiki.sekisho.localhost, tunnel: office}}
  - {{hostname: gone.sekisho.localhost, tunnel: office}}
  - {{hostname: hello.sekisho.localhost, tunnel: office}}
applications:
  - name: Wiki
    domains: [wiki.sekisho.localhost, gone.sekisho.localhost, hello.sekisho.localhost]
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
"""


class Office:
    """The edge, its connector and the origin behind it."""

    def __init__(self, edge: EdgeProcess, folder: Path, port: int, watch: int) -> None:
        self.edge, self.folder, self.port = edge, folder, port
        self.watch = watch  # the edge's own monitor
        self.origin = RecordingOrigin()
        self.monitor = free_port()
        self.connector: subprocess.Popen[bytes] | None = None

    def tunnel(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.edge.command("tunnel", *words, check=check)

    def admin(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.tunnel(*words, "--edge-config", str(self.edge.config), check=check)

    def run(self) -> None:
        config = self.folder / "config.yml"
        config.write_text(
            "credentials-file: office.json\n"
            f"metrics: 127.0.0.1:{self.monitor}\n"
            "ingress:\n"
            f"- {{hostname: wiki.sekisho.localhost, service: 'http://127.0.0.1:{self.origin.port}'}}\n"
            "- {hostname: hello.sekisho.localhost, service: hello_world}\n"
            "- service: http_status:404\n"
        )
        with (self.folder / "connector.log").open("ab") as log:
            self.connector = subprocess.Popen(
                [*SEKISHO, "tunnel", "--config", str(config), "run"], stderr=log
            )
        wait_until(lambda: self.ready()[1].get("readyConnections") == 4, 20)

    def ready(self) -> tuple[int, dict[str, Any]]:
        try:
            session = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=2)
            session.request("GET", "/ready")
            answer = session.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return 0, {}

    def metrics(self) -> dict[str, float]:
        """What the connector's /metrics says, without the common prefix."""
        session = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=2)
        session.request("GET", "/metrics")
        lines = session.getresponse().read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("sekisho_connector_"): float(value) for name, value in pairs}

    def get(self, host: str = "wiki", path: str = "/") -> tuple[int, bytes]:
        session = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        session.request("GET", path, headers={"Host": f"{host}.sekisho.localhost:{self.port}"})
        answer = session.getresponse()
        return answer.status, answer.read()

    def stop(self) -> None:
        if self.connector is not None and self.connector.poll() is None:
            self.connector.kill()
            self.connector.wait()
        self.origin.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("tunnel")
    port, tunnel, watch = free_port(), free_port(), free_port()
    text = CONFIG.format(port=port, tunnel=tunnel, folder=folder, watch=watch)
    with edge_process(text, folder) as edge:
        found = Office(edge, folder, port, watch)
        try:
            found.admin("create", "office", "--credentials-file", str(folder / "office.json"))
            found.run()
            yield found
        finally:
            found.stop()


def test_request_reaches_the_hidden_origin_and_back(office: Office) -> None:
    assert office.get(path="/page?x=1") == (200, b"ok\n")
    assert office.origin.requests[-1].line == "GET /page?x=1 HTTP/1.1"


def test_every_worker_reaches_it(office: Office) -> None:
    assert [office.get()[0] for _ in range(12)] == [200] * 12


def test_service_of_the_table_is_answered_by_the_edge(office: Office) -> None:
    assert office.get("gone")[0] == 404
    status, page = office.get("hello")
    assert status == 200 and page


def test_J19_malformed_answer_fails_that_request_only(office: Office) -> None:
    office.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
    try:
        assert [office.get()[0] for _ in range(4)] == [502] * 4
    finally:
        office.origin.answer = OK
    assert office.get() == (200, b"ok\n")
    assert office.ready()[1]["readyConnections"] == 4


def test_connector_drains_at_sigterm_and_a_replica_serves_on(office: Office) -> None:
    first, office.connector = office.connector, None
    monitor, office.monitor = office.monitor, free_port()
    office.run()  # the replica
    assert first is not None
    assert [office.get()[0] for _ in range(8)] == [200] * 8  # pooled streams on both
    begun = time.monotonic()
    first.send_signal(signal.SIGTERM)
    answers = []
    while first.poll() is None and time.monotonic() - begun < 10:
        answers.append(office.get()[0])
    assert (first.returncode, set(answers)) == (0, {200})
    assert time.monotonic() - begun < 5  # idle streams don't hold it
    assert monitor != office.monitor


def test_credentials_file_is_secret_and_dials_an_address(office: Office) -> None:
    path = office.folder / "office.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["edge"][0].startswith("127.0.0.1:")


def test_log_line_names_the_link_s_round_trip_and_the_connector_shows_no_key(office: Office) -> None:
    wait_until(lambda: office.get(path="/logged")[0] == 200, 10)

    def line() -> dict[str, Any]:
        lines = [json.loads(text) for text in (office.folder / "access.log").read_text().splitlines()]
        return next(one for one in lines if one["path"] == "/logged" and "link_rtt_us" in one)

    def found() -> dict[str, Any] | None:
        office.get(path="/logged")          # the round trip is known from the first answered ping on
        try:
            return line()
        except StopIteration:
            return None

    told = wait_until(found, 15)
    assert 0 < told["link_rtt_us"] < 5_000_000 and told["upstream_us"] > 0
    assert (told["application"], told["decision"]) == ("Wiki", "bypass")
    credentials = json.loads((office.folder / "office.json").read_text())
    private = [text for value in credentials.values() if isinstance(value, str) and "PRIVATE KEY" in value
               for text in value.splitlines() if len(text) > 40]
    assert private and office.connector is not None
    shown = (office.folder / "connector.log").read_text() + office.edge.text()
    shown += Path(f"/proc/{office.connector.pid}/cmdline").read_text()
    assert not [text for text in private if text in shown]


def test_ready_and_metrics(office: Office) -> None:
    status, body = office.ready()
    assert (status, body["readyConnections"]) == (200, 4)
    before = office.metrics()
    assert (before["links_ready"], before["links_wanted"], before["table_version"]) == (4, 4, 1)
    assert before["reload_errors_total"] == 0
    assert {f'link_streams{{link="{n}"}}' for n in range(4)} <= before.keys()
    office.connector.send_signal(signal.SIGHUP) if office.connector else None
    wait_until(lambda: office.metrics()["reloads_total"] == before["reloads_total"] + 1, 5)
    assert office.get()[0] == 200
    assert office.metrics()["streams_total"] >= 1


def test_Z01_the_connector_s_monitor_wants_its_own_host(office: Office) -> None:
    for host in ("evil.test", f"evil.test:{office.monitor}", ""):
        session = http.client.HTTPConnection("127.0.0.1", office.monitor, timeout=2)
        session.request("GET", "/metrics", headers={"Host": host})
        answer = session.getresponse()
        assert (answer.status, answer.read()) == (421, b"")


def test_edge_is_not_ready_while_a_worker_is_missing(office: Office) -> None:
    def ready() -> int:
        session = http.client.HTTPConnection("127.0.0.1", office.watch, timeout=5)
        session.request("GET", "/ready")
        return session.getresponse().status

    assert ready() == 200
    office.edge.kill("worker 1")
    wait_until(lambda: ready() == 503, 3)
    wait_until(lambda: ready() == 200, 15)
    wait_until(lambda: office.ready()[1].get("readyConnections") == 4, 15)


def test_list_and_info_show_what_is_there(office: Office) -> None:
    [row] = json.loads(office.admin("list", "-o", "json").stdout)
    assert (row["name"], row["status"], row["links"], row["replicas"]) == ("office", "healthy", 4, 1)
    info = json.loads(office.admin("info", "office", "-o", "json").stdout)
    assert {one["slot"] for one in info["links"]} == {0, 1}
    assert "office" in office.admin("list").stdout
    assert "credential" in office.admin("info", "office").stdout


def test_a_name_is_given_once_and_an_unknown_one_is_said(office: Office) -> None:
    again = office.admin("create", "office", "--credentials-file", "/nowhere/x", check=False)
    assert again.returncode == 1 and "already" in again.stderr
    assert "no tunnel “nobody”" in office.admin("info", "nobody", check=False).stderr


def test_worker_killed_and_the_tunnel_serves_on(office: Office) -> None:
    office.edge.kill("worker 0")
    wait_until(lambda: office.get()[0] == 200, 5)
    office.edge.wait_ready()
    wait_until(lambda: office.ready()[1].get("readyConnections") == 4, 10)
    assert [office.get()[0] for _ in range(8)] == [200] * 8


def test_connector_killed_is_a_page_at_once_and_back_within_two_seconds(office: Office) -> None:
    assert office.connector is not None
    office.connector.send_signal(signal.SIGKILL)
    office.connector.wait()
    time.sleep(1.0)
    begun = time.monotonic()
    status, page = office.get()
    assert (status, time.monotonic() - begun < 1.0) == (502, True)
    assert b"tunnel-down" in page or b"<html" in page
    office.run()
    assert office.get()[0] == 200


def test_cleanup_makes_links_dial_again(office: Office) -> None:
    before = json.loads(office.admin("info", "office", "-o", "json").stdout)["links"]
    assert "4 links" in office.admin("cleanup", "office").stdout
    wait_until(lambda: office.ready()[1].get("readyConnections") == 4, 10)
    after = json.loads(office.admin("info", "office", "-o", "json").stdout)["links"]
    assert max(one["since"] for one in before) < min(one["since"] for one in after)


def test_rotated_credentials_cut_the_old_ones(office: Office) -> None:
    fresh = office.folder / "fresh.json"
    office.admin("token", "office", "--rotate", "--credentials-file", str(fresh))
    wait_until(lambda: office.ready()[0] == 503, 5)
    assert office.get()[0] == 502
    fresh.rename(office.folder / "office.json")
    office.stop()
    office.origin = RecordingOrigin()
    office.run()
    assert office.get()[0] == 200


def test_delete_wants_force_while_links_live(office: Office) -> None:
    refused = office.admin("delete", "office", check=False)
    assert refused.returncode == 1 and "--force" in refused.stderr
    office.admin("delete", "office", "--force")
    wait_until(lambda: office.get()[0] == 502, 5)
    assert json.loads(office.admin("list", "-o", "json").stdout) == []
