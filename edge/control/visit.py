"""One request as the public application sees it: who asks, from where, and what they brought."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request

from edge.control import cookies
from edge.control.language import negotiate
from edge.identity.address import network
from edge.identity.world import World

MAX_FORM = 16_384  # bytes of a form; over it: 413 body-too-large
_ID = re.compile(r"[A-Za-z0-9_-]{22}")


class BadInput(Exception):
    """What the browser sent can't be right. `reason` is stable and has its sentence."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(slots=True)
class Visit:
    world: World
    host: str  # lower case, without port
    path: str  # as it was asked for, without query
    address: str  # the client's, as the worker saw it
    request_id: str
    language: str
    cookies: dict[str, list[str]]
    html: bool  # a person looks at the answer

    @property
    def network(self) -> str:
        return network(self.address)

    @property
    def on_auth_domain(self) -> bool:
        return self.host == self.world.auth_domain

    def cookie(self, name: str) -> str | None:
        """Return the one value of this cookie; None when there is none, or more than one (K01)."""
        values = self.cookies.get(name, [])
        return values[0] if len(values) == 1 else None

    def tossed(self, name: str) -> bool:
        """Say whether somebody planted a second cookie of this name."""
        return len(self.cookies.get(name, [])) > 1

    def identifier(self, name: str) -> str | None:
        """Return a cookie's value when it has the form of an id that we gave."""
        value = self.cookie(name)
        return value if value is not None and is_identifier(value) else None


def visit_of(request: Request, world: World) -> Visit:
    headers = request.headers
    raw = [(name, value) for name, value in request.scope["headers"]]
    host = (
        headers.get("host", "").rpartition(":")[0]
        if _has_port(headers.get("host", ""))
        else (headers.get("host", ""))
    )
    return Visit(
        world=world,
        host=host.lower().rstrip("."),
        path=request.scope["raw_path"].decode("latin-1").partition("?")[0],
        address=headers.get("cf-connecting-ip", ""),
        request_id=headers.get("cf-ray", ""),
        language=negotiate(headers.get("accept-language", "")),
        cookies=cookies.read(raw),
        html="text/html" in headers.get("accept", "")
        or headers.get("sec-fetch-mode") == "navigate",
    )


def _has_port(host: str) -> bool:
    return re.search(r":\d*$", host) is not None and not host.endswith("]")


def query_of(request: Request) -> dict[str, str]:
    """Return the query's parameters; BadInput when one comes twice (M14) or isn't UTF-8.

    `+` stays a plus: these are percent-encoded paths, not form fields."""
    found: dict[str, str] = {}
    for pair in request.scope["query_string"].decode("latin-1").split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        try:
            name, value = unquote(name, errors="strict"), unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise BadInput("query-invalid") from None
        if name in found:
            raise BadInput("query-repeated")
        found[name] = value
    return found


async def form_of(request: Request) -> dict[str, str]:
    """Return a posted form's fields; BadInput when it is too large, of another type or repeats
    one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadInput("form-invalid", 415)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM:
                raise BadInput("body-too-large", 413)
    except ClientDisconnect:  # nobody reads the answer; it is no failure of ours either
        raise BadInput("form-invalid") from None
    found: dict[str, str] = {}
    for pair in body.decode("latin-1").split("&"):
        if not pair:
            continue
        name, _, value = pair.replace("+", " ").partition("=")
        try:
            name, value = unquote(name, errors="strict"), unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise BadInput("form-invalid") from None
        if name in found:
            raise BadInput("form-invalid")
        found[name] = value
    return found


def new_identifier() -> str:
    """Return 128 random bits as 22 characters."""
    return secrets.token_urlsafe(16)


def is_identifier(text: str) -> bool:
    """Say whether a text has the form of an id that we gave; PostgreSQL can't even be asked for
    one with a NUL in it."""
    return _ID.fullmatch(text) is not None


def browser_digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def form_token(key: bytes, cookie: str) -> str:
    """Return what a form must bring back: only a page that we gave to this browser knows it."""
    return hmac.new(key, b"form\0" + cookie.encode(), hashlib.sha256).hexdigest()


def check_origin(request: Request, visit: Visit) -> None:
    """Raise BadInput for a POST that another site caused."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise BadInput("form-foreign", 403)
    origin = request.headers.get("origin")
    if origin is not None and origin != visit.world.url(visit.host, ""):
        raise BadInput("form-foreign", 403)


def check_form(request: Request, visit: Visit, key: bytes, form: dict[str, str]) -> str:
    """Return the browser's flow cookie when this form is from a page of ours in this very
    browser."""
    check_origin(request, visit)
    cookie = visit.identifier(cookies.FLOW)
    if cookie is None:
        raise BadInput("cookies-needed")
    if not hmac.compare_digest(form.get("token", "").encode(), form_token(key, cookie).encode()):
        raise BadInput("form-foreign", 403)
    return cookie
