"""Section O: attacks on the one-time PIN, over HTTP, with real mail; time moves by hand."""

import asyncio
import re
import statistics
import time
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import text

from edge.identity.providers import pin
from tests.control.conftest import Place
from tests.kit.sign_in import Browser, Page, code_in
from tests.kit.soak import scaled, soak

WIKI = "https://wiki.example.com/"
ANN = "ann@example.com"


async def ask(place: Place, browser: Browser, address: str = ANN, url: str = WIKI) -> Page:
    """Ask for a code and return the page where it is typed."""
    page = await browser.open_application(url)
    page = await browser.submit(page, "email", email=address)
    assert "/cdn-cgi/access/pin/" in page.url
    return page


async def code(
    place: Place, browser: Browser, address: str = ANN, url: str = WIKI
) -> tuple[Page, str]:
    before = len(place.inbox.for_(address))
    page = await ask(place, browser, address, url)
    await place.mail_for(address, before + 1)
    return page, place.inbox.code_for(address)


def other(right: str) -> str:
    """Return a wrong code of the same length."""
    return f"{(int(right) + 1) % 10 ** len(right):0{len(right)}d}"


async def tried(browser: Browser, page: Page, typed: str) -> str:
    """Type a code; return "in", or what the code page says."""
    answer = await browser.submit(page, "code", code=typed, follow=False)
    if "authorized" in answer.location:
        return "in"
    found = re.search(r"note=(\w+)", answer.location)
    return found[1] if found else f"status {answer.status}"


async def test_o01_sixth_try(place: Place) -> None:
    """O01: after five wrong tries the code is dead, even the right one."""
    browser = place.browser()
    page, right = await code(place, browser)
    assert [await tried(browser, page, other(right)) for _ in range(5)] == ["wrong"] * 4 + ["dead"]
    assert await tried(browser, page, right) == "dead"


async def test_o02_new_code_keeps_the_count(place: Place) -> None:
    """O02: asking anew after four failures, again and again, does not reset the count."""
    browser = place.browser()
    for _ in range(3):
        page, right = await code(place, browser)
        for _ in range(4):
            await tried(browser, page, other(right))
    assert place.pauses == [10.0]  # the twelfth was over the budget of ten
    page, right = await code(place, browser)
    assert await tried(browser, page, right) == "in"
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


async def test_o08_listed_and_unlisted_look_the_same(place: Place) -> None:
    """O08: same status, same page, same time, and no mail for who isn't listed."""
    spent: dict[str, list[float]] = {ANN: [], "eve@example.com": []}
    pages: dict[str, set[str]] = {ANN: set(), "eve@example.com": set()}
    addresses = list(spent)
    for turn in range(31):
        # The order changes: whoever comes first after the clock moved does a little more.
        for address in addresses if turn % 2 else reversed(addresses):
            browser = place.browser(address=f"192.0.2.{turn}")
            page = await browser.open_application(WIKI)
            began = time.process_time()  # other processes' turns on the processor don't count
            answer = await browser.submit(page, "email", email=address, follow=False)
            spent[address].append(time.process_time() - began)
            assert answer.status == 303
            if address == ANN:
                await place.mail_for(ANN, turn + 1)
            shown = await browser.get("https://login.example.com" + answer.location)
            text_only = shown.text.replace(address, "ADDRESS")
            pages[address].add(re.sub(r'value="[0-9a-f]{64}"|meta=[\w-]+', "", text_only))
        place.clock.advance(3601)
    assert pages[ANN] == pages["eve@example.com"] and len(pages[ANN]) == 1
    apart = [a - b for a, b in zip(*spent.values(), strict=True)]
    assert abs(statistics.median(apart)) <= 0.005
    await asyncio.sleep(0.05)
    assert place.inbox.for_("eve@example.com") == []


@pytest.mark.parametrize(
    "typed",
    [
        "a@b,c@d",
        "ann@example.com,eve@example.com",
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com\nSubject: x",
        '"ann@example.com"@evil.com',
        "ann@examp\u0142e.com",
        "ann@example.com\x00",
        "ann",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "",
        "ann @example.com",
        "a" * 70 + "@example.com",
        "ann@-example.com",
        "ann@example",
    ],
)
async def test_o09_what_is_not_one_address(place: Place, typed: str) -> None:
    """O09: lists, line breaks, quoted and foreign letters are refused, and nothing is mailed."""
    browser = place.browser()
    page = await browser.open_application(WIKI)
    answer = await browser.submit(page, "email", email=typed)
    assert answer.status == 200 and 'role="alert"' in answer.text
    await asyncio.sleep(0)
    assert place.inbox.letters == []


