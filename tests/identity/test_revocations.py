"""Revocations and service tokens: stored before they are published; secrets kept as hashes only."""

import hashlib
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from edge.identity.revocations import FOREVER, NobodyFound, Revocations
from edge.identity.service_tokens import ServiceTokens
from edge.store import NameTaken, Store
from tests.kit.sign_in import ManualClock


@pytest.fixture
def published() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def revocations(store: Store, clock: ManualClock, published: list[dict[str, Any]]) -> Revocations:
    return Revocations(store, published.append, clock)


@pytest.fixture
def tokens(store: Store, revocations: Revocations, clock: ManualClock) -> ServiceTokens:
    return ServiceTokens(store, revocations, clock)


async def test_every_kind(
    store: Store, revocations: Revocations, published: list[dict[str, Any]], clock: ManualClock
) -> None:
    account = await store.accounts.signed_in("i", "s", "ann@example.com", "", int(clock()))
    await revocations.session("s")
    await revocations.nonce("n")
    await revocations.user("ANN@example.com")
    await revocations.application("a")
    await revocations.credential("c")
    await revocations.administrator("m")
    assert [(e["seq"], e["kind"], e["id"], e.get("epoch")) for e in published] == [
        (1, "session", "s", None),
        (2, "nonce", "n", None),
        (3, "user", account.id, 1),
        (4, "application", "a", 1),
        (5, "credential", "c", None),
        (6, "administrator", "m", None),
    ]
    assert await revocations.live() == (6, published)
    clock.advance(32 * 86400)  # no token lives that long
    seq, rest = await revocations.live()
    assert seq == 6 and [e["until"] for e in rest] == [FOREVER, FOREVER]


async def test_nobody(revocations: Revocations) -> None:
    with pytest.raises(NobodyFound):
        await revocations.user("nobody@example.com")


async def test_stored_before_it_is_published(store: Store, clock: ManualClock) -> None:
    """What workers hear of survives a crash right after."""
    seen: list[int] = []

    async def publish(entry: dict[str, Any]) -> None:
        seen.append((await store.revocations.live(int(clock())))[0])

    await Revocations(store, publish, clock).session("s")
    assert seen == [1]


async def test_a_service_tokens_life(
    tmp_path: Path, tokens: ServiceTokens, clock: ManualClock, published: list[dict[str, Any]]
) -> None:
    made = await tokens.create("deploy", 1000)
    assert re.fullmatch(r"[0-9a-f]{32}\.access", made.client_id)
    body = re.fullmatch(r"skst_([A-Za-z0-9]{40})([0-9a-f]{8})", made.secret)
    assert body is not None and f"{zlib.crc32(body[1].encode()):08x}" == body[2]
    assert made.secret not in repr(made)
    dump = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert made.secret.encode() not in dump
    digest = hashlib.sha256(made.secret.encode()).hexdigest()
    assert await tokens.for_snapshot(clock()) == {
        made.client_id: [made.id, "deploy", [[digest, int(clock()) + 1000]]]
    }
    with pytest.raises(NameTaken):
        await tokens.create("deploy")
    clock.advance(1000)
    assert await tokens.for_snapshot(clock()) == {}
    await tokens.refresh("deploy", 500)
    assert len(await tokens.for_snapshot(clock())) == 1
    await tokens.delete(made.client_id)
    assert await tokens.for_snapshot(clock()) == {} and list(await tokens.list()) == []
    assert [(e["kind"], e["id"]) for e in published] == [("service_token", made.client_id)]


async def test_rotation_with_grace(tokens: ServiceTokens, clock: ManualClock) -> None:
    made = await tokens.create("deploy")
    second = await tokens.rotate("deploy", 60)
    assert second.client_id == made.client_id and second.secret != made.secret
    _, _, secrets = (await tokens.for_snapshot(clock()))[made.client_id]
    assert len(secrets) == 2  # type: ignore[arg-type]
    clock.advance(60)
    _, _, secrets = (await tokens.for_snapshot(clock()))[made.client_id]
    assert len(secrets) == 1  # type: ignore[arg-type]
    await tokens.rotate("deploy")
    _, _, secrets = (await tokens.for_snapshot(clock()))[made.client_id]
    assert len(secrets) == 1  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="30 days"):
        await tokens.rotate("deploy", 31 * 86400)
    with pytest.raises(NobodyFound):
        await tokens.rotate("nothing")
