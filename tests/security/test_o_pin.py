"""Section O through a real edge, with real mail: what a guesser, a bomber or a mail scanner gets, and that the origin
sees nothing of it. (Time by hand, a thousand parallel tries, the database's dump: tests/control/test_pin.py.)

The tests share one edge and so its counters of failures and of mails. Each uses an address of its own; the spray
comes last, because its alarm lasts an hour."""

import asyncio
import itertools
import re
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge.demo.visitor import Reply, Visitor
from tests.kit.edge_process import wait_until
from tests.security.checkpoint import Checkpoint, standing
from tests.security.rows import request

DESK, OTHER = "desk.sekisho.localhost", "other.sekisho.localhost"
LOGIN = "login.sekisho.localhost"


class Behind(Visitor):
    """A browser whose address the load balancer tells: every one of them is in a network of its own."""

    made = itertools.count(1)

    def __init__(self, port: int) -> None:
        super().__init__(port)
        number = next(self.made)
        self.address = f"10.{number // 250}.{number % 250}.7"

    def open(self, method: str, url: str, **more: Any) -> Any:
        headers = {"X-Forwarded-For": self.address, **(more.pop("headers", None) or {})}
        return super().open(method, url, headers=headers, **more)


class Desk(Checkpoint):
    """Two applications for whoever has an address at example.com, and a load balancer in front."""

    settings = "timeouts: {body_idle: 2s}\ntrusted_proxies: [127.0.0.1/32]"
    applications = "\n".join(
        f"  - {{name: {host.partition('.')[0]}, domain: {host}, policies: "
        "[{name: Staff, decision: allow, include: [{email_domain: example.com}]}]}" for host in (DESK, OTHER))

    def browser(self) -> Visitor:
        return Behind(self.plain_port)


@pytest.fixture(scope="module")
def _desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    yield from standing(Desk, tmp_path_factory)


@pytest.fixture
def desk(_desk: Desk) -> Desk:
    _desk.clear()
    return _desk


def ask(desk: Desk, browser: Visitor, address: str, host: str = DESK) -> Reply:
    """Ask for a code; return the page that it is typed on (or the sign-in page again)."""

    async def walk() -> Reply:
        page = await browser.get(desk.url(host), follow=True)
        return await browser.submit(page, page.form("email"), email=address)

    return asyncio.run(walk())


def typed(browser: Visitor, page: Reply, code: str) -> str:
    """Type a code; return "in", or what the code page says of it."""
    reply = asyncio.run(browser.submit(page, page.form("code"), code=code))
    if reply.status != 200:
        return f"status {reply.status}"
    found = re.search(r"/pin/.*note=(\w+)", reply.url)
    return found[1] if found else "in"


def mailed(desk: Desk, address: str, host: str = DESK) -> tuple[Visitor, Reply, str]:
    browser = desk.browser()
    page = ask(desk, browser, address, host)
    return browser, page, desk.mail.code(address)


def wrong(right: str) -> str:
    return f"{(int(right) + 1) % 10 ** len(right):0{len(right)}d}"


def nobody_came_in(desk: Desk, browser: Visitor, host: str = DESK) -> None:
    assert "CF_Authorization" not in browser.jar.get(host, {}) | browser.jar.get(LOGIN, {})
    assert not desk.origin.requests


def test_the_right_code_is_let_in(desk: Desk) -> None:
    """Else every refusal below could be for another reason."""
    browser, page, code = mailed(desk, "right@example.com")
    assert typed(browser, page, code) == "in"
    assert desk.origin.wait(1)[0].get("cf-access-authenticated-user-email") == "right@example.com"


def test_o01_the_sixth_try(desk: Desk) -> None:
    """O01: after five wrong tries the code is dead, even the right one."""
    browser, page, code = mailed(desk, "sixth@example.com")
    assert [typed(browser, page, wrong(code)) for _ in range(5)] == ["wrong"] * 4 + ["dead"]
    assert typed(browser, page, code) == "dead"
    nobody_came_in(desk, browser)


