"""A process that is replaced comes up from the last good state, whatever lies on the disk by then.

faults.md on a real edge: half-renewed certificates, damaged files, no room for a socket or a
process, a log that can't be opened, a port that was taken."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import time

import pytest

from edge.config.service import SCHEMES
from tests.kit.bare_node import crowding
from tests.kit.certificates import Authority
from tests.kit.edge_process import edge_process, free_port, wait_until
from tests.kit.origin import RecordingOrigin

NAMES = ("one.example.com", "two.example.com")
CONFIG = """
auth_domain: login.example.com
listen: ["127.0.0.1:{port}"]
monitor: 127.0.0.1:{monitor}
workers: {workers}
access_log: {folder}/logs/access.log
identity_providers: [{{name: One-time PIN, type: onetimepin}}]
mail: {{server: "smtp://127.0.0.1:1", from: "access@example.com"}}
certificates:
  - {{certificate: {folder}/one.pem, key: {folder}/one.key}}
  - {{certificate: {folder}/two.pem, key: {folder}/two.key}}
timeouts: {{upstream_idle: 1s}}
routes:
{routes}
applications:
  - name: Open
    domains: [{hosts}]
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
"""


class Place:
    """A folder with an authority and two certificates, an edge's configuration, and its client."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority("last good")
        self.leaves = {name.partition(".")[0]: self.authority.leaf(name) for name in NAMES}
        self.port, self.monitor = free_port(), free_port()
        (folder / "logs").mkdir()
        for short, leaf in self.leaves.items():
            self.write(short, leaf.certificate, leaf.key)

    def write(self, short, certificate, key):
        (self.folder / f"{short}.pem").write_bytes(certificate)
        path = self.folder / f"{short}.key"
        path.write_bytes(key)
        path.chmod(0o600)

    def context(self, *names):
        """Return what an origin of these names serves TLS with."""
        leaf = self.authority.leaf(*names)
        (self.folder / "origin.pem").write_bytes(leaf.certificate + leaf.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "origin.pem")
        return context

    def config(self, workers=1, routes=None):
        routes = routes or dict.fromkeys(NAMES, "service: hello_world")
        return CONFIG.format(
            port=self.port, monitor=self.monitor, folder=self.folder, workers=workers,
            routes="\n".join(f"  - {{hostname: {host}, {to}}}" for host, to in routes.items()),
            hosts=", ".join(routes),
        )

    def get(self, host, path="/", limit=2.0):
        """Return (status, the certificate that was shown); raises OSError where there is none."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=limit) as plain,
            context.wrap_socket(plain, server_hostname=host) as sock,
        ):
            shown = sock.getpeercert(binary_form=True)
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{self.port}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            answer.read()
            return answer.status, shown

    def serves(self, host):
        try:
            return self.get(host)[0] == 200
        except OSError:
            return False

    def metric(self, name):
        session = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=5)
        with contextlib.closing(session):
            session.request("GET", "/metrics")
            text = session.getresponse().read().decode()
        return [float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def replace(edge, name="worker 0"):
    """Kill a process; return when another one is in its place and ready."""
    before = edge.kill(name)
    wait_until(lambda: edge.pids().get(name, before) != before, 10 * crowding())
    return before


def events(edge, kind):
    with contextlib.closing(sqlite3.connect(edge.state / "state.db")) as base:
        rows = base.execute("select detail from events where kind = ? order by at", (kind,))
        return [json.loads(detail) for (detail,) in rows.fetchall()]


def test_half_renewed_certificate_doesnt_keep_a_worker_away(place):
    renewed = place.authority.leaf(NAMES[0])
    with edge_process(place.config(), place.folder) as edge:
        version = edge.status()["version"]
        old = place.get(NAMES[0])[1]
        # the certificate is there, its key not yet
        place.write("one", renewed.certificate, place.leaves["one"].key)
        wait_until(lambda: not edge.status()["last_reload"]["ok"], 5 * crowding())
        begin = time.monotonic()
        edge.kill("worker 0")
        wait_until(lambda: all(place.serves(host) for host in NAMES), 10)
        assert time.monotonic() - begin < 1.5 * crowding()
        assert place.get(NAMES[0])[1] == old
        assert "one.pem with" in edge.text()
        wait_until(lambda: place.metric("sekisho_bad_certificates") == [1.0], 5)
        assert edge.wait_ready()["version"] == version
        # a whole restart finds it so, too
        edge.stop()
        edge.start()
        assert all(place.serves(host) for host in NAMES)
        assert place.get(NAMES[0])[1] == old
        # and what is complete is served
        place.write("one", renewed.certificate, renewed.key)
        wait_until(lambda: place.get(NAMES[0])[1] == renewed.der, 5 * crowding())
        wait_until(lambda: place.metric("sekisho_bad_certificates") == [0.0], 5)


def test_certificate_of_which_nothing_works_costs_its_own_names_only(place):
    with edge_process(place.config(), place.folder) as edge:
        kept = list((edge.state / "keys" / "certificates").iterdir())
        assert len(kept) == 2
        assert [path.stat().st_mode & 0o077 for path in kept] == [0, 0]
        shutil.rmtree(kept[0].parent)
        place.write("two", b"damaged", b"damaged")
        replace(edge)
        wait_until(lambda: place.serves(NAMES[0]), 5 * crowding())
        with pytest.raises(OSError):
            place.get(NAMES[1])
        assert "its names get no certificate until it is mended" in edge.text()


def test_what_no_worker_could_serve_is_refused(place):
    """Control tries what workers will do: anchors that are none, and certificates that are gone."""
    with edge_process(place.config(), place.folder) as edge:
        version = edge.status()["version"]
        anchors = place.folder / "anchors.pem"
        anchors.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        routes = {NAMES[0]: f"service: 'https://127.0.0.1:1', origin_request: {{ca_pool: {anchors}}}"}
        edge.write(place.config(routes=routes))
        done = edge.command("edge", "reload", "-c", str(edge.config), check=False)
        assert done.returncode == 2, done.stdout
        assert edge.wait_ready()["version"] == version
        replace(edge)
        assert place.serves(NAMES[0])


def test_every_scheme_of_a_service_is_served(place):
    """Also TLS over a Unix socket, whose origin has to be named localhost, or as the route says."""
    local = place.context("localhost", "127.0.0.1")
    inner = place.context("inner.example.com")
    (place.folder / "ca.pem").write_bytes(place.authority.pem)
    pool = f"ca_pool: {place.folder}/ca.pem"
    hosts = {f"{name}.two.example.com": name for name in "abcdefgh"}
    wild = place.authority.leaf("*.two.example.com")
    place.write("two", wild.certificate, wild.key)
    with (
        RecordingOrigin() as http_origin,
        RecordingOrigin(tls=local) as https_origin,
        RecordingOrigin(path=str(place.folder / "u.sock")) as unix_origin,
        RecordingOrigin(path=str(place.folder / "t.sock"), tls=local) as unix_tls,
        RecordingOrigin(path=str(place.folder / "n.sock"), tls=inner),
    ):
        folder = place.folder
        services = {
            "a": ("http", f"service: '{http_origin.url}'", 200),
            "b": ("https", f"service: '{https_origin.url}', origin_request: {{{pool}}}", 200),
            "c": ("unix", f"service: 'unix:{folder}/u.sock'", 200),
            "d": ("unix+tls", f"service: 'unix+tls:{folder}/t.sock', origin_request: {{{pool}}}", 200),
            "e": ("http_status", "service: 'http_status:204'", 204),
            "f": ("hello_world", "service: hello_world", 200),
            # the origin's name is checked: not localhost, but the one that the route asks for
            "g": ("unix+tls", f"service: 'unix+tls:{folder}/n.sock', origin_request: {{{pool}}}", 502),
            "h": (
                "unix+tls",
                f"service: 'unix+tls:{folder}/n.sock', "
                f"origin_request: {{{pool}, origin_server_name: inner.example.com}}", 200,
            ),
        }
        assert {scheme for scheme, _, _ in services.values()} == set(SCHEMES) - {""}
        routes = {host: services[name][1] for host, name in hosts.items()}
        with edge_process(place.config(routes=routes), place.folder) as edge:
            for _ in range(2):
                got = {name: place.get(host)[0] for host, name in hosts.items()}
                assert got == {name: status for name, (_, _, status) in services.items()}
                replace(edge)  # and a worker that comes later serves them all the same
            for origin in (http_origin, https_origin, unix_origin, unix_tls):
                assert origin.wait(2)[0].line == "GET / HTTP/1.1"


def test_upstream_idle_closes_a_pooled_connection(place):
    with RecordingOrigin() as origin:
        routes = {NAMES[0]: f"service: '{origin.url}'"}
        with edge_process(place.config(routes=routes), place.folder):
            assert [place.get(NAMES[0])[0] for _ in range(2)] == [200, 200]
            assert {seen.connection for seen in origin.wait(2)} == {0}
            time.sleep(2.0)  # upstream_idle is 1 s, and looked at twice a second
            assert place.get(NAMES[0])[0] == 200
            assert origin.wait(3)[2].connection == 1


def test_every_reload_leaves_an_event(place):
    """Who changed what is decided when: by file and by signal, too, and the refused ones."""
    with edge_process(place.config(), place.folder) as edge:
        good = place.config()
        edge.write(good + "\n# changed\n")
        wait_until(lambda: edge.status()["last_reload"]["cause"] == "file change", 5 * crowding())
        edge.write(good + "\nlisten_on: x\n")
        wait_until(lambda: not edge.status()["last_reload"]["ok"], 5 * crowding())
        edge.process.send_signal(signal.SIGHUP)
        wait_until(lambda: edge.status()["last_reload"]["cause"] == "signal", 5 * crowding())
        edge.command("edge", "reload", "-c", str(edge.config), check=False)
        wait_until(lambda: len(events(edge, "reload")) >= 5, 5 * crowding())
        found = [(one["cause"], one["ok"], one["version"], one["errors"])
                 for one in events(edge, "reload")]
        assert sorted(found) == sorted([
            ("start", True, 1, 0), ("file change", True, 2, 0), ("file change", False, 2, 1),
            ("signal", False, 2, 1), ("command", False, 2, 1),
        ])


def test_access_log_that_cant_be_opened_keeps_no_worker_away(place):
    with edge_process(place.config(), place.folder) as edge:
        shutil.rmtree(place.folder / "logs")
        (place.folder / "logs").write_text("in the way")
        replace(edge)
        assert place.serves(NAMES[0])
        assert "records are lost, and counted" in edge.text()
        wait_until(lambda: place.metric("sekisho_log_dropped_total") == [1.0], 5 * crowding())
        (place.folder / "logs").unlink()
        (place.folder / "logs").mkdir()
        assert place.get(NAMES[0], "/seen")[0] == 200
        log = place.folder / "logs" / "access.log"
        wait_until(lambda: '"/seen"' in log.read_text() and "lost_records" in log.read_text())


def test_no_room_in_the_run_folder_keeps_no_worker_away(place):
    """A socket that can't be bound there stands for a disk that is full or can't be written."""
    with edge_process(place.config(workers=2), place.folder) as edge:
        path = edge.state / "run" / "worker-0.sock"
        path.unlink()
        path.mkdir()
        (path / "x").touch()
        replace(edge)
        edge.wait_ready()
        assert "other workers can't reach this one" in edge.text()
        assert all(place.serves(NAMES[0]) for _ in range(8))
        (path / "x").unlink()
        path.rmdir()
        wait_until(path.is_socket, 5 * crowding())


def test_master_without_a_descriptor_left_starts_children_later(place):
    with edge_process(place.config(workers=2), place.folder) as edge:
        pids = edge.pids()
        before = resource.prlimit(pids["master"], resource.RLIMIT_NOFILE)
        resource.prlimit(pids["master"], resource.RLIMIT_NOFILE, (3, before[1]))
        edge.kill("worker 0")
        wait_until(lambda: "worker 0 can't be started" in edge.text(), 5 * crowding())
        wait_until(lambda: all(place.serves(NAMES[0]) for _ in range(8)), 5 * crowding())
        resource.prlimit(pids["master"], resource.RLIMIT_NOFILE, before)
        wait_until(lambda: edge.pids().get("worker 0", pids["worker 0"]) != pids["worker 0"], 15)
        assert edge.pids()["master"] == pids["master"]


def test_monitors_port_taken_meanwhile_costs_no_sign_in(place):
    with edge_process(place.config(), place.folder) as edge:
        before = edge.kill("control", signal.SIGSTOP)
        # SO_REUSEADDR lets a stranger bind only once nobody listens: be quick, then kill
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: _takes(stranger, place.monitor), 5)
            wait_until(lambda: "tried again in" in edge.text(), 15 * crowding())
            edge.wait_ready()
        wait_until(lambda: place.metric("sekisho_ready") == [1.0], 15 * crowding())


def _takes(sock, port):
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return True


def test_damaged_files_of_the_edges_own_are_written_anew(place):
    """The tunnel's certificate, the newest list of revocations, the newest snapshot, the clock."""
    with edge_process(place.config(), place.folder) as edge:
        tunnel = edge.state / "keys" / "tunnel.pem"
        good = tunnel.read_bytes()
        edge.admin.call("POST", "/revoke", {"kind": "application", "id": "Open"})
        edge.reload()
        edge.stop()
        tunnel.write_bytes(good[: len(good) // 2])
        for folder in ("revocations", "snapshots"):
            newest = max((edge.state / folder).iterdir(), key=lambda path: int(path.stem))
            raw = newest.read_bytes()
            newest.write_bytes(raw[: len(raw) // 2])
        (edge.state / "clock").write_bytes(b"\xff")
        (edge.state / "run" / "feed.sock").unlink(missing_ok=True)
        (edge.state / "run" / "feed.sock").write_text("left over")
        edge.start()
        assert place.serves(NAMES[0])
        wait_until(lambda: tunnel.read_bytes() == good, 5)
        assert edge.status()["revocations"]["in_force"] == 1
        replace(edge)
        assert place.serves(NAMES[0])
