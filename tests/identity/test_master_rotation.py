"""Another master key, killed at every line of the way, over both databases: nothing is ever lost."""

import asyncio
import os
import signal
import sqlite3
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.identity.keys import BRIDGE, KeyStore
from edge.identity.master_key import KeyRefused, MasterKey, replace_file, stage
from edge.identity.master_rotation import TRACES, MasterRotation, RotationRefused
from edge.store import Store
from tests.kit.sign_in import ManualClock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    made: str = request.getfixturevalue("postgres").database()
    return made


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()


@pytest.fixture
def file(tmp_path: Path, master: MasterKey) -> Path:
    path = tmp_path / "keys" / "master.key"
    path.parent.mkdir()
    master.write(path)
    return path


async def start(store: Store, file: Path, clock: ManualClock) -> KeyStore:
    """What control does at start."""
    keys = await KeyStore.open(store, MasterKey.load(file), clock=clock)
    await MasterRotation(keys, file).resume()
    return keys


async def check_finished(
    store: Store, file: Path, clock: ManualClock, old: MasterKey, secret: bytes
) -> None:
    """The file's key opens all of it, the old one nothing, and nothing lies about."""
    keys = await start(store, file, clock)
    assert keys.master == MasterKey.load(file) != old
    assert keys.secret("pin") == secret and keys.retired is None
    assert {row.master_id for row in await store.keys.all()} == {keys.master.id}
    assert [path.name for path in file.parent.iterdir()] == ["master.key"]
    with pytest.raises(KeyRefused):
        await KeyStore.open(store, old, clock=clock)


async def test_every_secret_is_sealed_anew(
    store: Store, keys: KeyStore, master: MasterKey, file: Path, clock: ManualClock
) -> None:
    secret = keys.secret("pin")
    await store.objects.add("provider", "p1", "SSO", {}, keys.seal("p1", b"client secret"), 1)
    await store.objects.add("tunnel", "t1", "office", {}, None, 1)
    made = await MasterRotation(keys, file).rotate()
    assert keys.master == made == MasterKey.load(file)
    assert await keys.make("later")
    await check_finished(store, file, clock, master, secret)
    thing = await store.objects.get("p1")
    assert thing is not None and thing.secret is not None
    assert keys.unseal("p1", thing.secret) == b"client secret"
    again = await MasterRotation(keys, file).rotate()
    await check_finished(store, file, clock, made, secret)
    assert again != made