def test_o02_o03_over_budget_a_try_waits_and_a_known_browser_does_not(desk: Desk) -> None:
    """O02 O03: a new code doesn't reset the count: the twelfth failure waits 10 s; the owner's browser, in which that
    address once signed in, does not wait."""
    owner, page, code = mailed(desk, "owner@example.com")
    assert typed(owner, page, code) == "in"
    owner.jar[LOGIN].pop("CF_Authorization")
    owner.jar[DESK].pop("CF_Authorization")
    desk.clear()
    for number in range(3):
        stranger, page, code = mailed(desk, "owner@example.com")
        assert [typed(stranger, page, wrong(code)) for _ in range(3)] == ["wrong"] * 3
        time.sleep(1.1 * (number == 2))       # a count is good for a second
        began = time.monotonic()
        assert typed(stranger, page, wrong(code)) == "wrong"
        assert (time.monotonic() - began > 9.5) is (number == 2), "the twelfth is over the budget of ten"
    nobody_came_in(desk, stranger)
    page = ask(desk, owner, "owner@example.com")
    code, began = desk.mail.code("owner@example.com"), time.monotonic()
    assert typed(owner, page, code) == "in"
    assert time.monotonic() - began < 5
    assert len(desk.origin.wait(1)) == 1


def test_o05_one_code_is_one_session(desk: Desk) -> None:
    """O05: the right code ten times at once, and once more: exactly one goes on, the origin is asked once."""
    browser, page, code = mailed(desk, "twice@example.com")
    form = page.form("code")

    def copy() -> Visitor:
        one = desk.browser()
        one.jar = {host: dict(jar) for host, jar in browser.jar.items()}
        return one

    copies = [copy() for _ in range(10)]

    async def race() -> list[Reply]:
        return await asyncio.gather(*(one.submit(page, form, code=code) for one in copies))

    replies = asyncio.run(race())
    assert sum("CF_Authorization" in one.jar.get(LOGIN, {}) for one in copies) == 1
    assert [reply.status for reply in replies if reply.url == desk.url(DESK)] == [200]
    assert len(desk.origin.requests) == 1
    desk.clear()
    late = copy()
    assert typed(late, page, code) == "status 400"
    nobody_came_in(desk, late)


def test_o06_a_code_of_another_browser(desk: Desk) -> None:
    """O06: refused in another browser's flow, and at the asker's own flow from another browser; not used up by it."""
    browser, page, code = mailed(desk, "mine@example.com")
    thief, stolen, other = mailed(desk, "thief@example.com")
    if code != other:
        assert typed(thief, stolen, code) == "wrong"
    form = stolen.form("code")
    form.action = page.url
    assert asyncio.run(thief.submit(stolen, form, code=code)).status == 400
    nobody_came_in(desk, thief)
    assert typed(browser, page, code) == "in"


def test_o07_a_code_of_another_application(desk: Desk) -> None:
    """O07: the code that was mailed for one application is wrong in another's sign-in of the same browser."""
    browser, _, code = mailed(desk, "two@example.com")
    page = ask(desk, browser, "two@example.com", OTHER)
    if (other := desk.mail.code("two@example.com")) != code:
        assert typed(browser, page, code) == "wrong"
        nobody_came_in(desk, browser, OTHER)
    assert typed(browser, page, other) == "in"


def test_o08_who_is_not_listed_sees_the_same(desk: Desk) -> None:
    """O08: same page, same status, no mail, and the same time (here within noise; to 5 ms in tests/control)."""
    spent: dict[str, list[float]] = {"listed": [], "eve": []}
    pages = set()
    for turn in range(8):
        for name, address in (("listed", f"listed{turn}@example.com"), ("eve", f"eve{turn}@elsewhere.example")):
            browser, began = desk.browser(), time.monotonic()
            page = ask(desk, browser, address)
            spent[name].append(time.monotonic() - began)
            text = page.text.replace(address, "ADDRESS")
            pages.add((page.status, re.sub(r'value="[0-9a-f]{64}"|meta=[\w-]+|[0-9a-f]{16}', "", text)))
        assert desk.mail.code(f"listed{turn}@example.com")
    assert len(pages) == 1
    assert abs(statistics.median(spent["listed"]) - statistics.median(spent["eve"])) < 0.1
    assert not [letter for n in range(8) for letter in desk.mail.letters(f"eve{n}@elsewhere.example")]
    assert not desk.origin.requests


@pytest.mark.parametrize("address", [
    "a@b,c@d", "x@example.com,eve@example.com", "x@example.com\r\nBcc: eve@example.com", "x@example.com\nSubject: x",
    '"x@example.com"@evil.com', "x@exampłe.com", "x@example.com\0", "x", "@example.com", "x@", "x@@example.com", "",
    "x @example.com",
])
def test_o09_what_is_not_one_address(desk: Desk, address: str) -> None:
    """O09: lists, line ends, quoted and foreign letters are refused; nothing is mailed to anybody."""
    before = len(desk.mail.letters("eve@example.com"))
    page = ask(desk, desk.browser(), address)
    assert page.status == 200 and 'role="alert"' in page.text and "/pin/" not in page.url
    assert len(desk.mail.letters("eve@example.com")) == before == 0
    assert not desk.origin.requests


