"""Section O: who gets a letter, how many, and what it and the page give away."""

import asyncio
import re
import statistics
import time
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import text

from edge.identity.providers.pin import MAILS, MAILS_NETWORK
from tests.control.conftest import Place
from tests.control.pin_page import ANN, WIKI, ask, code, tried
from tests.kit.sign_in import code_in


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
    assert len(place.inbox.letters) == MAILS_NETWORK


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
    assert len(place.inbox.for_(ANN)) == MAILS_NETWORK
    place.clock.advance(3661)
    await ask(place, place.browser())
    await place.mail_for(ANN, MAILS_NETWORK + 1)


async def test_o10_one_network_does_not_use_up_a_mailbox(place: Place) -> None:
    """O10: whoever asks again and again from one network leaves the person a mail for a new browser
    elsewhere; who has several networks takes all but the last, and more than five nobody causes."""
    for number in range(20):  # a /64 is one network
        await ask(place, place.browser(address=f"2001:db8::{number + 1}"))
    browser = place.browser(address="198.51.100.7")
    page, right = await code(place, browser)
    assert len(place.inbox.for_(ANN)) == MAILS_NETWORK + 1 == MAILS - 1
    assert await tried(browser, page, right) == "in"
    for number in range(20):
        await ask(place, place.browser(address=f"203.0.113.{number + 1}"))
    await asyncio.sleep(0.1)
    assert len(place.inbox.for_(ANN)) == MAILS - 1


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
