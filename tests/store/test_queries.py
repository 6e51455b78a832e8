"""What the queries promise, on both databases: one winner, no lost count, names once."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from sqlalchemy import text

from edge.store import (
    ApplicationSessionRow,
    Event,
    Flow,
    Handoff,
    NameTaken,
    SessionRow,
    Store,
    StoreUnavailable,
)
from edge.store import flows as flows_module

NOW = 1_800_000_000


def flow(number: int, network: str = "n", **changes: object) -> Flow:
    values: dict[str, object] = {
        "id": f"{number:022d}",
        "browser": "b",
        "network": network,
        "provider": "pin",
        "aud": "a",
        "host": "h",
        "redirect": "/",
        "meta": "m",
        "language": "en",
        "secret": {"address": "x"},
        "created": NOW + number,
        "expires": NOW + number + 600,
    }
    return Flow(**{**values, **changes})  # type: ignore[arg-type]


def session(id: str, account: str = "u") -> SessionRow:
    return SessionRow(id, account, "pin", NOW, NOW + 100, None, "192.0.2.1", {"groups": ["ö"]})


async def test_one_account_for_parallel_first_visits(store: Store) -> None:
    found = await asyncio.gather(
        *(store.accounts.signed_in("iss", "sub", f"a{n}@x.example", "", NOW) for n in range(8))
    )
    assert len({account.id for account in found}) == 1
    other = await store.accounts.signed_in("iss2", "sub", "a0@x.example", "", NOW)
    assert other.id != found[0].id  # M10
    assert {a.id for a in await store.accounts.named("A0@x.example")} >= {other.id}


async def test_a_flow_is_taken_once(store: Store) -> None:
    await store.flows.begin(flow(1))
    taken = await asyncio.gather(*(store.flows.take(f"{1:022d}", NOW + 2) for _ in range(20)))
    assert sum(taken) == 1
    assert await store.flows.get(f"{1:022d}", NOW + 2) is None


async def test_flows_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood pushes out its own network's oldest flows, then the oldest of all."""
    monkeypatch.setattr(flows_module, "MAX_FLOWS_NETWORK", 3)
    monkeypatch.setattr(flows_module, "MAX_FLOWS", 5)
    await store.flows.begin(flow(0, "quiet"))
    for number in range(1, 9):
        await store.flows.begin(flow(number, "loud"))
    alive = [n for n in range(9) if await store.flows.get(f"{n:022d}", NOW + 20)]
    assert alive == [0, 6, 7, 8]
    for number in range(9, 15):
        await store.flows.begin(flow(number, f"net{number}"))
    alive = [n for n in range(15) if await store.flows.get(f"{n:022d}", NOW + 20)]
    assert alive == [10, 11, 12, 13, 14]


async def test_tries_are_counted_before_they_are_compared(store: Store) -> None:
    """O01 O05: fifty guesses at once get five tries together."""
    await store.pins.put("f", "digest", 6, NOW, NOW + 600)
    got = await asyncio.gather(*(store.pins.count_try("f", 5, NOW) for _ in range(50)))
    assert sorted(row.tries for row in got if row) == [1, 2, 3, 4, 5]


async def test_a_code_is_used_once(store: Store) -> None:
    await store.pins.put("f", "digest", 6, NOW, NOW + 600)
    used = await asyncio.gather(*(store.pins.use("f", "digest", NOW) for _ in range(20)))
    assert sum(used) == 1
    await store.pins.put("f", "other", 6, NOW, NOW + 600)
    assert not await store.pins.use("f", "digest", NOW)
    assert not await store.pins.use("f", "other", NOW + 600)


async def test_counters(store: Store) -> None:
    await asyncio.gather(*(store.counters.add(NOW, ("k", "a"), ("k", "b")) for _ in range(20)))
    assert await store.counters.total("k", "a", NOW + 59 * 60, 60) == 20
    assert await store.counters.total("k", "a", NOW + 61 * 60, 60) == 0
    await store.counters.forget("k", "a")
    assert await store.counters.total("k", "a", NOW, 60) == 0
    assert await store.counters.total("k", "b", NOW, 60) == 20


