"""The administration application: HTTP and JSON on admin.sock, for the command line.

Who can connect is the root of trust: the socket is 0600 in a 0700 folder and the kernel says which
user is at the other end. It shares no route with the public application;
workers never open it."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from edge.store import StoreUnavailable

Answer = dict[str, Any]
MAX_BODY = 1 << 20  # bytes


class NotDone(Exception):
    """An operation that can't be done; the sentence is for the person who asked."""

    def __init__(self, sentence: str, status: int = 409, **more: Any) -> None:
        super().__init__(sentence)
        self.sentence, self.status, self.more = sentence, status, more


class Operations(Protocol):
    """What the administrator of a node can do; each raises NotDone with a sentence."""

    async def status(self) -> Answer: ...
    async def applications(self) -> list[Answer]: ...
    async def reload(self) -> Answer: ...
    async def revoke(self, kind: str, what: str) -> Answer: ...
    async def rotate_keys(self) -> Answer: ...
    async def rotate_master(self, given: str | None) -> Answer: ...
    async def service_tokens(self) -> list[Answer]: ...
    async def service_token_create(self, name: str, duration: int) -> Answer: ...
    async def service_token_rotate(self, name: str, grace: int) -> Answer: ...
    async def service_token_delete(self, name: str) -> Answer: ...


async def body_of(request: Request) -> Answer:
    """Return the request's JSON object, or raise NotDone."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise NotDone(f"the request is over {MAX_BODY} bytes", 413)
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise NotDone("the request is not JSON", 400) from None
    if not isinstance(body, dict):
        raise NotDone("the request is not a JSON object", 400)
    return body


def field(body: Answer, name: str, kind: type, default: Any = ...) -> Any:
    """Return a field of the expected type, or raise NotDone that names it."""
    value = body.get(name, default)
    if value is ... or (value is not default and type(value) is not kind):
        raise NotDone(f"field {name!r} must be a {kind.__name__}", 400)
    return value


def build_admin(operations: Operations, extra_routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application; `extra_routes` are other rooms' operations (tunnels)."""

    async def status(request: Request) -> Response:
        return JSONResponse(await operations.status())

    async def applications(request: Request) -> Response:
        return JSONResponse({"applications": await operations.applications()})

    async def reload(request: Request) -> Response:
        return JSONResponse(await operations.reload())

    async def revoke(request: Request) -> Response:
        body = await body_of(request)
        kind, what = field(body, "kind", str), field(body, "id", str)
        return JSONResponse(await operations.revoke(kind, what))

    async def rotate_keys(request: Request) -> Response:
        return JSONResponse(await operations.rotate_keys())

    async def rotate_master(request: Request) -> Response:
        given = field(await body_of(request), "key", str, None)
        return JSONResponse(await operations.rotate_master(given))

    async def service_tokens(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"service_tokens": await operations.service_tokens()})
        body = await body_of(request)
        name, duration = field(body, "name", str), field(body, "duration", int)
        return JSONResponse(await operations.service_token_create(name, duration), 201)

    async def service_token(request: Request) -> Response:
        return JSONResponse(
            await operations.service_token_delete(request.path_params["name"])
        )

    async def service_token_rotate(request: Request) -> Response:
        grace = field(await body_of(request), "grace", int, 0)
        name = request.path_params["name"]
        return JSONResponse(await operations.service_token_rotate(name, grace))

    return Starlette(
        routes=[
            Route("/status", status, methods=["GET"]),
            Route("/applications", applications, methods=["GET"]),
            Route("/reload", reload, methods=["POST"]),
            Route("/revoke", revoke, methods=["POST"]),
            Route("/rotate-keys", rotate_keys, methods=["POST"]),
            Route("/rotate-keys/master", rotate_master, methods=["POST"]),
            Route("/service-tokens", service_tokens, methods=["GET", "POST"]),
            Route("/service-tokens/{name}", service_token, methods=["DELETE"]),
            Route("/service-tokens/{name}/rotate", service_token_rotate, methods=["POST"]),
            *extra_routes,
        ],
        exception_handlers={
            NotDone: _not_done, StoreUnavailable: _no_store, HTTPException: _http,
        },
    )


async def _not_done(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotDone)
    return JSONResponse({"error": error.sentence, **error.more}, error.status)


async def _no_store(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the database can't be used: {error}"}, 503)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"no such operation: {error.detail}"}, error.status_code)
