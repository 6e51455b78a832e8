"""Mail: queued, sent in the background, dropped after ten minutes. No request ever waits for it."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from functools import lru_cache
from urllib.parse import urlsplit

import aiosmtplib

from edge.identity.audit import Audit
from edge.identity.world import Mail

TTL = 600.0  # seconds after which a message is of no use: its code is dead
MAX_QUEUE = 1_000  # letters that wait to be sent; over it: the newest is dropped, an event says so
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
        self._pause = pause
        self._queue: asyncio.Queue[tuple[float, str, Callable[[], Letter]]] = asyncio.Queue(
            MAX_QUEUE
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.failing = ""  # why the last attempt failed; empty when it didn't

    def put(self, to: str, write: Callable[[], Letter]) -> None:
        """Queue a letter, which is written later; when the queue is full it is dropped and
        recorded.

        Nothing of a letter's work is done here: the caller's time must not tell that there is
        one."""
        try:
            self._queue.put_nowait((self._clock() + TTL, to, write))
        except asyncio.QueueFull:
            self._audit.record("mail-dropped", who=to, reason="queue-full")

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        # The SMTP client may swallow one cancellation while it says goodbye to the server.
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.5)
        self._tasks = []

    async def _work(self) -> None:
        while True:
            until, to, write = await self._queue.get()
            await asyncio.sleep(HOLD)
            try:
                await self._deliver(until, write())
            except Exception as error:  # one odd letter must not end the post for everybody
                self._fail(to, f"unexpected {type(error).__name__}")
                log.exception("a letter could not be sent")

    async def _deliver(self, until: float, letter: Letter) -> None:
        delay = 1.0
        while True:
            settings = self._settings()
            if settings is None:
                self._fail(letter.to, "no mail server is configured")
                return
            try:
                await self._send(settings, compose(settings, letter, self._clock()))
            except aiosmtplib.SMTPResponseException as error:
                self.failing = f"the mail server answered {error.code}"
                if error.code >= 500:  # permanent: trying again would not help
                    self._fail(letter.to, self.failing)
                    return
            except (OSError, aiosmtplib.SMTPException, ValueError) as error:
                self.failing = type(error).__name__
            else:
                self.failing = ""
                self._audit.record("mail-sent", who=letter.to)
                return
            log.warning("mail to %s waits: %s", letter.to, self.failing)
            if self._clock() + delay >= until:
                self._fail(letter.to, self.failing)
                return
            await self._pause(delay)
            delay = min(delay * 2, 60.0)

    def _fail(self, to: str, why: str) -> None:
        self._audit.record("mail-failed", who=to, reason="mail-failed", why=why)
        log.error("mail to %s was not sent: %s", to, why)


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
