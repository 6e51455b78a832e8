"""The link certificate: asked for with the tunnel credential, 24 h, kept in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from _fastpath.contexts import TlsClientContext
from _fastpath.dialled import DialledLink
from _fastpath.inbound import Inbound
from _fastpath.pem import TlsError
from edge.connector.credentials import Credentials, CredentialsRefused
from edge.identity.authority import new_key, new_request, utc_now, wants_renewal
from edge.wire import messages as wire
from edge.wire.errors import BadMessage
from edge.wire.framing import pack, unpack

if TYPE_CHECKING:
    from _fastpath.endpoint import Pipe

ALPN = "sekisho-link/1"
ANSWER_TIMEOUT = 12.0  # seconds that the edge (and its control process) has to sign


class EnrolmentFailed(Exception):
    """No link certificate; `final` when only a person can change that."""

    def __init__(self, sentence: str, final: bool = False) -> None:
        super().__init__(sentence)
        self.final = final


@dataclass(frozen=True, slots=True, repr=False)
class LinkIdentity:
    """A link certificate with its key, and the TLS context made of them."""

    certificate: bytes
    key: bytes
    context: TlsClientContext

    def wants_renewal(self, now: datetime) -> bool:
        """Return True when less than a third of its life is left."""
        return wants_renewal(self.certificate, now)


def context_of(anchors: str, certificate: bytes, key: bytes) -> TlsClientContext:
    """Return the client context for the edge: TLS 1.3, our certificate, the pinned anchors only."""
    try:
        return TlsClientContext(
            trust=anchors.encode(),
            certificate=certificate,
            key=key,
            alpn=(ALPN,),
            minimum="1.3",
        )
    except TlsError as error:
        raise CredentialsRefused(f"the credentials can't be used: {error}") from None


class Enrolment:
    """One short link in the enrolment role: ask, hear, close."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[wire.Certificate] = loop.create_future()

    def message(self, link: DialledLink, body: bytes) -> None:
        """Take the edge's answer."""
        try:
            message = unpack(body)
        except BadMessage as error:
            self._fail(EnrolmentFailed(str(error)))
            return
        if isinstance(message, wire.Certificate) and not self.answer.done():
            self.answer.set_result(message)
        elif isinstance(message, wire.Refused):
            self._fail(EnrolmentFailed(f"{message.reason}: {message.text}", message.final))

    def stream(self, link: DialledLink, inbound: Inbound) -> None:
        """Refuse: this role carries no streams."""
        inbound.refuse("origin-refused")

    def lost(self, link: DialledLink, reason: str) -> None:
        """Note that the link ended before an answer."""
        self._fail(EnrolmentFailed(f"the link was closed: {reason}"))

    def _fail(self, error: EnrolmentFailed) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def enrol(
    credentials: Credentials, pipe: Pipe, key: Callable[[], bytes] = new_key
) -> tuple[LinkIdentity, str]:
    """Ask for a link certificate over `pipe`; return it and the anchors to pin from now on."""
    loop = asyncio.get_running_loop()
    private = key()
    asking = Enrolment(loop)
    link = DialledLink(loop, asking)
    link.begin(pipe)
    link.send(pack(wire.CertificateRequest(new_request(private))))
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            answer = await asking.answer
    except TimeoutError:
        raise EnrolmentFailed("the edge didn't answer the certificate request") from None
    finally:
        link.abort("link-goaway")
    try:
        anchors = answer.anchors.decode() if answer.anchors else credentials.anchors
        return identity(anchors, answer.certificate, private), anchors
    except (CredentialsRefused, UnicodeDecodeError) as error:
        raise EnrolmentFailed(f"the edge's certificate is not usable: {error}") from None


def identity(anchors: str, certificate: bytes, key: bytes) -> LinkIdentity:
    """Return the identity made of a certificate that the edge just signed."""
    return LinkIdentity(certificate, key, context_of(anchors, certificate, key))


def due(found: LinkIdentity | None) -> bool:
    """Return True when a (new) link certificate should be asked for."""
    return found is None or found.wants_renewal(utc_now())
