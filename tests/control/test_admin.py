"""The administration application: shapes, errors, and nothing of the public application."""

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from edge.control.admin import MAX_BODY, NotDone, build_admin
from edge.store import StoreUnavailable


class Operations:
    """Writes down what it was asked."""

    def __init__(self):
        self.asked = []

    async def status(self):
        return {"version": 7}

    async def applications(self):
        return [{"name": "Wiki"}]

    async def reload(self):
        raise NotDone("the configuration has errors", 422, version=7, errors=["f:1:1: x"])

    async def revoke(self, kind, what):
        self.asked.append((kind, what))
        if what == "down":
            raise StoreUnavailable("no answer")
        return {"revoked": []}

    async def rotate_keys(self):
        return {"kid": "k"}

    async def rotate_master(self, given):
        return {"given": given}

    async def service_tokens(self):
        return [{"name": "robot"}]

    async def service_token_create(self, name, duration):
        self.asked.append((name, duration))
        return {"client_secret": "s"}

    async def service_token_rotate(self, name, grace):
        self.asked.append((name, grace))
        return {}

    async def service_token_delete(self, name):
        self.asked.append(name)
        return {}


@pytest.fixture
def operations():
    return Operations()


@pytest.fixture
def admin(operations):
    async def extra(request):
        raise NotDone("no such tunnel", 404)

    return TestClient(build_admin(operations, [Route("/tunnels", extra)]))


def test_answers_are_json(admin):
    assert admin.get("/status").json() == {"version": 7}
    assert admin.get("/applications").json() == {"applications": [{"name": "Wiki"}]}
    assert admin.get("/service-tokens").json() == {"service_tokens": [{"name": "robot"}]}
    assert admin.post("/rotate-keys").json() == {"kid": "k"}
    assert admin.post("/rotate-keys/master").json() == {"given": None}
    assert admin.post("/rotate-keys/master", json={"key": "k"}).json() == {"given": "k"}
    assert admin.post("/rotate-keys/master", json={"key": 7}).status_code == 400


def test_refusal_is_a_sentence_with_its_details(admin):
    answer = admin.post("/reload")
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "the configuration has errors", "version": 7, "errors": ["f:1:1: x"],
    }
    assert admin.get("/tunnels").json() == {"error": "no such tunnel"}


def test_fields_reach_the_operation(admin, operations):
    admin.post("/revoke", json={"kind": "user", "id": "a@example.com"})
    assert admin.post("/service-tokens", json={"name": "n", "duration": 60}).status_code == 201
    admin.post("/service-tokens/n/rotate", json={"grace": 5})
    admin.post("/service-tokens/n/rotate")
    admin.delete("/service-tokens/n")
    assert operations.asked == [("user", "a@example.com"), ("n", 60), ("n", 5), ("n", 0), "n"]


@pytest.mark.parametrize(("body", "status", "word"), [
    (b"", 400, "'kind'"), (b"{}", 400, "'kind'"), (b"[1]", 400, "object"), (b"{", 400, "JSON"),
    (b"\xff", 400, "JSON"), (b'{"kind": 1, "id": "x"}', 400, "'kind'"),
    (b'{"kind": "user", "id": true}', 400, "'id'"), (b"x" * (MAX_BODY + 1), 413, "over"),
    (b"[" * 100_000, 400, "JSON"),
], ids=["none", "empty", "list", "cut", "bytes", "number", "boolean", "long", "deep"])
def test_bad_body_is_refused_and_does_nothing(admin, operations, body, status, word):
    answer = admin.post("/revoke", content=body)
    assert answer.status_code == status
    assert word in answer.json()["error"]
    assert operations.asked == []


def test_database_away_is_503(admin):
    answer = admin.post("/revoke", json={"kind": "user", "id": "down"})
    assert answer.status_code == 503 and "database" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/", "/cdn-cgi/access/certs", "/cdn-cgi/access/login", "/x"])
def test_public_routes_are_not_here(admin, path):
    assert admin.get(path).status_code == 404


def test_reading_changes_nothing(admin):
    """Q06: what changes something is never a GET."""
    for path in ("/reload", "/revoke", "/rotate-keys", "/service-tokens/n/rotate"):
        assert admin.get(path).status_code == 405
