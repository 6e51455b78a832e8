"""sd_notify against a real datagram socket."""

import os
import socket

import pytest

from edge.server.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        if request.param == "path":
            name = str(tmp_path / "notify")
            sock.bind(name)
        else:
            name = f"@sekisho-test-{os.getpid()}"
            sock.bind("\0" + name[1:])
        sock.settimeout(2)
        yield name, lambda: sock.recv(4096).decode().split("\n")


def test_lines(manager):
    name, received = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("version 3")
    assert received() == ["READY=1", "STATUS=version 3"]
    notifier.reloading()
    first, second = received()
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=") and second.partition("=")[2].isdigit()
    notifier.stopping()
    assert received()[0] == "STOPPING=1"
    notifier.watchdog()
    assert received() == ["WATCHDOG=1"]


def test_without_a_manager_nothing_happens():
    notifier = Notifier({})
    notifier.ready("x")
    assert notifier.every == 0.0
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready("x")


@pytest.mark.parametrize(("environ", "every"), [
    ({"WATCHDOG_USEC": "30000000"}, 15.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
    ({"WATCHDOG_USEC": "soon"}, 0.0),
])
def test_watchdog_interval(environ, every):
    assert Notifier(environ).every == every
