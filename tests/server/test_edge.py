"""A whole edge: command line, reload, revocation, monitor and drain with the real data path."""

import base64
import http.client
import json
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from edge.identity.authority import new_key, new_request
from tests.kit.bare_node import crowding
from tests.kit.edge_process import EdgeProcess, edge_process, free_port, wait_until
from tests.kit.sign_in import Page

CONFIG = """
auth_domain: login.sekisho.localhost
demo: true
plain: ["127.0.0.1:{port}"]
monitor: 127.0.0.1:{monitor}
workers: 2
access_log: {folder}/access.log
identity_providers: [{{name: One-time PIN, type: onetimepin}}]
mail: {{server: "smtp://127.0.0.1:1", from: "access@sekisho.localhost"}}
routes:
  - {{hostname: open.sekisho.localhost, service: "http_status:{status}"}}
  - {{hostname: wiki.sekisho.localhost, service: "http_status:200"}}
applications:
  - name: Open
    domain: open.sekisho.localhost
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
  - name: Wiki
    domain: wiki.sekisho.localhost
    policies:
      - {{name: Staff, decision: allow, include: [{{email_domain: example.com}}]}}
      - {{name: Robots, decision: non_identity, include: [any_valid_service_token]}}
"""


class Node:
    """The edge of this file, and how to ask it."""

    def __init__(self, folder):
        self.folder, self.port, self.monitor = folder, free_port(), free_port()

    def text(self, status=200):
        return CONFIG.format(
            port=self.port, monitor=self.monitor, folder=self.folder, status=status
        )

    def get(self, host="open", path="/", **headers):
        session = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            session.request("GET", path, headers={
                "Host": f"{host}.sekisho.localhost:{self.port}",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            })
            answer = session.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            session.close()

    def monitored(self, path, host=None):
        session = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=5)
        try:
            session.request("GET", path, headers={"Host": host} if host else {})
            answer = session.getresponse()
            return answer.status, answer.read().decode()
        finally:
            session.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Node(tmp_path_factory.mktemp("edge"))


@pytest.fixture(scope="module")
def edge(place):
    with edge_process(place.text(), place.folder) as edge:
        yield edge


@pytest.fixture
def node(edge, place):
    yield place
    if "http_status:200" not in edge.config.read_text().partition("wiki")[0]:
        edge.reload(place.text())


def command(edge, *words, check=True):
    return edge.command("edge", *words, "-c", str(edge.config), check=check)


def test_status_for_people_and_programs(edge, node):
    shown = command(edge, "status").stdout
    assert "ready" in shown and f"127.0.0.1:{node.port} (plain)" in shown
    status = json.loads(command(edge, "status", "--json").stdout)
    assert [worker["slot"] for worker in status["workers"]] == [0, 1]
    assert {worker["version"] for worker in status["workers"]} == {status["version"]}


def test_reload_by_command_names_every_workers_version(edge, node):
    before = edge.status()["version"]
    edge.write(node.text(status=204))
    done = command(edge, "reload")
    # the watch may have been first: then this is the version after its
    version = edge.status()["version"]
    assert before < version <= before + 2
    assert f"Version {version} is published (workers run 0: {version}, 1: {version})" in done.stdout
    assert node.get().status == 204


def test_reload_by_file_change(edge, node):
    edge.write(node.text(status=204))
    wait_until(lambda: node.get().status == 204, 4)
    assert edge.status()["last_reload"]["cause"] == "file change"


def test_reload_by_signal(edge, node):
    edge.write(node.text(status=204))
    edge.process.send_signal(signal.SIGHUP)
    wait_until(lambda: node.get().status == 204, 5)
    wait_until(lambda: edge.status()["last_reload"]["cause"] == "signal", 5)  # not the file's watch alone


