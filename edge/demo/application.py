"""The demo's private application: a page that shows what reached it, and the ways to talk to it.

It listens on a Unix socket in the demo's own 0700 folder: nothing but the connector reaches it."""

import asyncio
import hashlib
import html
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import click
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

SITE = Path(__file__).parent / "site"
BLOCK = bytes(range(256)) * 256  # what /download repeats: 64 KiB
LONG = 200  # characters of a header's value; longer ones scroll in a box
SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
NOTES = {  # lower-case header: what it is for; the page shows these first
    "cf-access-authenticated-user-email": "who signed in",
    "cf-access-jwt-assertion": "the proof: a signed token that this application can verify",
    "cf-connecting-ip": "where the visitor's connection came from",
    "cf-ray": "the request's id, the same as in the edge's log",
    "x-forwarded-for": "the same address, for software that reads this one",
    "x-forwarded-proto": "how the visitor reached the edge",
    "x-forwarded-host": "the name that the visitor typed",
    "x-real-ip": "the same address again",
}


def rows(request: Request) -> str:
    """Return table rows: the edge's own headers with a word on each, then the rest."""
    seen = [(k.lower(), v) for k, v in request.headers.items()]
    first = [(k, v) for k, v in seen if k in NOTES]
    first.sort(key=lambda pair: list(NOTES).index(pair[0]))
    rest = [(k, v) for k, v in seen if k not in NOTES]
    out = []
    for name, value in first + rest:
        note = f"<small>{html.escape(NOTES[name])}</small>" if name in NOTES else ""
        kind = ' class="ours"' if name in NOTES else ""
        # what scrolls within the page must be within a keyboard's reach
        long = ' class="long" tabindex="0"' if len(value) > LONG else ""
        out.append(
            f'<tr{kind}><th scope="row">{html.escape(name)}{note}</th>'
            f"<td><code{long}>{html.escape(value)}</code></td></tr>"
        )
    return "\n".join(out)


async def home(request: Request) -> Response:
    name = request.headers.get("host", "").split(".")[0] or "wiki"
    email = request.headers.get("cf-access-authenticated-user-email", "somebody")
    page = (SITE / "index.html").read_text(encoding="utf-8")
    for mark, text in (
        ("%NAME%", html.escape(name.capitalize())),
        ("%EMAIL%", html.escape(email)),
        ("%INITIAL%", html.escape(email[:1].upper())),
        ("%ROWS%", rows(request)),
    ):
        page = page.replace(mark, text)
    return HTMLResponse(page, headers=SECURITY)


async def headers(request: Request) -> Response:
    """Everything that the origin saw of this request's head, as data."""
    return JSONResponse(
        {
            "method": request.method,
            "path": request.scope["raw_path"].decode("latin-1"),
            "query": request.url.query,
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in request.headers.raw],
        },
        headers=SECURITY,
    )


async def events(request: Request) -> Response:
    """Server-sent events, each with the moment at which it was written; `every`: seconds."""
    try:
        every = min(max(float(request.query_params.get("every", "1")), 0.05), 60.0)
    except ValueError:
        return Response("every must be a number", status_code=400)

    async def stream() -> AsyncIterator[str]:
        for number in range(3600):
            data = json.dumps({"number": number, "written": time.time()})
            yield f"id: {number}\ndata: {data}\n\n"
            await asyncio.sleep(every)

    return StreamingResponse(stream(), media_type="text/event-stream", headers=SECURITY)


async def upload(request: Request) -> Response:
    """Count and digest whatever is sent; nothing is kept."""
    digest, total, started = hashlib.sha256(), 0, time.monotonic()
    try:
        async for block in request.stream():
            digest.update(block)
            total += len(block)
    except ClientDisconnect:
        return Response(status_code=400)
    taken = round(time.monotonic() - started, 3)
    return JSONResponse(
        {"bytes": total, "sha256": digest.hexdigest(), "seconds": taken}, headers=SECURITY
    )


async def download(request: Request) -> Response:
    """Send `bytes` bytes (default 10 MB) of a known pattern."""
    try:
        total = min(int(request.query_params.get("bytes", "10000000")), 10**10)
    except ValueError:
        return Response("bytes must be a number", status_code=400)

    async def stream() -> AsyncIterator[bytes]:
        left = total
        while left > 0:
            yield BLOCK[: min(left, len(BLOCK))]
            left -= len(BLOCK)

    disposition = {"Content-Disposition": 'attachment; filename="sekisho-demo.bin"'}
    return StreamingResponse(
        stream(),
        media_type="application/octet-stream",
        headers=SECURITY | {"Content-Length": str(total)} | disposition,
    )


async def echo(socket: WebSocket) -> None:
    """Answer every message with itself."""
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        return


def build_application() -> Starlette:
    return Starlette(
        routes=[
            Route("/", home),
            Route("/headers.json", headers, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
            Route("/events", events),
            Route("/upload", upload, methods=["POST", "PUT"]),
            Route("/download", download),
            WebSocketRoute("/echo", echo),
            Mount("/site", StaticFiles(directory=SITE)),
        ]
    )


@click.command()
@click.option("--socket", "path", required=True, help="Unix socket to listen on.")
def main(path: str) -> None:
    """Run the demo's private application."""
    uvicorn.run(
        build_application(),
        uds=path,
        log_level="warning",
        ws_ping_interval=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