async def test_o09_canonical_form_counts(place: Place) -> None:
    """O09: Ann@Example.com, blanks around and +tags are one mailbox for the bounds."""
    place.judge.listed["wiki.example.com"] |= {f"ann+{n}@example.com" for n in range(9)}
    for typed in ("Ann@Example.COM", " ann@example.com\t", "ann+1@example.com", "ANN@example.com"):
        await ask(place, place.browser(), typed)
    for n in range(2, 9):
        await ask(place, place.browser(), f"ann+{n}@example.com")
    await asyncio.sleep(0.2)
    assert len(place.inbox.letters) == 4


async def test_o10_mail_bombing(place: Place) -> None:
    """O10: however often a mailbox is asked for, it gets at most five mails an hour; others get
    theirs."""
    place.judge.listed["wiki.example.com"].add("bob@example.com")
    browser = place.browser()
    page = await browser.open_application(WIKI)
    for _ in range(60):
        await browser.submit(page, "email", email=ANN, follow=False)
    await ask(place, place.browser(), "bob@example.com")
    await place.mail_for("bob@example.com")
    await asyncio.sleep(0.1)
    assert len(place.inbox.for_(ANN)) == 4
    place.clock.advance(3661)
    await ask(place, place.browser())
    await place.mail_for(ANN, 5)


async def test_o10_the_last_mail_is_for_known_browsers(place: Place) -> None:
    """A stranger who uses up the mails can't keep the owner's own browser from getting one."""
    owner = place.browser()
    await place.sign_in(owner)
    owner.jar["login.example.com"].pop("CF_Authorization")
    for _ in range(20):
        await ask(place, place.browser(address="198.51.100.7"))
    page, right = await code(place, owner)
    assert len(place.inbox.for_(ANN)) == 5
    assert await tried(owner, page, right) == "in"


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


async def test_o13_o15_nothing_tells_the_code(place: Place, tmp_path: Any, caplog: Any) -> None:
    """O13 O15: no code in the database, its log, our log, a subject, a URL, a cookie or an audit
    row."""
    caplog.set_level("DEBUG")
    browser = place.browser()
    page, right = await code(place, browser)
    seen = [page.url, page.text, *(f"{n}{v}" for n, v in page.headers.items())]
    answer = await browser.submit(page, "code", code=right, follow=False)
    seen += [answer.location, answer.text, *browser.set_cookies]
    await place.desk.audit.flush(everything=True)
    seen.append(str(await place.desk.store.events.newest()))
    letter = place.inbox.for_(ANN)[-1]
    seen += [str(value) for name, value in letter.items()]
    seen += [
        record.getMessage() for record in caplog.records if record.name != "mail.log"
    ]  # the test's SMTP server
    for where in seen:
        assert right not in where
    dump = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert right.encode() not in re.sub(rb"[0-9a-f]{20,}|\d{10}", b"", dump)
    place.clock.advance(601)
    await place.desk.store.clean(int(place.clock()))
    async with place.desk.store._database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM pins"))).scalar() == 0


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


def _link(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    found = re.search(r"https://\S+", body.get_content())
    assert found is not None
    return found[0]


async def test_o16_mail_scanner(place: Place) -> None:
    """O16: whoever follows the link, however often, uses nothing up; the asking browser reopens
    its page."""
    browser = place.browser()
    page, right = await code(place, browser)
    link = _link(place.inbox.for_(ANN)[-1])
    assert link == page.url
    for scanner in (place.browser(language="ja"), place.browser()):
        for method in ("GET", "HEAD", "GET"):
            assert (await scanner.send(method, link)).status == 400
    elsewhere = await place.browser().get(link)
    assert "in the browser where you began" in elsewhere.text
    again = await browser.get(link)
    assert again.status == 200
    assert await tried(browser, again, right) == "in"


async def test_letter_in_the_readers_language(place: Place) -> None:
    """Text and HTML, English or Japanese as the browser asked."""
    browser = place.browser(language="ja,en;q=0.5")
    page, right = await code(place, browser)
    letter = place.inbox.for_(ANN)[-1]
    assert letter["Subject"] == "Wiki のサインインコード"
    html = letter.get_body(("html",))
    assert html is not None and right in html.get_content() and 'lang="ja"' in html.get_content()
    assert code_in(letter) == right
    assert "コードを入力してください" in page.text


async def test_the_alarm_ends_when_nobody_tries(place: Place) -> None:
    """What the monitor shows is no older than the last cleaning."""
    await place.desk.store.counters.add(place.clock(), *[("pin-failure", "*")] * 41)
    assert await place.desk.pin.alarm() and place.desk.pin.alarmed
    place.clock.advance(3661)
    await place.desk._clean()
    assert not place.desk.pin.alarmed
