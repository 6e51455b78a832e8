"""A client connection's events that no row of tests/security sends."""

import json
import time
from pathlib import Path

from _fastpath.accesslog import AccessLog
from tests.kit.core_thread import CoreThread
from tests.kit.origin import RecordingOrigin
from tests.kit.policy_cases import application

OPEN = {"decision": "bypass", "include": ["everyone"]}
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)


def test_tls_on_a_plain_port_is_closed_and_named_in_the_log(tmp_path: Path) -> None:
    """Who speaks TLS reads no HTTP: no answer, but the operator sees which port was mixed up."""
    log = AccessLog(tmp_path / "access.log")
    with RecordingOrigin() as origin, CoreThread(origin, log=log, applications=[application([OPEN])]) as core:
        with core.client() as c:
            c.send(CLIENT_HELLO)
            assert c.closed(3.0) == b""
        with core.client() as c:
            assert c.send(core.request()).answer().status == 200
    deadline = time.monotonic() + 3
    while len(lines := (tmp_path / "access.log").read_text().splitlines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert json.loads(lines[0])["reason"] == "tls-on-plain-port"
