"""Listening sockets: one per worker, never shared with a stranger, or the service manager's."""

import os
import socket
import stat

import pytest

from edge.server.listener import ListenError, bind_all, bind_unix, passed_sockets
from edge.server.plan import Inherited, Listener


def test_one_socket_per_worker_at_one_address():
    sockets = bind_all([Listener("tls", "127.0.0.1", 0), Listener("redirect", "::1", 0)], 3)
    names = [sock.getsockname()[:2] for sock in sockets.held]
    assert len(set(names[:3])) == 1 and len(set(names[3:])) == 1
    assert [(place.listener, place.slot) for place in sockets.places] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]
    assert sockets.held[3].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    sockets.close()


def test_both_families_at_one_port():
    sockets = bind_all([Listener("tls", "0.0.0.0", 0)], 2)
    port = sockets.held[0].getsockname()[1]
    both = bind_all([Listener("tls", "::", port)], 2)
    sockets.close()
    both.close()


def test_port_of_another_reuseport_socket_is_refused():
    """Z08: SO_REUSEPORT alone would share it in silence."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"can't listen at 127.0.0.1:{port}: Address already"):
            bind_all([Listener("tls", "127.0.0.1", port)], 2)


def test_failure_leaves_nothing_bound():
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with pytest.raises(ListenError):
            bind_all([
                Listener("tls", "127.0.0.1", port),
                Listener("tls", "127.0.0.1", taken.getsockname()[1]),
            ], 2)
        bind_all([Listener("tls", "127.0.0.1", port)], 1).close()


@pytest.mark.parametrize(("name", "kind", "taken"), [
    ("", "tls", True), ("tls", "tls", True), ("redirect", "tls", False), ("https", "tls", True),
])
def test_passed_socket_serves_the_listener_that_it_fits(name, kind, taken):
    with socket.socket() as passed:
        passed.bind(("127.0.0.1", 0))
        passed.listen()
        port = passed.getsockname()[1]
        listener = Listener(kind, "127.0.0.1", port)
        if not taken:
            with pytest.raises(ListenError):
                bind_all([listener], 2, [(name, passed)])
            return
        sockets = bind_all([listener], 2, [(name, passed)])
        assert sockets.held == [passed]
        assert sockets.places == [Inherited(0, -1, passed.fileno())]


def test_one_dual_stack_socket_serves_both_families():
    with socket.socket(socket.AF_INET6) as passed:
        passed.bind(("::", 0))
        passed.listen()
        port = passed.getsockname()[1]
        sockets = bind_all(
            [Listener("tls", "0.0.0.0", port), Listener("tls", "::", port)], 2, [("", passed)]
        )
        assert sockets.held == [passed, passed]


def test_only_sockets_that_are_for_us_are_taken():
    assert passed_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "2"}) == []
    assert passed_sockets({}) == []
    assert passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}) == []


def test_unix_socket_takes_the_place_of_a_dead_one(tmp_path):
    path = tmp_path / "x.sock"
    bind_unix(path).close()
    sock = bind_unix(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert os.listdir(tmp_path) == ["x.sock"]
    sock.close()


def test_unix_socket_path_too_long(tmp_path):
    with pytest.raises(ListenError):
        bind_unix(tmp_path / ("x" * 120))
