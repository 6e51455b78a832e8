"""Section O: what a one-time PIN opens, for how long, and in which browser; over HTTP, with real mail."""

import asyncio

import pytest
from sqlalchemy import text

from edge.identity.providers import pin
from tests.control.conftest import Place
from tests.control.pin_page import ANN, ask, code, other, tried
from tests.kit.soak import scaled, soak


async def test_o01_sixth_try(place: Place) -> None:
    """O01: after five wrong tries the code is dead, even the right one."""
    browser = place.browser()
    page, right = await code(place, browser)
    assert [await tried(browser, page, other(right)) for _ in range(5)] == ["wrong"] * 4 + ["dead"]
    assert await tried(browser, page, right) == "dead"


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(599, "in"), (600, "status 400"), (601, "status 400")]
)
async def test_o04_ten_minutes(place: Place, seconds: int, outcome: str) -> None:
    """O04: the right code is good for ten minutes."""
    browser = place.browser()
    page, right = await code(place, browser)
    place.clock.advance(seconds)
    assert await tried(browser, page, right) == outcome


async def test_o04_code_of_a_flow_that_lives(place: Place) -> None:
    """O04: the code's own ten minutes count too, not only the flow's."""
    browser = place.browser()
    page, right = await code(place, browser)
    async with place.desk.store._database.write() as connection:
        await connection.execute(text("UPDATE flows SET expires = expires + 10000"))
    place.clock.advance(601)
    assert await tried(browser, page, right) == "dead"


async def test_o05_thousand_parallel_submits(place: Place) -> None:
    """O05: the right code, 1,000 times at once, makes exactly one session."""
    browser = place.browser()
    page, right = await code(place, browser)
    flow = page.url.rsplit("/", 1)[1].partition("?")[0]
    row = await place.desk.store.flows.get(flow, int(place.clock()))
    assert row is not None

    turns = asyncio.Semaphore(50)

    async def submit() -> bool:
        async with turns:
            return await _submit()

    async def _submit() -> bool:
        outcome = await place.desk.pin.verify(row, ANN, right, known=False)
        return outcome == pin.RIGHT and await place.desk.store.flows.take(flow, int(place.clock()))

    wins = await asyncio.gather(*(submit() for _ in range(1000)))
    assert sum(wins) == 1


async def test_o05_parallel_over_http(place: Place) -> None:
    """O05: the same through the whole application; one answer leads on."""
    browser = place.browser()
    page, right = await code(place, browser)
    outcomes = await asyncio.gather(*(tried(browser, page, right) for _ in range(30)))
    assert outcomes.count("in") == 1
    async with place.desk.store._database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM sessions"))).scalar() == 1


async def test_o06_code_of_another_browser(place: Place) -> None:
    """O06: a code typed in another browser is refused, and is not used up by it."""
    browser, thief = place.browser(), place.browser()
    page, right = await code(place, browser)
    stolen = await ask(place, thief)
    assert await tried(thief, stolen, right) == "wrong"  # in the thief's own flow
    form = page.form("code")
    answer = await thief.send(
        "POST", page.url, data={**stolen.form("code")["fields"], "code": right}
    )
    assert answer.status == 400 and form["fields"]["token"] not in answer.text
    assert await tried(browser, page, right) == "in"


async def test_o07_code_of_another_application(place: Place) -> None:
    """O07: the code that was mailed for one application is wrong in another's sign-in."""
    browser = place.browser()
    _, wiki_code = await code(place, browser)
    page, grafana_code = await code(place, browser, url="https://grafana.example.com/")
    if wiki_code != grafana_code:
        assert await tried(browser, page, wiki_code) == "wrong"
    assert await tried(browser, page, grafana_code) == "in"


@pytest.mark.parametrize(
    "typed",
    [
        "000000 ".replace(" ", "x"),
        "12345",
        "1234567",
        "\u0661\u0662\u0663\u0664\u0665\u0666",
        "12 3456",
        "      ",
        "-12345",
        "+12345",
        "1e5000",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
        "0x1234",
        "123456\x00",
    ],
)
async def test_o12_only_digits(place: Place, typed: str) -> None:
    """O12: anything but six or eight ASCII digits is no try at all."""
    browser = place.browser()
    page, right = await code(place, browser)
    assert await tried(browser, page, typed) == "malformed"
    assert await tried(browser, page, f" {right}\n") == "in"


async def test_o12_a_megabyte(place: Place) -> None:
    """O12: a code of 1 MiB is refused before it is looked at."""
    browser = place.browser()
    page, right = await code(place, browser)
    answer = await browser.submit(page, "code", code="1" * (1 << 20), follow=False)
    assert answer.status == 413
    assert await tried(browser, page, right) == "in"


async def test_o12_leading_zeros(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """O12: a code with leading zeros is text, not a number."""
    monkeypatch.setattr(pin, "new_code", lambda digits: "0" * (digits - 2) + "42")
    browser = place.browser()
    page, right = await code(place, browser)
    assert right == "000042"
    assert await tried(browser, page, "42") == "malformed"
    assert await tried(browser, page, "000042") == "in"


@soak
def test_o14_uniform() -> None:
    """O14: every digit at every place, as often as chance has it."""
    count = scaled(1_000_000)
    places = [[0] * 10 for _ in range(6)]
    for _ in range(count):
        made = pin.new_code(6)
        assert len(made) == 6
        for place_, digit in enumerate(made):
            places[place_][int(digit)] += 1
    for counts in places:
        expected = count / 10
        chi = sum((n - expected) ** 2 / expected for n in counts)
        assert chi < 45.1  # 9 degrees of freedom, p = 10⁻⁶: six places fail once in 10⁵ runs
