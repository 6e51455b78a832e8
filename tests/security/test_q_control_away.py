"""What workers do without control: 503 once max_stale is over, 503 where an unknown fact decides (Q01, Q19),
no entry to an application that they haven't heard of (Q03)."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.kit.edge_mint import EdgeMint
from tests.kit.edge_process import wait_until
from tests.kit.raw import Answer, Raw
from tests.security.checkpoint import Twins
from tests.security.rows import A, request

GROUPS = "groups.sekisho.localhost"


@contextlib.contextmanager
def control_stopped(twins: Twins) -> Iterator[None]:
    """Control hangs: it keeps its sockets and says nothing. The master replaces it after 5 s; either is well."""
    pid = twins.edge.pids()["control"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        twins.edge.wait_ready()


def ask(clients: list[Raw], host: str, *fields: str) -> list[Answer]:
    """One request on each of these kept connections: control isn't there to say where new ones go."""
    for one in clients:
        one.send(request(*fields, "Accept: application/json", host=host))
    # a worker waits 5 s for a hung control before it says 503
    return [one.answer(timeout=12) for one in clients]


def statuses(answers: list[Answer]) -> set[int]:
    return {answer.status for answer in answers}


@pytest.fixture
def short(twins: Twins) -> Iterator[Twins]:
    """`max_stale: 2s`, for one test."""
    config = twins.edge.config.read_text()
    twins.edge.reload(config + "max_stale: 2s\n")
    yield twins
    twins.edge.reload(config)


def test_max_stale_ends_decisions_about_people_in_503_and_control_s_word_mends_it(short: Twins) -> None:
    cookie = f"Cookie: {short.cookie(A)}"
    with short.spread_over_both(A) as clients:
        assert statuses(ask(clients, A, cookie)) == {200}
        with control_stopped(short):
            began = time.monotonic()
            wait_until(lambda: statuses(ask(clients, A, cookie)) == {503}, 8)
            assert time.monotonic() - began > 0.9, "not before 2 s after the last beat, of which there is one a second"
            short.clear()
            answers = ask(clients, A, cookie)
            for answer in answers:
                assert answer.status == 503 and json.loads(answer.body)["reason"] == "snapshot-stale"
                assert answer.get("retry-after") and answer.get("cache-control") == "no-store"
            assert not short.origin.requests
            line = short.line(answers[0].get("cf-ray") or "")
            assert line["reason"] == "snapshot-stale" and line["status"] == 503
        wait_until(lambda: statuses(ask(clients, A, cookie)) == {200}, 10)


def test_q19_an_unknown_group_admits_nobody_while_control_is_away(twins: Twins) -> None:
    """Q19: a token whose groups were too large to carry; the policy excludes a group. Control up: it is asked,
    and says that she is in none. Control hung: 503 facts-unavailable, and the origin sees nothing."""
    mint = EdgeMint.of(twins.edge, f"sqlite:///{twins.folder}/state.db", time.time())
    jar = twins.fresh(GROUPS).jar[GROUPS]
    good = next(v for k, v in jar.items() if k.startswith("CF_Authorization"))
    unsure = [mint.over(good, sekisho__groups=..., sekisho__partial=["groups"], country=f"X{n}") for n in range(2)]

    def told(clients: list[Raw], token: str) -> set[str]:
        answers = ask(clients, GROUPS, f"Cookie: CF_Authorization={token}")
        return {"let in" if a.status == 200 else f"{a.status} {json.loads(a.body)['reason']}" for a in answers}

    with twins.spread_over_both(GROUPS) as clients:
        assert told(clients, unsure[0]) == {"let in"}, "control knows her groups"
        with control_stopped(twins):
            twins.clear()
            assert told(clients, unsure[1]) == {"503 facts-unavailable"}
            assert not twins.origin.requests
            assert told(clients, good) == {"let in"}, "whose groups are known needs no control"


def test_q03_a_worker_that_has_not_heard_of_an_application_knows_no_such_host(twins: Twins) -> None:
    """Q03 between workers of one node: until a worker has the new snapshot its host has no application:
    refused (403), never open; then the policy stands."""
    config, new = twins.edge.config.read_text(), "new.sekisho.localhost"
    more = (f"  - name: New\n    domain: {new}\n"
            "    policies: [{name: Alice, decision: allow, include: [{email: alice@example.com}]}]\n")
    worker = twins.edge.pids()["worker 0"]

    def behind() -> bool:
        status = twins.edge.status()
        versions = [w["version"] for w in status["workers"]]
        return status["last_reload"]["ok"] and versions[1] == status["version"] != versions[0]

    with twins.spread_over_both(new) as clients:
        assert statuses(ask(clients, new)) == {403}
        os.kill(worker, signal.SIGSTOP)           # this one can't take the new snapshot
        try:
            twins.edge.write(config + more)
            wait_until(behind, 8)
            for one in clients:
                one.send(request(host=new))       # as a person would: who knows the application shows the way to sign-in
            time.sleep(0.2)
        finally:
            os.kill(worker, signal.SIGCONT)
        first = [one.answer().status for one in clients]
        assert set(first) <= {302, 403}, "the old snapshot refuses, the new one sends to sign-in; nobody is let in"
        wait_until(lambda: statuses(ask(clients, new)) == {401}, 5)
    assert not twins.origin.requests
    twins.edge.reload(config)
