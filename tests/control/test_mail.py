"""Mail over real SMTP servers: plain on loopback, STARTTLS, TLS; retries, and an end to them."""

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from edge.identity import mail as module
from edge.identity.audit import Audit
from edge.identity.mail import Letter, Post, compose
from edge.identity.world import Mail
from edge.store import Store
from tests.kit.certificates import Authority
from tests.kit.sign_in import ManualClock

LETTER = Letter("ann@example.com", "Your sign-in code", "\n    123456\n", "<p>123456</p>", "en")


class Server:
    """An SMTP server that refuses as often as it is told; notes whether STARTTLS came first."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.answers: list[str] = []
        self.recipients: dict[str, str] = {}  # address -> what RCPT TO is answered with
        self.port = 0

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        answer = self.recipients.get(address, "250 ok")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append((session.ssl is not None, envelope))
        return self.answers.pop(0) if self.answers else "250 kept"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/state.db")
    yield opened
    await opened.close()


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    authority = Authority("Test CA")
    leaf = authority.leaf("localhost")
    anchor, chain = tmp_path / "ca.pem", tmp_path / "leaf.pem"
    anchor.write_bytes(authority.pem)
    chain.write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return anchor, context


async def serve(
    server: Server, *, tls: ssl.SSLContext | None = None, implicit: bool = False
) -> Any:
    loop = asyncio.get_running_loop()
    starttls = None if implicit else tls

    def make() -> SMTP:
        return SMTP(server, loop=loop, tls_context=starttls, require_starttls=starttls is not None)

    running = await loop.create_server(make, "127.0.0.1", 0, ssl=tls if implicit else None)
    server.port = running.sockets[0].getsockname()[1]
    return running


async def deliver(
    store: Store, mail: Mail, *, clock: ManualClock | None = None
) -> tuple[Post, list[str]]:
    """Send one letter and return when it was sent or given up."""
    clock = clock or ManualClock()
    audit = Audit(store, clock)

    async def pause(seconds: float) -> None:
        clock.advance(seconds)

    post = Post(lambda: mail, audit, clock, pause=pause)
    post.start()
    post.put(LETTER.to, "192.0.2.0/24", lambda: LETTER)
    async with asyncio.timeout(10):
        while not post.sent and not post.failed:
            await asyncio.sleep(0.01)
    await post.stop()
    await audit.flush(everything=True)
    return post, [e["kind"] for e in await store.events.newest()]


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
async def test_schemes(store: Store, trusted: tuple[Path, ssl.SSLContext], scheme: str) -> None:
    anchor, context = trusted
    server = Server()
    running = await serve(
        server, tls=None if scheme == "smtp" else context, implicit=scheme == "smtps"
    )
    mail = Mail(f"{scheme}://localhost:{server.port}", "S <s@example.com>", ca_file=str(anchor))
    _, events = await deliver(store, mail)
    running.close()
    assert events == ["mail-sent"] and [tls for tls, _ in server.got] == [scheme == "smtp+starttls"]


async def test_starttls_that_is_not_offered(
    store: Store, trusted: tuple[Path, ssl.SSLContext]
) -> None:
    """A stranger on the way strips the offer: nothing is sent in the clear."""
    server = Server()
    running = await serve(server)
    mail = Mail(
        f"smtp+starttls://localhost:{server.port}", "s@example.com", ca_file=str(trusted[0])
    )
    _, events = await deliver(store, mail)
    running.close()
    assert events == ["mail-failed"] and server.got == []


async def test_certificate_of_a_stranger(
    store: Store, trusted: tuple[Path, ssl.SSLContext]
) -> None:
    server = Server()
    running = await serve(server, tls=trusted[1], implicit=True)
    post, events = await deliver(store, Mail(f"smtps://localhost:{server.port}", "s@example.com"))
    running.close()
    assert events == ["mail-failed"] and server.got == [] and post.failing


async def test_a_server_that_is_away_for_a_moment(store: Store) -> None:
    server = Server()
    server.answers = ["451 later", "451 later"]
    running = await serve(server)
    post, events = await deliver(store, Mail(f"smtp://localhost:{server.port}", "s@example.com"))
    running.close()
    assert events == ["mail-sent"] and len(server.got) == 3 and post.failing == ""


async def answering(first: bytes) -> Any:
    """Run a server that says one thing, or nothing, and closes when something was said to it."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await reader.read(1)
        writer.close()

    return await asyncio.start_server(serve_one, "127.0.0.1", 0)


@pytest.mark.parametrize(("scheme", "first", "says"), [
    ("smtp", None, "connection refused"),
    ("smtp", b"", "no answer within 0.3 s"),
    ("smtp", b"421 not now\r\n", "it answered 421"),
    ("smtps", b"220 in the clear\r\n",
     "TLS can't be spoken with it (another scheme or port in “server”?)"),
])  # fmt: skip
async def test_failures_are_told_in_words(
    store: Store, scheme: str, first: bytes | None, says: str
) -> None:
    """The server by host and port, and the cause: an operator never reads a class's name."""
    running = await answering(first or b"")
    port = running.sockets[0].getsockname()[1]
    if first is None:
        running.close()
        await running.wait_closed()
    mail = Mail(f"{scheme}://127.0.0.1:{port}", "s@example.com", timeout=0.3)
    post, _ = await deliver(store, mail)
    running.close()
    assert post.failing == f"127.0.0.1:{port}: {says}"