def test_broken_configuration_changes_nothing_and_says_where(edge, node):
    before = edge.status()["version"]
    edge.write(node.text() + "\nlisten_on: x\n")
    line = len(node.text().splitlines()) + 2
    done = command(edge, "reload", check=False)
    assert done.returncode == 2
    assert f"{edge.config}:{line}:1: " in done.stderr and "listen_on" in done.stderr
    assert f"version {before} keeps running" in done.stderr
    assert node.get().status == 200
    status = command(edge, "status")  # still ready: exit status 0
    assert "REFUSED" in status.stdout and "listen_on" in status.stdout
    assert "sekisho_reload_failed 1.0" in node.monitored("/metrics")[1]
    edge.reload(node.text())
    assert "sekisho_reload_failed 0.0" in node.monitored("/metrics")[1]


def test_monitor(edge, node):
    """Z09"""
    assert node.monitored("/ready")[0] == 200
    assert node.monitored("/live")[0] == 200
    assert node.monitored("/ready", host="evil.example")[0] == 421
    node.get()
    wait_until(lambda: "sekisho_requests_total" in node.monitored("/metrics")[1])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/%00", "path-control"), ("/%zz", "path-escape-invalid"), ("/a%2fb", "path-slash-encoded"),
        ("/a%5cb", "path-backslash"), ("/%252e", "path-double-encoded"),
        ("/a/..;/b", "path-dot-parameter"), ("/%ff", "path-not-utf8"), ("/../x", "path-above-root"),
    ],
)
def test_a_refused_path_is_told_to_people_on_a_page(edge, node, path, reason):
    for host in ("open", "wiki", "login"):
        page = node.get(host, path, Accept="text/html", Accept_Language="ja")
        assert page.status == 400 and page.getheader("content-type").startswith("text/html")
        assert page.getheader("content-language") == "ja" and reason in page.body.decode()
        told = node.get(host, path, Accept="application/json")
        assert told.status == 400 and json.loads(told.body)["reason"] == reason


