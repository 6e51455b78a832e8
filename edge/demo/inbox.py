"""The demo's mail: a real SMTP server, and a page on loopback that shows what arrived.

Everybody's mail lies open here. That is fine for a demo on loopback and for nothing else."""

import asyncio
import html
import time
from collections import deque
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import click
import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

SITE = Path(__file__).parent / "site"
KEPT = 200  # messages; older ones are forgotten
CSP = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"


class Inbox:
    """Keeps the newest messages in memory."""

    def __init__(self) -> None:
        self.messages: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.count = 0

    async def handle_DATA(
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        message = message_from_bytes(raw, policy=policy.default)
        if not isinstance(message, EmailMessage):
            return "554 not a message"
        self.count += 1
        text = message.get_body(("plain",))
        page = message.get_body(("html",))
        self.messages.appendleft(
            {
                "id": self.count,
                "arrived": time.time(),
                "to": list(envelope.rcpt_tos),
                "from": str(message["from"] or ""),
                "subject": str(message["subject"] or ""),
                "text": text.get_content() if text else "",
                "html": page.get_content() if page else "",
            }
        )
        return "250 OK"

    async def page(self, request: Request) -> Response:
        letters = [
            f'<article><h2>{html.escape(m["subject"])}</h2>'
            f'<p>to <strong>{html.escape(", ".join(m["to"]))}</strong>, '
            f'{time.strftime("%H:%M:%S", time.localtime(m["arrived"]))}</p>'
            f'<pre>{html.escape(m["text"])}</pre></article>'
            for m in self.messages
        ]
        body = "\n".join(letters) or "<p class=none>No mail yet. Ask for a code, and look here.</p>"
        page = (SITE / "inbox.html").read_text(encoding="utf-8").replace("%LETTERS%", body)
        return HTMLResponse(
            page, headers={"Content-Security-Policy": CSP, "Cache-Control": "no-store"}
        )

    async def data(self, request: Request) -> Response:
        """All messages as data, newest first; `?to=ADDRESS` for one person's."""
        to = request.query_params.get("to")
        chosen = [m for m in self.messages if to is None or to in m["to"]]
        return JSONResponse(chosen, headers={"Cache-Control": "no-store"})

    async def latest(self, request: Request) -> Response:
        return JSONResponse({"count": self.count}, headers={"Cache-Control": "no-store"})


async def serve(smtp_port: int, http_port: int) -> None:
    """Serve both until the process is told to stop."""
    inbox = Inbox()
    loop = asyncio.get_running_loop()
    await loop.create_server(
        lambda: SMTP(inbox, hostname="inbox.sekisho.localhost", enable_SMTPUTF8=True, loop=loop),
        "127.0.0.1",
        smtp_port,
    )
    application = Starlette(
        routes=[
            Route("/", inbox.page),
            Route("/messages.json", inbox.data),
            Route("/latest.json", inbox.latest),
            Mount("/site", StaticFiles(directory=SITE)),
        ]
    )
    config = uvicorn.Config(
        application, host="127.0.0.1", port=http_port, log_level="warning", ws="none",
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve()


@click.command()
@click.option("--smtp", type=int, required=True, help="Port of the SMTP server.")
@click.option("--http", type=int, required=True, help="Port of the page.")
def main(smtp: int, http: int) -> None:
    """Receive mail on one loopback port and show it on another."""
    asyncio.run(serve(smtp, http))


if __name__ == "__main__":
    main()