async def test_the_retired_key_opens_nothing_that_the_files_still_hold(
    tmp_path: Path, master: MasterKey, file: Path, clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    """SQLite: neither the row by which the old key opens the new one, nor what was sealed before,
    is left in the file or its log. Somebody who reads can keep it there: that is said."""
    monkeypatch.setattr("edge.identity.keys.FORGET_TRIES", 1)
    store = await Store.open(f"sqlite:///{tmp_path}/state.db")
    keys = await KeyStore.open(store, master, clock=clock)
    before = {row.secret for row in await store.keys.all()}

    def left(secrets: set[bytes]) -> bool:
        held = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
        return any(secret in held for secret in secrets)

    fresh = MasterKey.generate()
    rotation = MasterRotation(keys, file)
    reader = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    try:
        for reads in (False, True):
            if reads:
                fresh = MasterKey.generate()
            stage(file, fresh)
            await keys.change_master(fresh)
            bridge = {row.secret for row in await store.keys.all() if row.kind == BRIDGE}
            assert len(bridge) == 1 and left(bridge)
            if reads:
                reader.execute("BEGIN")
                assert reader.execute("SELECT count(*) FROM keys").fetchone()[0] > 1
            assert await rotation.finish()
            assert left(bridge) == reads == rotation.traces
            assert (TRACES in caplog.text) == reads
            assert reads or not left(before)
        reader.execute("COMMIT")
        await start(store, file, clock)  # the restart that the sentence asks for
        assert not left(bridge)
    finally:
        reader.close()
        await store.close()


@pytest.mark.parametrize("line", [1, 2, 3])
async def test_killed_after_each_line(
    store: Store, keys: KeyStore, master: MasterKey, file: Path, clock: ManualClock, line: int
) -> None:
    secret, other = keys.secret("pin"), MasterKey.generate()
    stage(file, other)
    if line == 1:  # undone: nothing was sealed under the new key
        assert (await start(store, file, clock)).master == master
        assert [path.name for path in file.parent.iterdir()] == ["master.key"]
        return
    await keys.change_master(other)
    if line == 2:
        for opens in (master, other):
            assert (await KeyStore.open(store, opens, clock=clock)).secret("pin") == secret
    else:
        replace_file(file, other)
    await check_finished(store, file, clock, master, secret)


CRASH = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from edge.identity.keys import BRIDGE, KeyStore
    from edge.identity.master_key import MasterKey
    from edge.store import Store

    class Dying(MasterKey):  # killed while the third secret is sealed, inside the transaction
        left = 3

        def seal(self, name, plain):
            if name != "master " + self.id:
                Dying.left -= 1
            if not Dying.left:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().seal(name, plain)

    async def main():
        store = await Store.open(sys.argv[1])
        keys = await KeyStore.open(store, MasterKey.load(Path(sys.argv[2])), clock=lambda: 1.0)
        await keys.change_master(Dying("ff" * 8, bytes(32)))

    asyncio.run(main())
"""


async def test_killed_inside_the_transaction(
    url: str, store: Store, keys: KeyStore, master: MasterKey, file: Path, clock: ManualClock
) -> None:
    before = await store.keys.all()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(CRASH), url, str(file),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert await process.wait() == -signal.SIGKILL
    assert await store.keys.all() == before
    assert (await start(store, file, clock)).secret("pin") == keys.secret("pin")
    await MasterRotation(keys, file).rotate()
    await check_finished(store, file, clock, master, keys.secret("pin"))


async def test_what_a_lost_answer_left_divided_is_united(
    store: Store, keys: KeyStore, master: MasterKey, file: Path, clock: ManualClock
) -> None:
    """The database committed and its answer got lost: this process went on with the old key."""
    secret = keys.secret("pin")
    twin = await KeyStore.open(store, master, clock=clock)
    await twin.change_master(MasterKey.generate())
    late = await keys.make("late")
    united = await start(store, file, clock)
    assert united.secret("late") == late and not united.divided
    await check_finished(store, file, clock, master, secret)


async def test_a_key_made_meanwhile_is_not_left_behind(
    store: Store, keys: KeyStore, master: MasterKey, file: Path, clock: ManualClock
) -> None:
    made = await asyncio.gather(
        keys.make("one"), MasterRotation(keys, file).rotate(), keys.make("two"), keys.rotate(clock())
    )
    await check_finished(store, file, clock, master, keys.secret("pin"))
    again = await start(store, file, clock)
    assert [again.secret("one"), again.secret("two")] == [made[0], made[2]]


async def test_a_credential_waits_for_its_owner(
    store: Store, keys: KeyStore, master: MasterKey, file: Path, clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    secret, fresh = keys.secret("pin"), MasterKey.generate()
    rotation = MasterRotation(keys, file)
    with pytest.raises(RotationRefused, match="--key-file"):
        await rotation.rotate()
    with pytest.raises(RotationRefused, match="in force"):
        await rotation.rotate(master)
    assert await rotation.rotate(fresh) == fresh
    assert await rotation.rotate(fresh) == fresh  # the answer was lost; asked again
    with pytest.raises(RotationRefused, match="restart the edge first"):
        await rotation.rotate(MasterKey.generate())
    for _ in range(2):  # control is replaced: systemd's copy still is the old key
        waiting = await start(store, file, clock)
        assert waiting.retired == master and waiting.master == fresh
        assert waiting.secret("pin") == secret
    assert MasterKey.load(file) == master
    file.unlink()
    fresh.write(file)  # the owner's hands, then a restart
    await check_finished(store, file, clock, master, secret)