def test_mail_that_cannot_be_sent_shows(edge, node):
    """The mail server of this edge doesn't exist: monitor and status say so once somebody asked."""
    assert "sekisho_mail_failing 0.0" in node.monitored("/metrics")[1]
    login = node.get("wiki", Accept="text/html").getheader("location")
    parts = urlsplit(login)
    target = f"{parts.path}?{parts.query}"
    answer = node.get("login", target, Accept="text/html")
    cookie = answer.getheader("set-cookie").partition(";")[0]
    form = Page(login, 200, answer.headers, answer.body.decode()).form("email")
    session = http.client.HTTPConnection("127.0.0.1", node.port, timeout=5)
    session.request(
        "POST", target, urlencode({**form["fields"], "email": "ann@example.com"}),
        {
            "Host": parts.netloc, "Cookie": cookie, "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    assert session.getresponse().status == 303
    session.close()
    wait_until(lambda: "sekisho_mail_failing 1.0" in node.monitored("/metrics")[1], 5)
    assert "sekisho_pin_alarm 0.0" in node.monitored("/metrics")[1]
    shown = command(edge, "status").stdout
    assert "Mail can't be sent: 127.0.0.1:1: connection refused\n" in shown
    assert "wrong PINs" not in shown


def states(edge):
    """Return the state column of `service-token list` by name."""
    rows = [row.split() for row in command(edge, "service-token", "list").stdout.splitlines()]
    assert rows[0][:2] == ["name", "state"]
    return {row[0]: row[1] for row in rows[1:]}


def test_revoked_service_token_is_listed_as_such_and_comes_back_only_as_another(edge, node):
    command(edge, "service-token", "create", "gone")
    command(edge, "service-token", "create", "short", "--duration", "1s")
    command(edge, "revoke", "--service-token", "gone")
    wait_until(lambda: states(edge)["short"] == "expired", 5)
    shown = states(edge)
    assert shown["gone"] == "revoked"
    told = json.loads(command(edge, "service-token", "list", "--json").stdout)["service_tokens"]
    assert {one["name"]: one["state"] for one in told} == shown
    done = command(edge, "service-token", "rotate", "gone", check=False)
    assert done.returncode == 1 and "revoked for ever: delete it and create another" in done.stderr
    command(edge, "service-token", "delete", "gone")
    command(edge, "service-token", "create", "gone")
    assert states(edge)["gone"] == "valid"
    for name in ("gone", "short"):
        command(edge, "service-token", "delete", name)


def test_applications_with_the_tag_that_their_origins_check(edge, node):
    told = json.loads(command(edge, "applications", "--json").stdout)["applications"]
    wiki = next(one for one in told if one["name"] == "Wiki")
    assert len(wiki["aud"]) == 64 and wiki["domains"] == ["wiki.sekisho.localhost"]
    lines = [line.split() for line in command(edge, "applications").stdout.splitlines()]
    assert lines[0] == ["application", "aud", "covers"]
    assert ["Wiki", wiki["aud"], "wiki.sekisho.localhost"] in lines
    location = node.get("wiki", Accept="text/html").getheader("location")
    assert wiki["aud"] in location, "what requests are asked for is what is listed"


def test_service_token_from_creation_to_deletion(edge, node):
    made = json.loads(
        command(edge, "service-token", "create", "robot", "--duration", "1h", "--json").stdout
    )
    ident, secret = made["client_id"], made["client_secret"]

    def ask(secret=secret):
        return node.get(
            "wiki", CF_Access_Client_Id=ident, CF_Access_Client_Secret=secret
        ).status

    assert ask() == 200
    assert ask("skst_wrong") != 200
    listed = command(edge, "service-token", "list").stdout
    assert ident in listed and secret not in listed
    assert states(edge)["robot"] == "valid"
    assert command(edge, "service-token", "create", "robot", check=False).returncode == 1
    again = json.loads(command(edge, "service-token", "rotate", "robot", "--json").stdout)
    assert ask() != 200 and ask(again["client_secret"]) == 200
    command(edge, "service-token", "delete", "robot")
    assert ask(again["client_secret"]) != 200
    assert command(edge, "service-token", "delete", "robot", check=False).returncode == 1


def test_revoke_says_what_it_could_not_find(edge, node):
    done = command(edge, "revoke", "--email", "nobody@example.com", check=False)
    assert done.returncode == 1 and "nobody@example.com" in done.stderr
    done = command(edge, "revoke", check=False)
    assert done.returncode == 2 and "exactly one of" in done.stderr
    assert "Revoked: application Wiki" in command(edge, "revoke", "--application", "Wiki").stdout
    assert command(edge, "revoke", "--application", "None", check=False).returncode == 1


@pytest.mark.parametrize("kind", ["service-token", "credential", "session", "token"])
def test_revoking_what_does_not_exist_fails(edge, kind):
    done = command(edge, "revoke", f"--{kind}", "mistyped", check=False)
    assert done.returncode == 1 and "mistyped" in done.stderr
    assert "Revoked" not in done.stdout


def test_service_token_is_revoked_by_its_name(edge, node):
    made = json.loads(command(edge, "service-token", "create", "lost", "--json").stdout)
    shown = {
        "CF_Access_Client_Id": made["client_id"], "CF_Access_Client_Secret": made["client_secret"],
    }
    assert node.get("wiki", **shown).status == 200
    command(edge, "revoke", "--service-token", "lost")
    wait_until(lambda: node.get("wiki", **shown).status != 200)


def test_a_credential_is_revoked_everywhere(edge):
    """The row of `tunnel info` too, so that losing the revocation files brings nothing back."""
    request = base64.b64encode(new_request(new_key())).decode()
    made = edge.admin.call("POST", "/tunnels", {"name": "lost", "request": request})
    command(edge, "revoke", "--credential", made["credential"])
    (shown,) = edge.admin.call("GET", "/tunnels/lost")["credentials"]
    assert shown["revoked"]


def test_a_token_is_not_taken_from_the_arguments(edge):
    done = command(edge, "revoke", "--token", "a.b.c", check=False)
    assert done.returncode == 2 and "standard input" in done.stderr


def test_database_is_readable_by_its_owner_only(edge):
    files = list(edge.state.glob("state.db*"))
    assert files
    assert {file.name: file.stat().st_mode & 0o077 for file in files} == dict.fromkeys(
        (file.name for file in files), 0
    )


def test_rotate_keys_publishes_the_new_key(edge, node):
    def kids():
        answer = node.get("login", "/cdn-cgi/access/certs")
        return {key["kid"] for key in json.loads(answer.body)["keys"]}

    before = kids()
    done = command(edge, "rotate-keys")
    assert len(kids()) == len(before) + 1
    (new,) = kids() - before
    assert new in done.stdout


def test_admin_socket_is_not_reachable_through_a_worker(edge, node):
    """Q20, Q14"""
    for path in ("/status", "/reload", "/service-tokens", "//status", "/%73tatus"):
        for host in ("login", "open", "wiki"):
            answer = node.get(host, path)
            assert b"last_reload" not in answer.body
            assert host != "login" or answer.status == 404, path


def test_killed_worker_of_the_whole_edge(edge, node):
    before = edge.pids()["worker 0"]
    edge.kill("worker 0")
    begin = time.monotonic()
    wait_until(lambda: node.get().status == 200, 3)
    assert time.monotonic() - begin < 1.0 * crowding()
    wait_until(lambda: edge.pids().get("worker 0", before) != before, 10)
    edge.wait_ready()


def test_killed_control_of_the_whole_edge(edge, node):
    before = edge.pids()["control"]
    edge.kill("control")
    failed = [answer for answer in (node.get().status for _ in range(50)) if answer != 200]
    assert failed == []
    assert node.get("login", "/cdn-cgi/access/certs").status in (200, 502, 503, 504)
    edge.wait_ready()
    assert edge.pids()["control"] != before
    wait_until(lambda: node.get("login", "/cdn-cgi/access/certs").status == 200)


def test_access_log_is_reopened_on_sighup(edge, node):
    log = node.folder / "access.log"
    node.get()
    wait_until(lambda: log.read_text().count("\n") >= 1)
    log.rename(node.folder / "access.1")
    edge.process.send_signal(signal.SIGHUP)
    wait_until(log.exists, 5)
    node.get(path="/after-rotation")
    wait_until(lambda: "/after-rotation" in log.read_text())


def test_access_log_moves_at_a_reload(edge, node):
    """To another file, to none, and back: each line is in the file that was named when it was made."""
    old, new = node.folder / "access.log", node.folder / "moved.log"

    def logged(path):
        return path.read_text().count("\n") if path.exists() else 0

    for number in range(50):
        node.get(path=f"/stays-{number}")
    edge.reload(node.text().replace("access.log", "moved.log"))
    for number in range(50):
        node.get(path=f"/moved-{number}")
    wait_until(lambda: "/moved-49" in new.read_text() and "/stays-49" in old.read_text())
    assert "/stays-" not in new.read_text() and "/moved-" not in old.read_text()
    assert sum(f"/stays-{number}\"" in old.read_text() for number in range(50)) == 50
    assert sum(f"/moved-{number}\"" in new.read_text() for number in range(50)) == 50
    before = logged(new)
    edge.reload(node.text().replace(f"{node.folder}/access.log", "off"))
    assert node.get(path="/nowhere").status == 200
    edge.reload(node.text())
    node.get(path="/back")
    wait_until(lambda: "/back" in old.read_text())
    assert "/nowhere" not in old.read_text() + new.read_text() and logged(new) == before
    # a directory that isn't there: people are served, and the journal says so
    edge.reload(node.text().replace("access.log", "missing/access.log"))
    assert node.get(path="/lost").status == 200
    assert "missing/access.log" in edge.text()
    edge.reload(node.text())


def test_drain_finishes_and_everything_is_gone(tmp_path):
    node = Node(tmp_path)
    with edge_process(node.text(), tmp_path) as edge:
        pids = edge.pids()
        idle = socket.create_connection(("127.0.0.1", node.port))
        assert edge.stop() == 0
        assert idle.recv(1) == b""
        idle.close()
        wait_until(lambda: not any(_there(pid) for pid in pids.values()))
        with pytest.raises(OSError):
            node.get()


def _there(pid):
    from tests.kit.bare_node import alive

    return alive(pid)


def test_control_that_comes_back_to_a_broken_file(edge, node):
    """Traffic goes on from the last good snapshot; sign-in is a clear 503 until it is mended."""
    edge.write(node.text() + "\nlisten_on: x\n")
    before = edge.pids()["control"]
    edge.kill("control")
    assert node.get().status == 200
    edge.wait_ready()
    assert edge.pids()["control"] != before
    assert node.get().status == 200
    answer = node.get("login", "/cdn-cgi/access/certs")
    assert answer.status == 503
    status = edge.status()
    assert not status["last_reload"]["ok"] and status["ready"]
    edge.write(node.text())
    wait_until(lambda: node.get("login", "/cdn-cgi/access/certs").status == 200, 10)


def test_keys_that_only_a_restart_changes_are_said(edge, node):
    edge.write(node.text().replace("workers: 2", "workers: 3"))
    done = command(edge, "reload")
    assert "workers changed; it takes effect when the edge is restarted" in done.stderr
    edge.write(node.text())
    command(edge, "reload")


def test_certificate_that_no_worker_could_load_is_refused(edge, node):
    folder = node.folder
    (folder / "c.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    key = folder / "c.key"
    key.write_text("no key")
    key.chmod(0o600)
    text = node.text()
    edge.write(text + f"certificates: [{{certificate: {folder}/c.pem, key: {key}}}]\n")
    done = command(edge, "reload", check=False)
    column = len(f"certificates: [{{certificate: {folder}/c.pem, key: ") + 1
    place = f"{edge.config}:{text.count(chr(10)) + 1}:{column}"
    assert done.returncode == 2 and f"{place}: {key} holds no private key" in done.stderr
    assert node.get().status == 200
    edge.write(node.text())
    command(edge, "reload")


def test_nothing_secret_is_shown(edge, node):
    """Secrets of service tokens, keys and people's addresses: not in metrics, status or journal."""
    made = json.loads(command(edge, "service-token", "create", "spy", "--json").stdout)
    secret = made["client_secret"]
    assert node.get(
        "wiki", CF_Access_Client_Id=made["client_id"], CF_Access_Client_Secret=secret
    ).status == 200
    master_key = (edge.state / "keys" / "master.key").read_text().split()[-1]
    shown = {
        "metrics": node.monitored("/metrics")[1],
        "status": command(edge, "status", "--json").stdout,
        "journal": edge.text(),
        "access log": (node.folder / "access.log").read_text(),
        "snapshot": b"".join(
            path.read_bytes() for path in (edge.state / "snapshots").iterdir()
        ).decode("latin-1"),
        "arguments": "".join(
            f"/proc/{pid}/cmdline {Path(f'/proc/{pid}/cmdline').read_text()}"
            for pid in edge.pids().values()
        ),
    }
    for place, text in shown.items():
        assert secret not in text, place
        assert master_key not in text, place
        assert "@" not in shown["metrics"]
    command(edge, "service-token", "delete", "spy")


def test_database_away_at_start_the_last_good_snapshot_serves(tmp_path):
    """faults.md, kill during start: who is signed in is served; control comes when it can."""
    node = Node(tmp_path)
    edge = EdgeProcess(node.text(), tmp_path)
    database = edge.state / "state.db"
    try:
        edge.start()
        assert edge.stop() == 0
        database.rename(tmp_path / "away")
        database.mkdir()  # nobody can open that
        edge.start(wait=False)
        wait_until(lambda: node.get().status == 200, 60)
        assert "starting from the last good snapshot, without control" in edge.text()
        database.rmdir()
        (tmp_path / "away").rename(database)
        edge.wait_ready()
    finally:
        edge.stop()


def test_damaged_key_file_starts_nothing(tmp_path):
    """faults.md: never a new key in silence, not even with a snapshot to serve from."""
    node = Node(tmp_path)
    edge = EdgeProcess(node.text(), tmp_path)
    key = edge.state / "keys" / "master.key"
    try:
        edge.start()
        edge.stop()
        good = key.read_text()
        key.write_text(good[:20])
        edge.start(wait=False)
        assert edge.process.wait(60) == 78
        assert "damaged" in edge.text() and key.read_text() == good[:20]
    finally:
        edge.stop()