async def test_failures_of_names_certificates_and_offers(
    store: Store, trusted: tuple[Path, ssl.SSLContext]
) -> None:
    post, _ = await deliver(store, Mail("smtps://mail.invalid", "s@example.com"))
    assert post.failing == "mail.invalid:465: the name doesn't resolve"
    server = Server()
    running = await serve(server, tls=trusted[1], implicit=True)
    post, _ = await deliver(store, Mail(f"smtps://localhost:{server.port}", "s@example.com"))
    assert f"localhost:{server.port}: its certificate isn't trusted (" in post.failing
    running.close()
    running = await serve(server)
    mail = Mail(f"smtp+starttls://localhost:{server.port}", "s@example.com")
    post, _ = await deliver(store, mail)
    assert post.failing == f"localhost:{server.port}: it doesn't offer STARTTLS"
    mail = Mail(f"smtp://localhost:{server.port}", "s@example.com", username="u", password="pass")
    post, _ = await deliver(store, mail)
    assert post.failing == f"localhost:{server.port}: it doesn't offer AUTH"
    running.close()


async def test_ten_minutes_then_no_more(store: Store) -> None:
    """Faults: e-mail down → queued ten minutes, then dropped; the health says so."""
    clock = ManualClock()
    began = clock()
    post, events = await deliver(store, Mail("smtp://127.0.0.1:1", "s@example.com"), clock=clock)
    assert events == ["mail-failed"] and post.failing
    assert 300 < clock() - began <= 600


async def test_a_permanent_no_is_not_repeated(store: Store) -> None:
    server = Server()
    server.answers = ["550 never"]
    running = await serve(server)
    _, events = await deliver(store, Mail(f"smtp://localhost:{server.port}", "s@example.com"))
    running.close()
    assert events == ["mail-failed"] and len(server.got) == 1


async def test_an_unknown_mailbox_is_not_tried_again(store: Store) -> None:
    server = Server()
    server.recipients = {LETTER.to: "550 no such user"}
    running = await serve(server)
    clock = ManualClock()
    began = clock()
    mail = Mail(f"smtp://localhost:{server.port}", "s@example.com")
    _, events = await deliver(store, mail, clock=clock)
    running.close()
    assert events == ["mail-failed"] and clock() == began


def _letter(to: str) -> Any:
    return lambda: dataclasses.replace(LETTER, to=to)


async def test_letters_that_wait_hold_up_nobody(store: Store) -> None:
    """A stranger's addresses that the server puts off are no reason for Ann to wait."""
    server = Server()
    server.recipients = {f"odd{n}@example.com": "450 later" for n in range(8)}
    running = await serve(server)
    clock, door = ManualClock(), asyncio.Event()

    async def pause(seconds: float) -> None:
        await door.wait()

    mail = Mail(f"smtp://localhost:{server.port}", "s@example.com")
    post = Post(lambda: mail, Audit(store, clock), clock, pause=pause)
    post.start()
    for to in server.recipients:
        post.put(to, "198.51.100.0/24", _letter(to))
    post.put(LETTER.to, "192.0.2.0/24", lambda: LETTER)
    async with asyncio.timeout(10):
        while not post.sent:
            await asyncio.sleep(0.01)
        server.recipients.clear()
        door.set()
        while post.sent < 9:
            await asyncio.sleep(0.01)
    running.close()
    await post.stop()
    assert next(envelope.rcpt_tos for _, envelope in server.got) == [LETTER.to]
    assert post.failed == 0


async def test_a_full_queue_is_the_fillers_own(store: Store) -> None:
    """Thousands of letters of one network: Ann's is the second to go out."""
    clock, sent = ManualClock(), []

    async def send(mail: Mail, message: Any) -> None:
        sent.append(message["To"])

    audit = Audit(store, clock)
    post = Post(lambda: Mail("smtp://x", "s@example.com"), audit, clock, send=send)
    for n in range(module.MAX_QUEUE + 200):
        to = f"user{n}@example.com"
        post.put(to, "198.51.100.0/24", _letter(to))
    post.put(LETTER.to, "192.0.2.0/24", lambda: LETTER)
    assert post.failed == 201
    post.start()
    async with asyncio.timeout(10):
        while len(sent) < 4:
            await asyncio.sleep(0.01)
    await post.stop()
    assert LETTER.to in sent[:4]
    await audit.flush(everything=True)
    failed = await store.events.newest(kind="mail-failed")
    assert [(e["count"], e["detail"]["why"]) for e in failed] == [(201, "queue-full")]


async def test_audit_does_not_tell_the_code(store: Store) -> None:
    """O15: neither events nor repr hold what the letter holds."""
    await deliver(store, Mail("smtp://127.0.0.1:1", "s@example.com"))
    assert "123456" not in str(await store.events.newest()) and "123456" not in repr(LETTER)


@pytest.mark.parametrize("field", ["to", "subject"])
def test_o09_line_breaks_in_headers(field: str) -> None:
    """O09: a header with a line break can't be written at all."""
    evil = dataclasses.replace(LETTER, **{field: "x@example.com\r\nBcc: eve@example.com"})
    with pytest.raises(ValueError, match=r"linefeed|newline|header"):
        compose(Mail("smtp://x", "s@example.com"), evil, 0.0)
