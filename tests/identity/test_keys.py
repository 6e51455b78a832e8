"""Keys: encrypted rows under one master key, rotation with overlap, and never a silent new one."""

from pathlib import Path

import pytest
from sqlalchemy import text

from edge.identity.keys import LEAD, OVERLAP, ROTATION, KeyStore
from edge.identity.master_key import KeyRefused, MasterKey
from edge.store import Store
from tests.kit.sign_in import ManualClock


async def test_another_master_key_is_refused(
    store: Store, keys: KeyStore, clock: ManualClock
) -> None:
    with pytest.raises(KeyRefused, match="master key"):
        await KeyStore.open(store, MasterKey.generate(), clock=clock)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE keys SET secret = zeroblob(60) WHERE name = 'pin'",
        "UPDATE keys SET secret = (SELECT secret FROM keys WHERE name = 'aud') WHERE name = 'pin'",
        "DELETE FROM keys WHERE name = 'aud'",
        "DELETE FROM keys WHERE kind = 'signing'",
    ],
)
async def test_a_damaged_store_gets_no_new_keys(
    store: Store, keys: KeyStore, master: MasterKey, clock: ManualClock, damage: str
) -> None:
    """Faults: a signing key missing at start → refuse to start; rows can't stand in for each
    other."""
    async with store._database.write() as connection:
        await connection.execute(text(damage))
    with pytest.raises(KeyRefused):
        await KeyStore.open(store, master, clock=clock)


async def test_keys_lost_from_a_used_store(
    store: Store, keys: KeyStore, master: MasterKey, clock: ManualClock
) -> None:
    await store.accounts.signed_in("i", "s", "a@x.example", "", 1)
    async with store._database.write() as connection:
        await connection.execute(text("DELETE FROM keys"))
    with pytest.raises(KeyRefused, match="missing"):
        await KeyStore.open(store, master, clock=clock)


async def test_secrets_are_encrypted_at_rest(tmp_path: Path, keys: KeyStore) -> None:
    secret = await keys.make("something")
    assert await keys.make("something") == secret == keys.secret("something")
    dump = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert secret not in dump and keys.secret("pin") not in dump
    with pytest.raises(KeyRefused):
        keys.secret("nothing")


async def test_l13_rotation_with_overlap(keys: KeyStore, clock: ManualClock) -> None:
    """L13: published before it signs; the old one verifies for seven days after."""
    first = keys.signing(clock()).kid
    assert not keys.due(clock()) and keys.due(clock() + ROTATION)
    second = await keys.rotate(clock())
    assert {k["kid"] for k in keys.public_jwks(clock())} == {first, second}
    assert keys.signing(clock() + LEAD - 1).kid == first
    assert keys.signing(clock() + LEAD).kid == second
    assert len(keys.verifying(clock() + LEAD + OVERLAP - 1)) == 2
    assert [k.kid for k in keys.verifying(clock() + LEAD + OVERLAP)] == [second]
    await keys.drop_retired(clock() + LEAD + OVERLAP)
    assert keys.get(first) is None


async def test_keys_survive_a_restart(
    store: Store, keys: KeyStore, master: MasterKey, clock: ManualClock
) -> None:
    await keys.rotate(clock())
    await keys.put("tunnel-ca", "authority", b"secret", "PEM")
    again = await KeyStore.open(store, master, clock=clock)
    assert again.public_jwks(clock()) == keys.public_jwks(clock())
    assert again.aud("Wiki") == keys.aud("Wiki") and len(again.aud("Wiki")) == 64
    found = again.get("tunnel-ca")
    assert found is not None and (found.secret, found.public) == (b"secret", "PEM")
    assert again.of_kind("authority") == [found]


async def test_default_aud_is_the_compilers(keys: KeyStore) -> None:
    """The AUD tag by default is the same here and in the compiler of snapshots."""
    from edge.config.identifiers import default_aud

    assert keys.aud("Wiki") == default_aud(keys.secret("aud"), "Wiki")
