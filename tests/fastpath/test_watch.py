"""Open streams under a new snapshot: who was let in stays while it holds, and while control is asked, not longer."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from _fastpath import limits
from _fastpath.snapshot import Snapshot
from tests.kit.core_thread import CoreThread
from tests.kit.origin import RecordingOrigin
from tests.kit.policy_cases import PROVIDERS, application
from tests.kit.raw import Raw
from tests.security.test_e_upgrades import WEBSOCKET, switch
from tests.security.test_h_streams import HELLO, ended

STAFF = {"decision": "allow", "include": [{"idp_group": "staff"}]}
PARTIAL = {"sekisho__groups": ..., "sekisho__partial": ["groups"]}
GROUPS = {"email": "ada@example.com", "sekisho": {"idp": "pin", "groups": ["staff"], "amr": ["otp"]}}
NO_GROUPS = {"email": "ada@example.com", "sekisho": {"idp": "pin", "groups": [], "amr": ["otp"]}}


@pytest.fixture
def core() -> Iterator[CoreThread]:
    with RecordingOrigin() as origin, CoreThread(origin, applications=[application([STAFF])]) as one:
        origin.answer = switch
        yield one


def reload(core: CoreThread, **more: object) -> None:
    core.set(applications=[application([STAFF], **more)])
    core.run(core.core.sweep)


def opened(core: CoreThread) -> Raw:
    """Return an open WebSocket of somebody whose groups control had to be asked for."""
    c = core.client()
    c.send(core.request("/", *WEBSOCKET, token=core.token(**PARTIAL)))
    deadline = time.monotonic() + 5
    while not core.asked:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    core.answer(GROUPS)
    assert c.answer().status == 101
    return c


def echoes(c: Raw) -> bool:
    return c.send(HELLO).exactly(len(HELLO), time.monotonic() + 2) == HELLO


def test_stream_stays_while_control_is_asked_for_its_facts_and_after(core: CoreThread) -> None:
    with opened(core) as c:
        reload(core, session_duration="1h")
        assert len(core.asked) == 1, "control is asked again: its answer was for the policies of before"
        core.run(core.core.sweep)
        assert len(core.asked) == 1, "once"
        assert echoes(c)
        core.answer(GROUPS)
        core.run(core.core.sweep)
        assert echoes(c)
        assert not core.asked


def test_stream_ends_when_the_facts_no_longer_do(core: CoreThread) -> None:
    with opened(core) as c:
        reload(core)
        core.answer(NO_GROUPS)
        core.run(core.core.sweep)
        assert ended(c, 2.0) == b"policy-no-match"


@pytest.mark.parametrize("parts", [
    {"applications": [application([STAFF], allowed_idps=["SSO"])]},
    {"applications": [application([STAFF])], "identity_providers": PROVIDERS[1:]},
    {"applications": [application([{"decision": "bypass", "include": ["everyone"]}, STAFF], allowed_idps=["SSO"])]},
], ids=["allowed_idps", "provider gone", "even where nobody may pass"])
def test_stream_ends_when_its_identity_provider_is_no_longer_taken(core: CoreThread, parts: dict[str, Any]) -> None:
    with opened(core) as c:
        core.set(**parts)
        core.run(core.core.sweep)
        assert ended(c, 2.0) == b"login-method-not-allowed"


def test_an_answer_for_the_snapshot_of_before_does_not_count(core: CoreThread) -> None:
    with opened(core) as c:
        reload(core)
        reload(core)
        assert len(core.asked) == 2
        core.answer(NO_GROUPS)  # to the first question
        core.run(core.core.sweep)
        assert echoes(c)
        core.answer(GROUPS)
        core.run(core.core.sweep)
        assert echoes(c)


EVERYBODY = {"decision": "allow", "include": ["everyone"]}


@pytest.mark.parametrize("length", [1, 512, 513, 4000])
def test_a_stream_with_a_long_path_is_judged_again_by_the_whole_of_it(length: int) -> None:
    """The log's record holds 512 bytes of a path; it is not what decides."""
    here = application([EVERYBODY])
    with RecordingOrigin() as origin, CoreThread(origin, applications=[here]) as core:
        origin.answer = switch
        path = "/area/".ljust(length, "y")
        with core.client() as c:
            assert c.send(core.request(path, *WEBSOCKET, token=core.token())).answer().status == 101
            core.set(applications=[application([EVERYBODY], session_duration="1h")])
            core.run(core.core.sweep)
            assert echoes(c), "its application has not changed"
            ending = "*" if length < 10 else "*yyy"
            elsewhere = {"name": "Area", "domain": f"app.example.com/area/{ending}", "policies": here["policies"]}
            core.set(applications=[here, elsewhere])
            core.run(core.core.sweep)
            assert ended(c, 2.0)


