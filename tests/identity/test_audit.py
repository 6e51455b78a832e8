"""The audit trail: refusals added up, nothing dropped without a count, no disk filled by a
stranger."""

from sqlalchemy import text

from edge.identity import audit as module
from edge.identity.audit import Audit
from edge.identity.clock import SteadyClock
from edge.store import Store
from tests.kit.sign_in import ManualClock


async def test_refusals_are_added_up(store: Store, clock: ManualClock) -> None:
    audit = Audit(store, clock)
    for _ in range(1000):
        audit.refused(who="eve@example.com", address="192.0.2.1", aud="a", reason="policy-no-match")
    audit.refused(who="", address="192.0.2.9", aud="a", reason="login-needed", count=7)
    await audit.flush()
    assert await store.events.newest() == []  # the minute isn't over
    clock.advance(60)
    await audit.flush()
    found = await store.events.newest()
    assert {(e["who"], e["reason"], e["count"]) for e in found} == {
        ("eve@example.com", "policy-no-match", 1000),
        ("192.0.2.9", "login-needed", 7),
    }


async def test_ten_thousand_keys_a_minute(store: Store, clock: ManualClock) -> None:
    """The rest is counted in one event: rows are bounded, the sum is exact."""
    audit = Audit(store, clock)
    for number in range(module.MAX_KEYS + 500):
        audit.refused(who=f"user{number}@example.com", address="", aud="a", reason="r")
    await audit.flush(everything=True)
    async with store._database.read() as connection:
        rows, total = (
            await connection.execute(text("SELECT count(*), sum(count) FROM events"))
        ).one()
    assert (rows, total) == (module.MAX_KEYS + 1, module.MAX_KEYS + 500)


async def test_what_strangers_type_makes_no_rows(store: Store, clock: ManualClock) -> None:
    """However many names one client network tries, a minute of it is one row with one example."""
    audit = Audit(store, clock)
    for number in range(300):
        audit.stranger(
            "refused", network="192.0.2.0/24", aud="a", reason="r", typed=f"user{number}@x.com"
        )
    audit.stranger("sign-in-failed", network="192.0.2.0/24", aud="a", reason="r", why="closed")
    await audit.flush(everything=True)
    found = {e["kind"]: e for e in await store.events.newest()}
    assert found["refused"]["count"] == 300
    assert found["refused"]["detail"] == {"typed": "user0@x.com"}
    assert found["refused"]["address"] == "192.0.2.0/24"
    assert found["sign-in-failed"]["count"] == 1
    assert found["sign-in-failed"]["detail"] == {"why": "closed"}


async def test_visits_are_added_up(store: Store, clock: ManualClock) -> None:
    """Whoever is signed in and comes back without end makes one row a minute and network."""
    audit = Audit(store, clock)
    for _ in range(300):
        audit.entered(who="ann@x.com", aud="a", address="192.0.2.1", network="192.0.2.0/24")
    audit.entered(who="ann@x.com", aud="a", address="198.51.100.7", network="198.51.100.0/24")
    audit.refused(who="ann@x.com", address="", aud="a", reason="r")
    await audit.flush()
    assert await store.events.newest() == []
    clock.advance(60)
    await audit.flush()
    found = {(e["kind"], e["address"], e["count"], e["reason"]) for e in await store.events.newest()}
    assert found == {
        ("application-session", "192.0.2.1", 300, ""),
        ("application-session", "198.51.100.7", 1, ""),
        ("refused", "", 1, "r"),
    }


async def test_events_wait_for_the_database(
    store: Store, clock: ManualClock, tmp_path: object
) -> None:
    """Faults: what the database can't take now is written when it is back, once."""
    import sqlite3

    audit = Audit(store, clock)
    audit.record("sign-in", who="ann@example.com", provider="pin")
    other = sqlite3.connect(f"{tmp_path}/state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await audit.flush()
    other.execute("ROLLBACK")
    other.close()
    await audit.flush()
    await audit.flush()
    found = await store.events.newest()
    assert [(e["kind"], e["who"], e["detail"]) for e in found] == [
        ("sign-in", "ann@example.com", {"provider": "pin"})
    ]


async def test_overflow_is_counted(store: Store, clock: ManualClock, monkeypatch: object) -> None:
    audit = Audit(store, clock)
    module_limit, module.MAX_WAITING = module.MAX_WAITING, 3
    try:
        for _ in range(5):
            audit.record("x")
        await audit.flush()
        await audit.flush()
    finally:
        module.MAX_WAITING = module_limit
    found = await store.events.newest()
    assert [e["kind"] for e in found] == ["audit-overflow", "x", "x", "x"]
    assert found[0]["detail"] == {"count": 2}


def test_steady_clock_never_goes_back() -> None:
    """K14 O04: an hour back on the wall is no time back; an hour forward is followed."""
    wall, monotonic = ManualClock(1000.0), ManualClock(50.0)
    steady = SteadyClock(wall, monotonic)
    assert steady() == 1000.0
    wall.advance(-3600)
    monotonic.advance(10)
    assert steady() == 1010.0
    wall.now = 5000.0
    assert steady() == 5000.0
    monotonic.advance(5)
    wall.advance(-4000)
    assert steady() == 5005.0
