"""Section O: budgets of wrong codes. Guessers wait, and nobody locks the owner out; time moves by hand."""

import asyncio

from sqlalchemy import text

from edge.identity.providers import pin
from tests.control.conftest import Place
from tests.control.pin_page import ANN, ask, code, other, tried


async def test_o02_new_code_keeps_the_count(place: Place) -> None:
    """O02: asking anew after four failures, again and again, does not reset the count."""
    browser = place.browser()
    for _ in range(3):
        page, right = await code(place, browser)
        for _ in range(4):
            await tried(browser, page, other(right))
    assert place.pauses == [10.0]  # the twelfth was over the budget of ten
    elsewhere = place.browser(address="198.51.100.7")  # one network gets three mails an hour
    page, right = await code(place, elsewhere)
    assert await tried(elsewhere, page, right) == "in"
    assert place.pauses == [10.0, 10.0]


async def test_o03_hundred_failures_and_the_owner_still_gets_in(place: Place) -> None:
    """O03: over budget only unknown browsers wait; a known one does not; the text is the same."""
    owner = place.browser()
    await place.sign_in(owner)
    stranger = place.browser(address="198.51.100.7")
    page = await ask(place, stranger)
    flow = page.url.rsplit("/", 1)[1].partition("?")[0]
    for _ in range(25):
        for _ in range(4):
            await tried(stranger, page, "000000")
        # A fresh code for the flow without a mail: the bound on mails is another row's subject.
        await place.desk.store.pins.put(
            flow, "0" * 64, 8, int(place.clock()), int(place.clock()) + 600
        )
    assert len(place.pauses) >= 80 and set(place.pauses) == {10.0}
    place.pauses.clear()
    place.clock.advance(3700)  # the alarm over the installation ends; the account is signed out
    owner.jar["login.example.com"].pop("CF_Authorization")
    await place.desk.store.counters.add(
        place.clock(), *[("pin-failure-address", place.desk.pin._address(ANN))] * 30
    )
    page, right = await code(place, owner)
    assert await tried(owner, page, other(right)) == "wrong" and place.pauses == []
    newcomer = place.browser(address="203.0.113.9")
    page, right = await code(place, newcomer)
    assert await tried(newcomer, page, other(right)) == "wrong" and place.pauses == [10.0]


async def over_budget(place: Place, address: str = ANN) -> None:
    """Make tries for this address slow, without the alarm over the installation."""
    counter = ("pin-failure-address", place.desk.pin._address(address))
    await place.desk.store.counters.add(place.clock(), *[counter] * 30)


async def test_o03_a_dead_code_takes_no_place(place: Place) -> None:
    """O03: what can't come right any more is answered at once, over the budget as well."""
    browser = place.browser()
    page, right = await code(place, browser)
    for _ in range(5):
        await tried(browser, page, other(right))
    await over_budget(place)
    flow = page.url.rsplit("/", 1)[1]
    assert await tried(browser, page, right) == "dead" and place.pauses == []
    row = await place.desk.store.pins.get(flow)
    now = int(place.clock())
    assert row is not None
    for expires, used in ((now, None), (now + 600, now)):  # expired; used up
        await place.desk.store.pins.put(flow, row.digest, 6, now, expires)
        if used:
            await place.desk.store.pins.use(flow, row.digest, now)
        assert await tried(browser, page, right) == "dead" and place.pauses == []
    async with place.desk.store._database.write() as connection:
        await connection.execute(text("DELETE FROM pins"))
    assert await tried(browser, page, right) == "dead" and place.pauses == []