async def test_counters_are_kept_for_their_window_and_little_longer(store: Store) -> None:
    await store.counters.add(NOW, ("k", "a"))
    await store.counters.clean(NOW + 61 * 60)
    assert await store.counters.total("k", "a", NOW, 60) == 1
    await store.counters.clean(NOW + 122 * 60)
    assert await store.counters.total("k", "a", NOW, 60) == 0


async def test_counters_take_up_to_a_bound(store: Store) -> None:
    async def take(*budgets: tuple[str, str, int]) -> bool:
        return await store.counters.take(NOW, 60, *budgets)

    assert [await take(("mail", "a", 5), ("one", "b", 3)) for _ in range(9)] == [True] * 3 + [False] * 6
    assert await store.counters.total("mail", "a", NOW, 60) == 3  # a refused one counts nowhere
    assert [await take(("mail", "a", 5)) for _ in range(4)] == [True, True, False, False]


async def test_hand_off_code_is_redeemed_once(store: Store) -> None:
    row = Handoff("d", "s", "a", "h", "m", "/", 60, NOW + 60)
    await store.sessions.hand_off(row)
    got = await asyncio.gather(*(store.sessions.redeem("d", NOW) for _ in range(20)))
    assert [found for found in got if found] == [row]
    await store.sessions.hand_off(row)
    assert await store.sessions.redeem("d", NOW + 60) is None


async def begin(store: Store, row: SessionRow, replaces: str | None = None) -> int | None:
    """Begin a session; groups are all that can change. Return the raised epoch."""
    changed = await store.sessions.begin(
        row,
        replaces=replaces,
        now=NOW + 1,
        differ=lambda old, new: old["groups"] != new["groups"],
        renew=lambda old, new: {**new, "amr": old.get("amr")},
        until=NOW + 1000,
    )
    return None if changed is None else changed.epoch


async def test_ending_a_session_ends_what_came_from_it(store: Store) -> None:
    await begin(store, session("s1"))
    await store.sessions.begin_application(
        ApplicationSessionRow("n1", "s1", "a", "u", NOW, NOW + 50, None)
    )
    await begin(store, session("s2"), "s1")
    first = await store.sessions.get("s1")
    assert first is not None and first.ended == NOW + 1 and first.facts == {"groups": ["ö"]}
    await store.sessions.end("s1", NOW + 2)
    application = await store.sessions.application("n1")
    assert application is not None and application.ended == NOW + 2
    assert [row.id for row in await store.sessions.of_account("u", NOW)] == ["s2"]
    await store.sessions.end_account("u", NOW)
    assert await store.sessions.of_account("u", NOW) == []


async def test_changed_facts_raise_the_epoch_once(store: Store) -> None:
    """K11: all rows swear the same afterwards, whoever comes first; the revocation is stored."""
    account = await store.accounts.signed_in("i", "s", "a@x.example", "", NOW)

    def row(id: str, *groups: str) -> SessionRow:
        return dataclasses.replace(session(id, account.id), facts={"groups": list(groups)})

    assert [await begin(store, row("s1", "a")), await begin(store, row("s2", "a"))] == [None, None]
    assert await begin(store, row("s3", "b")) == 1
    assert await begin(store, row("s4", "b")) is None
    assert await begin(store, session("s5", "another")) is None
    raised = await asyncio.gather(*(begin(store, row(f"p{n}", f"{n}")) for n in range(6)))
    assert sorted(epoch or 0 for epoch in raised) == [2, 3, 4, 5, 6, 7]
    rows = await store.sessions.of_account(account.id, NOW)
    assert len(rows) == 10 and len({str(one.facts["groups"]) for one in rows}) == 1
    _, revocations = await store.revocations.live(NOW)
    assert [(r.kind, r.id, r.epoch) for r in revocations] == [
        ("user", account.id, epoch) for epoch in range(1, 8)
    ]


