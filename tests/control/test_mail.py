"""Mail over real SMTP servers: plain on loopback, STARTTLS, TLS; retries, and an end to them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

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
        self.port = 0

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
    post.put(LETTER.to, lambda: LETTER)
    async with asyncio.timeout(10):
        while not audit._waiting:
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


async def test_audit_does_not_tell_the_code(store: Store) -> None:
    """O15: neither events nor repr hold what the letter holds."""
    await deliver(store, Mail("smtp://127.0.0.1:1", "s@example.com"))
    assert "123456" not in str(await store.events.newest()) and "123456" not in repr(LETTER)


@pytest.mark.parametrize("field", ["to", "subject"])
def test_o09_line_breaks_in_headers(field: str) -> None:
    """O09: a header with a line break can't be written at all."""
    import dataclasses

    evil = dataclasses.replace(LETTER, **{field: "x@example.com\r\nBcc: eve@example.com"})
    with pytest.raises(ValueError, match=r"linefeed|newline|header"):
        compose(Mail("smtp://x", "s@example.com"), evil, 0.0)
