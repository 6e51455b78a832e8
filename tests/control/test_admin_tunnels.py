"""Tunnels at control, over a real store: names, credentials, what a worker is answered."""

import base64
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from edge.control.admin import NotDone, build_admin
from edge.control.admin_tunnels import TunnelDesk, routes
from edge.identity.authority import new_key, new_request, read_role
from edge.identity.keys import KeyStore
from edge.identity.master_key import MasterKey
from edge.identity.revocations import Revocations
from edge.store import Store
from tests.identity.test_authority import der


class Heard:
    """What the desk told others."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.revoked: list[dict[str, Any]] = []
        self.records: list[str] = []
        self.closed: list[tuple[str, str]] = []
        self.links: list[dict[str, Any]] = []

    async def change(self, why: str) -> None:
        self.changed.append(why)

    async def revoke(self, entry: dict[str, Any]) -> None:
        self.revoked.append(entry)

    def record(self, kind: str, **detail: Any) -> None:
        self.records.append(kind)

    def close(self, tunnel: str, replica: str) -> int:
        self.closed.append((tunnel, replica))
        return len(self.links)


@pytest.fixture
async def desk(tmp_path: Path) -> Any:
    store = await Store.open(f"sqlite:///{tmp_path}/state.db")
    keys = await KeyStore.open(store, MasterKey.generate(), clock=time.time)
    heard = Heard()
    revocations = Revocations(store, heard.revoke, clock=time.time)
    found = TunnelDesk(
        store, keys, revocations, heard, changed=heard.change, states=lambda: heard.links,
        addresses=lambda: ("tunnel.x.test", ["203.0.113.1:443"]), close_links=heard.close,
        clock=time.time,
    )  # fmt: skip
    found.heard = heard
    await found.start("tunnel.x.test")
    yield found
    await store.close()


def request() -> bytes:
    return new_request(new_key())


async def test_create_and_ask_for_a_link_certificate(desk: TunnelDesk) -> None:
    made = await desk.create("office", request(), ["*.a.test"])
    assert (made["edge"], made["server_name"]) == (["203.0.113.1:443"], "tunnel.x.test")
    answer = await desk.link_certificate(
        {"credential": made["credential"], "tunnel": "", "request": request()}
    )
    role = read_role(der(answer["certificate"]))
    assert (role.role, role.id, role.credential) == (
        "connector",
        made["tunnel"],
        made["credential"],
    )
    assert role.hostnames == ("*.a.test",)
    assert desk.heard.changed == ["tunnel created"]
    assert made["anchors"].encode() == answer["anchors"]


async def test_keys_are_made_once_and_renewed_for_another_name(desk: TunnelDesk) -> None:
    first = await desk.start("tunnel.x.test")
    assert await desk.start("tunnel.x.test") == first
    second = await desk.start("tunnel.y.test")
    assert second[0] != first[0] and second[2] == first[2]  # the CA stays


@pytest.mark.parametrize(
    "name", ["", " x", "a/b", "a\nb", "x" * 64, "123e4567-e89b-42d3-a456-426614174000"]
)
async def test_names_that_are_refused(desk: TunnelDesk, name: str) -> None:
    with pytest.raises(NotDone):
        await desk.create(name, request(), [])
    assert await desk.overview() == []


async def test_nothing_is_left_of_a_create_that_fails(desk: TunnelDesk) -> None:
    with pytest.raises(NotDone, match="can't be used"):
        await desk.create("office", b"no request", [])
    with pytest.raises(NotDone, match="hostnames"):
        await desk.create("office", request(), ["not a host"])
    assert await desk.overview() == []
    await desk.create("office", request(), [])
    with pytest.raises(NotDone, match="already"):
        await desk.create("office", request(), [])
    assert len(await desk.store.objects.list("credential")) == 1


async def test_worker_is_told_why_not(desk: TunnelDesk) -> None:
    made = await desk.create("office", request(), [])
    other = await desk.create("other", request(), [])
    ask = {"credential": made["credential"], "tunnel": "", "request": request()}
    assert (await desk.link_certificate({**ask, "credential": "x"}))["reason"] == "link-revoked"
    # a tunnel's id is no credential, and one tunnel's credential is not another's
    assert (await desk.link_certificate({**ask, "credential": made["tunnel"]}))["final"]
    wrong = await desk.link_certificate({**ask, "tunnel": other["tunnel"]})
    assert wrong["reason"] == "link-role"
    assert (await desk.link_certificate({**ask, "request": b"x"}))["reason"] == "link-protocol"
    await desk.token("office", request(), True, None)
    assert (await desk.link_certificate(ask))["reason"] == "link-revoked"
    assert [entry["id"] for entry in desk.heard.revoked] == [made["credential"]]


async def test_rotated_credential_is_as_narrow_as_the_one_before(desk: TunnelDesk) -> None:
    await desk.create("office", request(), ["a.test"])
    fresh = await desk.token("office", request(), True, None)
    info = await desk.info("office")
    assert [
        (one["id"] == fresh["credential"], one["revoked"], one["hostnames"])
        for one in info["credentials"]
    ] == [(False, True, ["a.test"]), (True, False, ["a.test"])]


async def test_a_revoked_credential_says_so(desk: TunnelDesk) -> None:
    """`edge revoke --credential` is more than an entry for workers: the row shows it, and control
    makes no link certificate for it when every revocation file is lost."""
    made = await desk.create("office", request(), ["*.a.test"])
    await desk.revocations.credential(made["credential"])
    (shown,) = (await desk.info("office"))["credentials"]
    assert shown["revoked"] and shown["hostnames"] == ["*.a.test"]
    ask = {"credential": made["credential"], "tunnel": "", "request": request()}
    assert (await desk.link_certificate(ask))["reason"] == "link-revoked"
    _, live = await desk.revocations.live(time.time() + 10**9)
    assert [entry["id"] for entry in live] == [made["credential"]]
    await desk.token("office", request(), True, None)  # rotating doesn't revoke it again
    assert len(desk.heard.revoked) == 1


async def test_delete_revokes_every_credential(desk: TunnelDesk) -> None:
    made = await desk.create("office", request(), [])
    desk.heard.links = [{"tunnel": made["tunnel"], "replica": "r", "state": "up"}]
    with pytest.raises(NotDone, match="--force"):
        await desk.delete("office", False)
    assert (await desk.delete(made["tunnel"], True))["links_cut"] == 1
    assert [entry["kind"] for entry in desk.heard.revoked] == ["credential"]
    assert await desk.store.objects.list() == []
    with pytest.raises(NotDone, match="no tunnel"):
        await desk.info("office")


async def test_over_http(desk: TunnelDesk) -> None:
    app: Starlette = build_admin(None, routes(desk))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        body = {"name": "office", "request": base64.b64encode(request()).decode()}
        assert (await client.post("/tunnels", json={**body, "request": "?"})).status_code == 400
        assert (await client.post("/tunnels", json={**body, "hostnames": "a"})).status_code == 400
        made = await client.post("/tunnels", json=body)
        assert made.status_code == 201 and "key" not in made.json()
        assert (await client.post("/tunnels", json=body)).status_code == 409
        listed = (await client.get("/tunnels")).json()["tunnels"]
        assert [(one["name"], one["status"]) for one in listed] == [("office", "down")]
        assert (await client.get("/tunnels/nobody")).status_code == 404
        assert (await client.post("/tunnels/office/cleanup", json={})).json()["links"] == 0
        assert (await client.delete("/tunnels/office")).status_code == 200