@pytest.mark.parametrize("control_up", [True, False])
def test_without_an_answer_the_stream_ends_in_time(core: CoreThread, control_up: bool) -> None:
    """TIMEOUT_FACTS is 5 s: open before, closed after."""
    core.run(core.core.start)
    with opened(core) as c:
        core.control_up = control_up
        began = time.monotonic()
        reload(core)
        assert echoes(c)
        assert ended(c, 7.0) == b"facts-unavailable"
        assert 4.9 < time.monotonic() - began < 6.5


# -- many open streams: judged in slices, so that nobody else waits ------------------------------

COUNT = 20
EVERYONE = {"decision": "allow", "include": ["everyone"]}
NOBODY = {"decision": "deny", "include": ["everyone"]}


@pytest.fixture(scope="module")
def many() -> Iterator[CoreThread]:
    """A core that judges one stream in each turn of the loop."""
    with RecordingOrigin() as origin, CoreThread(
        origin, applications=[application([EVERYONE])], sweep_turn=0,
    ) as one:
        origin.answer = switch
        yield one


@pytest.fixture
def streams(many: CoreThread) -> Iterator[list[Raw]]:
    many.set(applications=[application([EVERYONE])])
    clients = [many.client() for _ in range(COUNT)]
    for number, c in enumerate(clients):
        c.send(many.request("/", *WEBSOCKET, token=many.token(email=f"{number}@example.com")))
        assert c.answer().status == 101
    yield clients
    for c in clients:
        c.sock.close()


def ended_in(core: CoreThread) -> int:
    return core.core.counters()["revoked_streams"]


def snapshot(core: CoreThread, policy: dict[str, Any]) -> Snapshot:
    core.set(applications=[application([policy])])
    return core.snapshot


def all_ended(core: CoreThread, before: int, within: float) -> None:
    deadline = time.monotonic() + within
    while core.run(lambda: ended_in(core)) - before < COUNT:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_many_streams_are_judged_in_slices_and_all_in_time(many: CoreThread, streams: list[Raw]) -> None:
    before = many.run(lambda: ended_in(many))
    snapshot(many, NOBODY)

    def first() -> int:
        many.core.sweep()
        return ended_in(many) - before

    assert many.run(first) == 1, "one slice, and the loop goes on"
    all_ended(many, before, 1.0)
    for c in streams:
        assert ended(c, 2.0) == b"policy-denied"


def test_what_changes_during_a_look_is_looked_at_again(many: CoreThread, streams: list[Raw]) -> None:
    before = many.run(lambda: ended_in(many))
    refuses, allows = snapshot(many, NOBODY), snapshot(many, EVERYONE)

    def twice() -> int:
        many.core.sweep()
        many.core.set_snapshot(refuses)
        many.core.sweep()
        return ended_in(many) - before

    assert many.snapshot is allows
    assert many.run(twice) == 0, "the first was let be before the second snapshot came"
    all_ended(many, before, 1.0)


def test_a_look_that_takes_too_long_ends_at_once(many: CoreThread, streams: list[Raw]) -> None:
    before = many.run(lambda: ended_in(many))
    snapshot(many, NOBODY)

    def held_up() -> None:
        many.core.sweep()
        time.sleep(limits.SWEEP_WHOLE / 1000)

    many.run(held_up)
    assert many.run(lambda: ended_in(many)) - before == COUNT
