"""Mail: queued, sent in the background, dropped after ten minutes. No request ever waits for it.

Anybody may ask for a letter, so client networks take turns, and a letter that has to be tried again
waits outside of the queue: nobody's letters hold up or push out those of somebody else."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from functools import lru_cache
from urllib.parse import urlsplit

import aiosmtplib

from edge.identity.audit import Audit
from edge.identity.fair import FairQueue
from edge.identity.waiting import WaitingRoom
from edge.identity.world import Mail

TTL = 600.0  # seconds after which a message is of no use: its code is dead
MAX_QUEUE = 1_000  # letters that wait; over it: the newest of the network with most of them goes
WORKERS = 4
# seconds before a letter is taken up: the answer to the browser has left by then, so that its time
# doesn't tell whether there was a letter at all (O08)
HOLD = 0.1
PORTS = {"smtp": 587, "smtp+starttls": 587, "smtps": 465}

log = logging.getLogger("sekisho.mail")


@dataclass(frozen=True, slots=True)
class Letter:
    """One message. Its text may hold a secret: it is never logged, and repr shows the recipient
    only."""

    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    language: str = "en"


Send = Callable[[Mail, EmailMessage], Awaitable[None]]


async def send_smtp(mail: Mail, message: EmailMessage) -> None:
    """Hand the message to the configured server; raises SMTPException or OSError."""
    parts = urlsplit(mail.server)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"mail server must be one of {', '.join(PORTS)}://host")
    host = parts.hostname
    near = host == "localhost" or host == "::1" or host.startswith("127.")
    implicit = parts.scheme == "smtps"
    plain = near and parts.scheme == "smtp"
    # Reading the system's authorities takes tens of milliseconds: not in the loop.
    context = None if plain else await asyncio.to_thread(_context, mail.ca_file)
    await aiosmtplib.send(
        message,
        hostname=host,
        port=parts.port or PORTS[parts.scheme],
        use_tls=implicit,
        # Never "when offered": a stranger on the way could strip the offer.
        start_tls=not implicit and not plain,
        tls_context=context,
        username=mail.username or None,
        password=mail.password or None,
        timeout=mail.timeout,
    )


@lru_cache(maxsize=4)
def _context(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file or None)


@dataclass(slots=True, eq=False)
class _Outgoing:
    to: str
    network: str  # of the client that asked for it
    write: Callable[[], Letter]
    until: float
    delay: float = 1.0  # seconds before it is tried again


class Post:
    """The outgoing queue."""

    def __init__(
        self,
        settings: Callable[[], Mail | None],
        audit: Audit,
        clock: Callable[[], float],
        *,
        send: Send = send_smtp,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._audit = audit
        self._clock = clock
        self._send = send
        self._queue: FairQueue[_Outgoing] = FairQueue(MAX_QUEUE)
        self._resting = WaitingRoom(pause, each=MAX_QUEUE, places=MAX_QUEUE)
        self._workers: list[asyncio.Task[None]] = []
        self._again: set[asyncio.Task[None]] = set()
        self.failing = ""  # why the last attempt failed; empty when it didn't
        self.sent = 0
        self.failed = 0  # letters that were given up

    def put(self, to: str, network: str, write: Callable[[], Letter]) -> None:
        """Queue a letter, which is written later; when the queue is full one is dropped and
        counted.

        Nothing of a letter's work is done here: the caller's time must not tell that there is
        one."""
        self._put(_Outgoing(to, network, write, self._clock() + TTL))

    def _put(self, outgoing: _Outgoing) -> None:
        gone = self._queue.put(outgoing.network, outgoing)
        if gone is not None:
            self._drop(gone, "queue-full")

    def start(self) -> None:
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        # The SMTP client may swallow one cancellation while it says goodbye to the server.
        tasks = [*self._workers, *self._again]
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.5)
        self._workers = []

    async def _work(self) -> None:
        while True:
            outgoing = await self._queue.get()
            await asyncio.sleep(HOLD)
            try:
                await self._deliver(outgoing)
            except Exception as error:  # one odd letter must not end the post for everybody
                self._drop(outgoing, f"unexpected {type(error).__name__}")
                log.exception("a letter could not be sent")

    async def _deliver(self, outgoing: _Outgoing) -> None:
        settings = self._settings()
        if settings is None:
            self._drop(outgoing, "no mail server is configured")
            return
        final, server = False, address_of(settings)
        try:
            await self._send(settings, compose(settings, outgoing.write(), self._clock()))
        except aiosmtplib.SMTPRecipientsRefused as error:
            self.failing = f"{server}: it refused the address ({error.recipients[0].code})"
            final = error.recipients[0].code >= 500
        except aiosmtplib.SMTPResponseException as error:
            self.failing = f"{server}: it answered {error.code}"
            final = error.code >= 500  # permanent: trying again would not help
        except (OSError, aiosmtplib.SMTPException, ValueError) as error:
            self.failing = f"{server}: {in_words(error, settings.timeout)}"
        else:
            self.failing = ""
            self.sent += 1
            log.info("mail to %s was sent", outgoing.to)
            self._audit.stranger("mail-sent", network=outgoing.network, to=outgoing.to)
            return
        if final or self._clock() + outgoing.delay >= outgoing.until:
            self._drop(outgoing, self.failing)
            return
        log.warning("mail to %s waits: %s", outgoing.to, self.failing)
        task = asyncio.create_task(self._rest(outgoing))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    async def _rest(self, outgoing: _Outgoing) -> None:
        """Put a letter into the queue again after its delay; meanwhile others are sent."""
        if await self._resting.wait(f"{id(outgoing)}", outgoing.network, outgoing.delay):
            outgoing.delay = min(outgoing.delay * 2, 60.0)
            self._put(outgoing)
        else:
            self._drop(outgoing, "queue-full")

    def _drop(self, outgoing: _Outgoing, why: str) -> None:
        self.failed += 1
        self._audit.stranger(
            "mail-failed", network=outgoing.network, reason="mail-failed", to=outgoing.to, why=why
        )
        log.error("mail to %s was not sent: %s", outgoing.to, why)


def address_of(mail: Mail) -> str:
    """Return host:port of the mail server, for people."""
    parts = urlsplit(mail.server)
    host = parts.hostname or ""
    port = parts.port or PORTS.get(parts.scheme, 25)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def in_words(error: BaseException, timeout: float) -> str:
    """Return why a server can't be spoken with. Only our words, and the system's: what a server
    says may repeat what it was sent."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return "the name doesn't resolve"
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate isn't trusted ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError):
            return "TLS can't be spoken with it (another scheme or port in “server”?)"
        if isinstance(seen, TimeoutError | aiosmtplib.SMTPTimeoutError):
            return f"no answer within {timeout:g} s"
        if isinstance(seen, OSError) and seen.errno:
            return os.strerror(seen.errno).lower()
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPConnectError):
        return "it closed the connection"
    for word in ("STARTTLS", "AUTH"):
        if f"{word} extension" in str(error) and "not supported" in str(error):
            return f"it doesn't offer {word}"
    # what is left has no sentence that may be shown
    return f"the letter couldn't be handed over ({type(error).__name__})"


def compose(mail: Mail, letter: Letter, now: float) -> EmailMessage:
    """Return the message with both bodies; headers with line breaks raise ValueError in the
    library."""
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = formatdate(now, localtime=False)
    domain = parseaddr(mail.sender)[1].rpartition("@")[2] or "localhost"
    message["Message-ID"] = make_msgid(domain=domain)
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = letter.language
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message
