"""What is to be done with a request, on a worker's core of its own: programs' 401 and 403, a worker without word from
control, an encoded '/' before a stricter application, what the log calls a decision."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from _fastpath.accesslog import AccessLog
from edge.config import StoreObjects
from tests.kit.core_thread import CoreThread
from tests.kit.origin import RecordingOrigin
from tests.kit.policy_cases import application
from tests.kit.raw import Answer

SECRET = hashlib.sha256(b"secret").hexdigest()
TOKENS = {
    "robot.access": ["id-robot", "Robot", [[SECRET, 0]]],
    "other.access": ["id-other", "Other", [[SECRET, 0]]],
    "late.access": ["id-late", "Late", [[SECRET, 1]]],
}
ROBOT = {"decision": "non_identity", "include": [{"service_token": "Robot"}]}
ADA = {"decision": "allow", "include": [{"email": "ada@example.com"}]}
DENY = {"decision": "deny", "include": ["everyone"]}
OPEN = {"decision": "bypass", "include": ["everyone"]}


@pytest.fixture(scope="module")
def origin() -> Iterator[RecordingOrigin]:
    with RecordingOrigin() as one:
        yield one


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "access.log"


@pytest.fixture(scope="module")
def core(origin: RecordingOrigin, log: Path) -> Iterator[CoreThread]:
    objects = StoreObjects(service_tokens=TOKENS)
    with CoreThread(origin, log=AccessLog(log), objects=objects, applications=[application([ADA])]) as one:
        yield one


def ask(core: CoreThread, *fields: str, path: str = "/", token: bytes = b"") -> Answer:
    with core.client() as c:
        return c.send(core.request(path, *fields, token=token)).answer()


def program(client_id: str, secret: str = "secret") -> list[str]:
    return [f"Cf-Access-Client-Id: {client_id}", f"Cf-Access-Client-Secret: {secret}"]


# -- programs: 401 cannot say who it is, 403 may not -------------------------------------------------

REFUSED = [
    (program("nobody.access"), 401, "service-token-unknown"),
    (program("robot.access", "wrong"), 401, "service-token-unknown"),
    (program("late.access"), 401, "service-token-expired"),
    (program("robot.access")[:1], 401, "service-token-incomplete"),
    (program("other.access"), 403, None),
]


@pytest.mark.parametrize("policies", [[ROBOT], [ROBOT, DENY], [ROBOT, ADA]], ids=["alone", "deny", "allow"])
@pytest.mark.parametrize(("fields", "status", "reason"), REFUSED, ids=["unknown", "wrong", "expired", "half", "other"])
def test_programs_without_permission(
    core: CoreThread, policies: list[dict[str, object]], fields: list[str], status: int, reason: str | None
) -> None:
    core.set(applications=[application(policies)])
    core.origin.clear()
    answer = ask(core, *fields)
    assert answer.status == status
    assert answer.get("content-type") == "application/problem+json", "also without an Accept field"
    said = json.loads(answer.body)["reason"]
    assert said == reason or (reason is None and said.startswith("policy-")), said
    assert not core.origin.requests


def test_a_good_session_beside_a_bad_service_token_does_not_admit(core: CoreThread) -> None:
    core.set(applications=[application([ROBOT, ADA])])
    assert ask(core, token=core.token()).status == 200
    assert ask(core, *program("robot.access", "wrong"), token=core.token()).status == 401


def test_a_bypass_asks_for_no_service_token(core: CoreThread) -> None:
    core.set(applications=[application([OPEN])])
    assert ask(core, *program("robot.access", "wrong")).status == 200


# -- an identity provider that is no longer taken ---------------------------------------------------


def test_who_came_by_a_provider_that_is_not_taken_is_nobody(core: CoreThread) -> None:
    """401 and the way to sign in; where nobody at all may pass, the origin is told of nobody."""
    core.set(applications=[application([ADA], allowed_idps=["SSO"])])
    core.origin.clear()
    answer = ask(core, "Accept: application/json", token=core.token())
    assert answer.status == 401 and json.loads(answer.body)["reason"] == "login-method-not-allowed"
    assert "/cdn-cgi/access/login/" in json.loads(answer.body)["login_url"]
    assert not core.origin.requests
    assert ask(core, token=core.token(sekisho__idp="sso")).status == 200
    assert b"cf-access-jwt-assertion" in core.origin.wait(1)[0].raw.lower()
    core.origin.clear()
    core.set(applications=[application([OPEN, ADA], allowed_idps=["SSO"])])
    assert ask(core, token=core.token()).status == 200
    assert b"cf-access-" not in core.origin.wait(1)[0].raw.lower()


# -- no word from control for max_stale --------------------------------------------------------------


def test_without_word_from_control_nobody_is_known_and_bypass_goes_on(core: CoreThread) -> None:
    core.set(applications=[application([ADA])])
    core.run(lambda: core.core.set_stale(True))
    try:
        answer = ask(core, "Accept: application/json", token=core.token())
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, "snapshot-stale")
        assert ask(core).status == 503
        core.set(applications=[application([ROBOT])])
        assert ask(core, *program("robot.access")).status == 503
        core.set(applications=[application([OPEN])])
        core.origin.clear()
        assert ask(core, token=core.token()).status == 200
        assert core.origin.wait(1)[0].get("cf-access-jwt-assertion") is None
    finally:
        core.run(lambda: core.core.set_stale(False))


# -- an encoded slash --------------------------------------------------------------------------------

SLASHES = [
    ("/repos/group%2Fproject", 200),
    ("/admin%2Fsecret", 400),
    ("/admin%2fsecret", 400),
    ("/%61dmin%2Fsecret", 400),
    ("/x/%2Fadmin", 400),
    ("/%2Fadmin/secret", 400),
    ("/x%2F..%2Fadmin", 400),
    ("/admin/a%2Fb", 400),
]


@pytest.mark.parametrize(("path", "status"), SLASHES)
def test_an_encoded_slash_reaches_no_stricter_application(core: CoreThread, path: str, status: int) -> None:
    """%2F is let through at "/" only: whoever reads it as "/" must not come out in "/admin"."""
    core.set(
        applications=[
            application([OPEN], encoded_slash=True),
            {**application([ADA]), "name": "Admin", "domain": "app.example.com/admin"},
        ],
    )
    core.origin.clear()
    answer = ask(core, "Accept: application/json", path=path)
    assert answer.status == status, answer.body
    if status == 400:
        assert json.loads(answer.body)["reason"] == "path-slash-encoded"
        assert not core.origin.requests
    else:
        assert path.encode() in core.origin.wait(1)[0].raw


# -- the log -----------------------------------------------------------------------------------------


def logged(log: Path, since: int) -> dict[str, object]:
    deadline = time.monotonic() + 3
    while len(lines := log.read_text().splitlines()) <= since:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    line: dict[str, object] = json.loads(lines[since])
    return line


def test_the_log_calls_a_decision_what_was_decided(core: CoreThread, log: Path) -> None:
    """Control's own pages and redirects are nobody's denial."""
    core.set(applications=[application([ADA])])
    for fields, path, token, decision, status in (
        ([], "/", core.token(), "allow", 200),
        ([], "/", core.token(email="eve@example.com"), "deny", 403),
        ([], "/", b"", "login", 302),
        ([], "/cdn-cgi/access/authorized", b"", "none", 503),
        ([], "/a%2Fb", b"", "none", 400),
    ):
        time.sleep(0.05)
        since = len(log.read_text().splitlines())
        assert ask(core, *fields, path=path, token=token).status == status
        line = logged(log, since)
        assert (line["decision"], line["status"]) == (decision, status)
        if decision == "allow":
            assert int(str(line["edge_us"])) <= int(str(line["first_us"]))