async def test_epochs(store: Store) -> None:
    assert await store.sessions.application_epoch("a") == 0
    assert [await store.sessions.raise_application_epoch("a") for _ in range(2)] == [1, 2]
    account = await store.accounts.signed_in("i", "s", "a@x.example", "", NOW)
    assert [await store.accounts.raise_epoch(account.id) for _ in range(2)] == [1, 2]


async def test_revocations_keep_their_number(store: Store) -> None:
    """A sequence number is never given twice, whatever was cleaned."""
    for number in range(3):
        await store.revocations.add("user", f"u{number}", number, NOW + 10, NOW)
    await store.revocations.clean(NOW + 100)
    seq, rows = await store.revocations.live(NOW + 100)
    assert (seq, rows) == (3, [])
    assert (await store.revocations.add("user", "u", None, NOW + 500, NOW)).seq == 4


async def test_events_are_stored_once(store: Store) -> None:
    batch = [Event("1", NOW, "sign-in", who="ä"), Event("2", NOW, "x", detail=(("n", 1),))]
    await store.events.add(batch)
    await store.events.add(batch)
    found = await store.events.newest()
    assert [(e["id"], e["detail"]) for e in found] == [("2", {"n": 1}), ("1", {})]


async def test_names_are_taken_once(store: Store) -> None:
    await store.objects.add("tunnel", "1", "office", {"a": 1}, b"\x00secret", NOW)
    await store.objects.add("route", "2", "office", {}, None, NOW)
    with pytest.raises(NameTaken):
        await store.objects.add("tunnel", "3", "office", {}, None, NOW)
    assert await store.objects.put("1", {"a": 2}, NOW + 1)
    found = await store.objects.find("tunnel", "office")
    assert found is not None and (found.body, found.secret) == ({"a": 2}, b"\x00secret")
    assert await store.objects.remove("1") and not await store.objects.remove("1")


async def test_clean(store: Store) -> None:
    await store.flows.begin(flow(1))
    await store.pins.put("f", "d", 6, NOW, NOW + 600)
    await store.pins.know_device("dev", "addr", NOW + 700)
    await store.clean(NOW + 650)
    assert await store.pins.get("f") is None
    assert await store.pins.device_known("dev", "addr", NOW + 650)
    await store.clean(NOW + 700)
    assert not await store.pins.device_known("dev", "addr", NOW + 650)


async def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError):
        async with store._database.write() as connection:
            await connection.execute(text("INSERT INTO application_epochs VALUES ('a', 7)"))
            raise RuntimeError
    assert await store.sessions.application_epoch("a") == 0


async def test_our_own_mistakes_are_not_called_unavailable(store: Store) -> None:
    for wrong in ("SELECT * FROM nothing", "SELEC 1"):
        with pytest.raises(Exception) as caught:
            async with store._database.read() as connection:
                await connection.execute(text(wrong))
        assert not isinstance(caught.value, StoreUnavailable)


async def test_disk_full(tmp_path: Path) -> None:
    """SQLite without room: writing is unavailable, reading goes on, and nothing is half written."""
    store = await Store.open(f"sqlite:///{tmp_path}/state.db")
    async with store._database.read() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
    engine = store._database.engine

    from sqlalchemy import event

    @event.listens_for(engine.sync_engine, "begin")
    def no_room(connection: object) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")  # type: ignore[attr-defined]

    with pytest.raises(StoreUnavailable):
        for number in range(400):
            await store.events.add([Event(f"{number}", NOW, "x" * 40, detail=(("t", "x" * 900),))])
    assert await store.sessions.application_epoch("a") == 0
    await store.close()


async def test_locked_by_another_process(tmp_path: Path) -> None:
    import sqlite3

    store = await Store.open(f"sqlite:///{tmp_path}/state.db")
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.sessions.raise_application_epoch("a")
    other.execute("ROLLBACK")
    other.close()
    assert await store.sessions.raise_application_epoch("a") == 1
    await store.close()
