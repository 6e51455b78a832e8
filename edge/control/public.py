"""The public application: what workers relay for the auth domain and for /cdn-cgi/access/
elsewhere.

It carries no authority of its own. Which of its two route tables answers depends on the host
alone."""

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from edge.control.answers import problem
from edge.control.application_host import ApplicationHost
from edge.control.everywhere import Everywhere
from edge.control.signin import SignIn
from edge.control.visit import BadInput, visit_of
from edge.identity.desk import Desk
from edge.store import StoreUnavailable

ACCESS = "/cdn-cgi/access"

log = logging.getLogger("sekisho.public")
Handler = Callable[[Request, Exception], Awaitable[Response]]


def auth_routes(desk: Desk) -> list[BaseRoute]:
    sign_in, everywhere = SignIn(desk), Everywhere(desk)
    return [
        Route("/", everywhere.landing, methods=["GET"]),
        Route(f"{ACCESS}/login/{{host}}", sign_in.login, methods=["GET"]),
        Route(f"{ACCESS}/login/{{host}}", sign_in.choose, methods=["POST"]),
        Route(f"{ACCESS}/login", everywhere.landing, methods=["GET"]),
        Route(f"{ACCESS}/pin/{{flow}}", sign_in.code_page, methods=["GET"]),
        Route(f"{ACCESS}/pin/{{flow}}", sign_in.code, methods=["POST"]),
        Route(f"{ACCESS}/callback", sign_in.callback, methods=["GET"]),
        *_shared(everywhere),
    ]


def application_routes(desk: Desk) -> list[BaseRoute]:
    host, everywhere = ApplicationHost(desk), Everywhere(desk)
    return [
        Route(f"{ACCESS}/login", host.login, methods=["GET"]),
        Route(f"{ACCESS}/authorized", host.authorized, methods=["GET"]),
        *_shared(everywhere),
    ]


def _shared(everywhere: Everywhere) -> list[BaseRoute]:
    return [
        Route(f"{ACCESS}/logout", everywhere.logout, methods=["GET"]),
        Route(f"{ACCESS}/logout", everywhere.logout_posted, methods=["POST"]),
        Route(f"{ACCESS}/certs", everywhere.certs, methods=["GET"]),
        Route(f"{ACCESS}/get-identity", everywhere.identity, methods=["GET"]),
    ]


class ByHost:
    """Hands a request to the auth domain's application or to the one for every other host."""

    def __init__(self, desk: Desk) -> None:
        handlers = failure_handlers(desk)
        self._desk = desk
        self._auth = Starlette(routes=auth_routes(desk), exception_handlers=handlers)
        self._other = Starlette(routes=application_routes(desk), exception_handlers=handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._desk.world()
        except LookupError:  # control started with a configuration that was never good
            await PlainTextResponse("503 control-down\n", 503)(scope, receive, send)
            return
        host = visit_of(Request(scope), self._desk.world()).host
        chosen = self._auth if host == self._desk.world().auth_domain else self._other
        await chosen(scope, receive, send)


def failure_handlers(desk: Desk) -> dict[object, Handler]:
    async def bad_input(request: Request, error: Exception) -> Response:
        assert isinstance(error, BadInput)
        return problem(visit_of(request, desk.world()), error.status, error.reason)

    async def no_store(request: Request, error: Exception) -> Response:
        log.error("the database can't be used: %s", error)
        answer = problem(visit_of(request, desk.world()), 503, "store-unavailable")
        answer.headers["retry-after"] = "30"
        return answer

    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        reason = {404: "not-found", 405: "method-refused"}.get(error.status_code, "internal")
        answer = problem(visit_of(request, desk.world()), error.status_code, reason)
        for name, value in (error.headers or {}).items():
            answer.headers[name] = value
        return answer

    async def mistake(request: Request, error: Exception) -> Response:
        log.exception("a request failed", exc_info=error)
        return problem(visit_of(request, desk.world()), 500, "internal")

    return {
        BadInput: bad_input,
        StoreUnavailable: no_store,
        HTTPException: other,
        Exception: mistake,
    }


def build_public(desk: Desk) -> ByHost:
    """Return the ASGI application for public.sock."""
    return ByHost(desk)
