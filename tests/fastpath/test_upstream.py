"""Targets and trust anchors: kept while something leads to them, and no older than they may be."""

import concurrent.futures
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from _fastpath import limits
from tests.kit.certificates import Authority
from tests.kit.core_thread import HOST, CoreThread
from tests.kit.origin import RecordingOrigin
from tests.kit.policy_cases import application
from tests.security.test_e_upgrades import WEBSOCKET, switch
from tests.security.test_h_streams import HELLO

STAFF = application([{"decision": "allow", "include": ["everyone"]}])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lead_to(core: CoreThread, origin: RecordingOrigin, **options: Any) -> None:
    core.set(
        applications=[STAFF],
        routes=[{"hostname": HOST, "service": origin.url} | ({"origin": options} if options else {})],
    )


def status(core: CoreThread) -> int:
    with core.client() as c:
        return c.send(core.request(token=core.token(email="ada@example.com"))).answer().status


def places(core: CoreThread) -> list[Any]:
    """Return the ports that are dialled."""
    keys, _ = core.run(core.core.upstreams.known)
    return sorted(key[2] for key in keys)


def port(origin: RecordingOrigin) -> int:
    return int(origin.url.rpartition(":")[2])


def test_a_target_goes_with_its_route_when_its_last_connection_is_closed() -> None:
    with RecordingOrigin() as old, RecordingOrigin() as new, CoreThread(old, applications=[STAFF]) as core:
        core.run(core.core.start)
        old.answer = switch
        with core.client() as c:
            fields = [*WEBSOCKET]
            c.send(core.request("/", *fields, token=core.token(email="ada@example.com")))
            assert c.answer().status == 101
            lead_to(core, new)
            assert status(core) == 200
            time.sleep(1.2)  # two looks
            assert places(core) == sorted((port(old), port(new)))  # the open stream is in use
            assert c.send(HELLO).exactly(len(HELLO), time.monotonic() + 2) == HELLO
        until(lambda: places(core) == [port(new)])


def test_idle_connections_to_where_no_route_leads_are_closed_at_once() -> None:
    with RecordingOrigin() as old, RecordingOrigin() as new, CoreThread(old, applications=[STAFF]) as core:
        core.run(core.core.start)
        assert status(core) == 200
        time.sleep(1.2)
        assert places(core) == [port(old)]  # idle for a while is no reason
        lead_to(core, new)
        until(lambda: places(core) == [port(new)])
        lead_to(core, old)
        assert status(core) == 200
        assert old.requests[-1].connection == 1


# -- trust anchors -------------------------------------------------------------------------------


@pytest.fixture
def system_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What libssl takes for the system's anchors."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "anchors.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return tmp_path / "anchors.pem"


def secure_origin(authority: Authority, folder: Path) -> RecordingOrigin:
    leaf = authority.leaf("127.0.0.1")
    (folder / "origin.pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "origin.pem")
    return RecordingOrigin(tls=context)


def dialled_again(core: CoreThread, origin: RecordingOrigin) -> int:
    origin.cut()
    time.sleep(0.1)
    return status(core)


def test_the_systems_anchors_are_read_again_when_they_are_old(
    system_anchors: Path, tmp_path: Path
) -> None:
    trusted, other = Authority("trusted"), Authority("other")
    system_anchors.write_bytes(trusted.pem)
    with secure_origin(trusted, tmp_path) as origin, CoreThread(origin, applications=[STAFF]) as core:
        assert status(core) == 200
        system_anchors.write_bytes(other.pem)
        assert dialled_again(core, origin) == 200
        core.run(lambda: core.core.upstreams.age(limits.TRUST_AGE - 5000))
        assert dialled_again(core, origin) == 200
        core.run(lambda: core.core.upstreams.age(5000))
        assert dialled_again(core, origin) == 502
        system_anchors.write_bytes(trusted.pem)
        assert dialled_again(core, origin) == 502
        core.run(lambda: core.core.upstreams.age(limits.TRUST_AGE))
        assert dialled_again(core, origin) == 200


def test_anchors_that_cannot_be_read_again_are_tried_later(
    system_anchors: Path, tmp_path: Path
) -> None:
    """No thread to be had: what was read before serves until then."""
    trusted, other = Authority("trusted"), Authority("other")
    system_anchors.write_bytes(trusted.pem)
    with secure_origin(trusted, tmp_path) as origin, CoreThread(origin, applications=[STAFF]) as core:
        assert status(core) == 200
        system_anchors.write_bytes(other.pem)
        threads = concurrent.futures.ThreadPoolExecutor(1)
        threads.shutdown()
        core.run(lambda: core.loop.set_default_executor(threads))
        core.run(lambda: core.core.upstreams.age(limits.TRUST_AGE))
        assert dialled_again(core, origin) == 200
        core.run(lambda: core.loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1)))
        assert dialled_again(core, origin) == 200  # not tried at every dial
        core.run(lambda: core.core.upstreams.age(limits.TRUST_RETRY))
        assert dialled_again(core, origin) == 502


def test_anchors_go_with_the_last_target_that_used_them(
    system_anchors: Path, tmp_path: Path
) -> None:
    trusted = Authority("trusted")
    system_anchors.write_bytes(trusted.pem)
    with (
        secure_origin(trusted, tmp_path) as origin, RecordingOrigin() as plain,
        CoreThread(origin, applications=[STAFF]) as core,
    ):
        core.run(core.core.start)
        assert status(core) == 200
        assert core.run(core.core.upstreams.known)[1] == 1
        lead_to(core, plain)
        until(lambda: core.run(core.core.upstreams.known)[1] == 0)
        assert places(core) == [port(plain)]


def test_many_dials_wait_for_one_reading(system_anchors: Path, tmp_path: Path) -> None:
    trusted = Authority("trusted")
    system_anchors.write_bytes(trusted.pem)
    with secure_origin(trusted, tmp_path) as origin, CoreThread(origin, applications=[STAFF]) as core:
        core.run(lambda: core.core.upstreams.age(limits.TRUST_AGE))
        clients = [core.client() for _ in range(10)]
        token = core.token(email="ada@example.com")
        for c in clients:
            c.send(core.request(token=token))
        assert [c.answer().status for c in clients] == [200] * 10
        for c in clients:
            c.sock.close()
