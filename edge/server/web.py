"""Serving an ASGI application on our own socket and in our own loop: uvicorn without its main.

uvicorn wants the process: its signals, its sockets. Here the process is ours, and it serves several
applications in one loop."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge.server.feed import peer_of

log = logging.getLogger("sekisho.web")


class OwnUserOnly(HttpToolsProtocol):
    """Talks only to this user's and root's processes, whatever the socket's mode allows."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        pid, uid = peer_of(transport.get_extra_info("socket"))
        if uid not in (0, os.geteuid()):
            log.warning("refused pid %d of user %d", pid, uid)
            transport.abort()
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.transport is not None:  # refused above
            super().data_received(data)


class OnceConfigured:
    """Answers 503 while there is no configuration that sign-in could follow.

    So it is when a new control process finds a broken file: the workers go on with the last good
    snapshot, and people who are signed in notice nothing."""

    def __init__(self, app: ASGIApp, configured: Callable[[], bool]) -> None:
        self.app = app
        self.configured = configured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.configured():
            await self.app(scope, receive, send)
            return
        answer = JSONResponse(
            {"type": "about:blank", "title": "service unavailable", "status": 503,
             "reason": "control-down"},
            503, {"Retry-After": "10", "Cache-Control": "no-store"},
            media_type="application/problem+json",
        )
        await answer(scope, receive, send)


class WebServer(uvicorn.Server):
    """One application on one listening socket. `start()` accepts, `stop()` drains."""

    def __init__(self, app: Any, sock: socket.socket, *, name: str) -> None:
        unix = sock.family == socket.AF_UNIX
        protocol: Any = OwnUserOnly if unix else HttpToolsProtocol
        super().__init__(
            uvicorn.Config(
                app, http=protocol, ws="none", lifespan="off", log_config=None,
                access_log=False, server_header=False, proxy_headers=False,
                timeout_keep_alive=75, timeout_graceful_shutdown=3,
            )
        )
        self.sock = sock
        self.name = name
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()

        def accept() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        create: Any = (
            loop.create_unix_server if self.sock.family == socket.AF_UNIX else loop.create_server
        )
        self.servers = [await create(accept, sock=self.sock)]
        self.started = True

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.serve(), name=self.name)
        while not self.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError(f"{self.name} did not start")
            await asyncio.sleep(0)

    async def stop(self) -> None:
        self.should_exit = True
        if self._task is not None:
            await self._task