def test_o09_o10_one_mailbox_gets_five_mails_an_hour(desk: Desk) -> None:
    """O09 O10: however it is spelled and however often it is asked for; four, and the fifth is for a known browser.
    The next person gets theirs."""
    for number in range(5):
        for address in ("Bomb@Example.COM", " bomb@example.com", f"bomb+{number}@example.com"):
            assert "/pin/" in ask(desk, desk.browser(), address).url
    names = ("bomb@example.com", *(f"bomb+{number}@example.com" for number in range(5)))

    def sent() -> int:
        return sum(len(desk.mail.letters(name)) for name in names)

    wait_until(lambda: sent() >= 4, 5)
    browser, page, code = mailed(desk, "bystander@example.com")
    assert sent() == 4
    assert typed(browser, page, code) == "in"


@pytest.mark.parametrize("code", [
    "12345", "1234567", "١٢٣٤٥٦", "12 3456", "      ", "-12345", "1e5000", "１２３４５６", "123456\0", "",
])
def test_o12_only_digits_are_a_try(desk: Desk, code: str) -> None:
    """O12: anything but ASCII digits of the right number."""
    browser = desk.browser()
    page = ask(desk, browser, "nobody@elsewhere.example")
    assert typed(browser, page, code) == "malformed"
    nobody_came_in(desk, browser)


def test_o12_a_megabyte(desk: Desk) -> None:
    """O12: a code of 1 MiB is refused before it is looked at, and the code stands."""
    browser, page, code = mailed(desk, "large@example.com")
    assert typed(browser, page, "1" * (1 << 20)) == "status 413"
    assert typed(browser, page, code) == "in"


def test_o15_o16_the_mail_s_link_uses_nothing_up(desk: Desk) -> None:
    """O15 O16: it holds no code, a scanner that follows it changes nothing and is shown nothing, and the browser that
    asked reopens its page by it."""
    browser = desk.browser()
    ask(desk, browser, "scanned@example.com")
    letter = desk.mail.letter("scanned@example.com")
    link = re.search(r"http\S+/cdn-cgi/access/pin/\S+", letter["text"])
    code = re.search(r"(?<!\d)\d{6}(?!\d)", letter["text"])
    assert link and code
    assert code[0] not in link[0] and code[0] not in letter.get("subject", "")
    for method in ("GET", "HEAD", "GET"):
        with desk.client() as c:
            answer = c.send(request("Accept: text/html", first=f"{method} {link[0].partition(str(desk.plain_port))[2]} HTTP/1.1",
                                    host=f"{LOGIN}:{desk.plain_port}")).answer(method)
        assert answer.status == 400 and code[0].encode() not in answer.body
    again = asyncio.run(browser.get(link[0]))
    assert again.status == 200 and typed(browser, again, code[0]) == "in"
    assert len(desk.origin.wait(1)) == 1


def test_o11_a_spray_raises_the_alarm_and_locks_nobody_out(desk: Desk) -> None:
    """O11: above 40 failures in the hour: six-digit codes that are out are void for unknown browsers, who are sent one
    of eight digits, after 10 s; the known browser's code holds, at once."""
    known, page, code = mailed(desk, "known@example.com")
    assert typed(known, page, code) == "in"
    known.jar[LOGIN].pop("CF_Authorization")
    known.jar[DESK].pop("CF_Authorization")
    known_page = ask(desk, known, "known@example.com")
    known_code = desk.mail.code("known@example.com")
    late, late_page, late_code = mailed(desk, "late@example.com")
    assert len(known_code) == len(late_code) == 6
    desk.clear()
    for number in range(41):
        attacker = desk.browser()
        page = ask(desk, attacker, f"victim{number}@elsewhere.example")
        assert typed(attacker, page, "123456") == "wrong"
        nobody_came_in(desk, attacker)
        if desk.edge.status()["pin_alarm"]:
            break
    else:
        raise AssertionError("no alarm")
    began = time.monotonic()
    assert typed(late, late_page, late_code) == "longer" and time.monotonic() - began > 9.5
    longer = desk.mail.code("late@example.com")
    assert len(longer) == 8
    nobody_came_in(desk, late)
    began = time.monotonic()
    assert typed(known, known_page, known_code) == "in" and time.monotonic() - began < 5
    assert desk.origin.wait(1)[0].get("cf-access-authenticated-user-email") == "known@example.com"