async def test_o03_one_network_cannot_fill_the_waiting_room(place: Place) -> None:
    """O03: strangers who wait in all their places keep nobody of another network out."""
    door, real = asyncio.Event(), place.desk.pin._waiting._pause
    network = "198.51.100.0/24"

    async def closed(seconds: float) -> None:
        await real(seconds)
        await door.wait()

    place.desk.pin._waiting._pause = closed
    await over_budget(place)
    crowd = []
    for number in range(pin.MAX_SLOW_NETWORK + 5):
        stranger = place.browser(address=f"198.51.100.{number}")
        page = await ask(place, stranger)
        crowd.append(asyncio.create_task(tried(stranger, page, "000000")))
    while sum(task.done() for task in crowd) < 5:
        await asyncio.sleep(0.01)
    assert [task.result() for task in crowd if task.done()] == ["busy"] * 5
    assert place.desk.pin._waiting._crowds == {network: pin.MAX_SLOW_NETWORK}
    place.clock.advance(1)
    await place.desk.store.counters.forget("pin-mail", place.desk.pin._address(ANN))
    person = place.browser(address="203.0.113.9")
    page, right = await code(place, person)
    entering = asyncio.create_task(tried(person, page, right))
    while len(place.pauses) < pin.MAX_SLOW_NETWORK + 1:
        await asyncio.sleep(0.01)
    door.set()
    assert await entering == "in"
    assert set(await asyncio.gather(*crowd)) == {"wrong", "busy"}


async def test_o03_pressing_twice_waits_once(place: Place) -> None:
    """O03: a flow has one place; the later try is the one that counts."""
    door = asyncio.Event()

    async def closed(seconds: float) -> None:
        place.pauses.append(seconds)
        await door.wait()

    place.desk.pin._waiting._pause = closed
    browser = place.browser()
    page, right = await code(place, browser)
    await over_budget(place)
    first = asyncio.create_task(tried(browser, page, other(right)))
    while not place.pauses:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(tried(browser, page, right))
    assert await first == "busy"
    door.set()
    assert await second == "in"
    assert place.desk.pin._waiting._crowds == {}


async def test_o11_spray(place: Place) -> None:
    """O11: above 40 failures an hour: alarm, eight digits, six-digit codes void for unknown
    browsers,
    ten seconds a try; a known browser's six-digit code still works."""
    known = place.browser()
    await place.sign_in(known)
    known.jar["login.example.com"].pop("CF_Authorization")
    known_page, known_code = await code(place, known)
    place.clock.advance(60)
    place.judge.listed["wiki.example.com"].add("bob@example.com")
    late = place.browser(address="203.0.113.5")
    late_page, late_code = await code(place, late, "bob@example.com")
    for number in range(41):
        attacker = place.browser(address=f"198.51.{number}.1")
        page = await ask(place, attacker, f"victim{number}@example.com")
        assert await tried(attacker, page, "123456") == "wrong"
    assert place.pauses == []
    await place.desk.audit.flush()
    assert [e["count"] for e in await place.desk.store.events.newest(kind="pin-alarm")] == [1]
    assert len(late_code) == 6
    assert await tried(late, late_page, late_code) == "longer" and place.pauses == [10.0]
    await place.mail_for("bob@example.com", 2)
    longer = place.inbox.code_for("bob@example.com")
    assert len(longer) == 8
    shown = await late.get(late_page.url + "?note=longer")
    assert "8 digits" in shown.text
    assert await tried(late, shown, longer) == "in" and place.pauses == [10.0, 10.0]
    assert await tried(known, known_page, known_code) == "in"
    assert place.pauses == [10.0, 10.0]
    place.clock.advance(3661)
    _, after = await code(place, place.browser())
    assert len(after) == 6


async def test_o11_addresses_that_a_stranger_types_fill_no_table(place: Place) -> None:
    """O11: what he typed is no key: a minute of one network is one row a reason."""
    for number in range(12):
        stranger = place.browser(address=f"198.51.100.{number}")
        page = await ask(place, stranger, f"victim{number}@example.com")
        assert await tried(stranger, page, "123456") == "wrong"
        await tried(stranger, page, "x")
    await place.desk.audit.flush(everything=True)
    found = await place.desk.store.events.newest()
    assert {(e["reason"], e["address"], e["count"]) for e in found} == {
        ("pin-not-listed", "198.51.100.0/24", 12),
        ("pin-wrong", "198.51.100.0/24", 12),
        ("pin-malformed", "198.51.100.0/24", 12),
    }
    assert {e["detail"]["typed"] for e in found} == {"victim0@example.com"}


async def test_the_alarm_ends_when_nobody_tries(place: Place) -> None:
    """What the monitor shows is no older than the last cleaning."""
    await place.desk.store.counters.add(place.clock(), *[("pin-failure", "*")] * 41)
    assert await place.desk.pin.alarm() and place.desk.pin.alarmed
    place.clock.advance(3661)
    await place.desk._clean()
    assert not place.desk.pin.alarmed
