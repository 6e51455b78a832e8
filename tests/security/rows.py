"""What a row of negative-cases.md looks like here: bytes in, what the client gets, what the origin saw."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

OPEN = "open.sekisho.localhost"      # bypass for everyone: a request that passes the codec reaches the origin
A = "app-a.sekisho.localhost"        # allow: alice@example.com
B = "app-b.sekisho.localhost"        # the same, another application
PATHS = "paths.sekisho.localhost"    # / is public, /admin needs a session
CANARY = f"GET /canary HTTP/1.1\r\nHost: {OPEN}\r\n\r\n".encode()


@dataclass
class Row:
    """REJ by default: one answer with one of `status`, closed, and nothing reached the origin."""

    id: str
    note: str
    send: bytes | list[bytes]
    status: tuple[int, ...] = (400,)
    after: bytes = CANARY                  # sent right behind, in the same segment
    pause: float = 0.0                     # between the pieces of send
    wait: float = 3.0                      # how long an answer may take


@dataclass
class Pass:
    """The request goes on: the origin sees `count` requests, and `check` looks at them."""

    id: str
    note: str
    send: bytes | list[bytes]
    count: int = 1
    check: Callable[[list[Any]], None] | None = None
    answers: list[int] = field(default_factory=lambda: [200])
    method: str = "GET"


def table(rows: Iterable[Row | Pass]) -> list[Any]:
    return [pytest.param(row, id=f"{row.id}-{row.note}".replace(" ", "-")) for row in rows]


def request(
    *fields: str | bytes, first: str | bytes = "GET / HTTP/1.1", host: str | None = OPEN,
    body: bytes = b"",
) -> bytes:
    """Build a request head line by line; nothing is corrected."""
    lines = [first, *([f"Host: {host}"] if host is not None else []), *fields]
    raw = [x.encode("latin-1") if isinstance(x, str) else x for x in lines]
    return b"\r\n".join(raw) + b"\r\n\r\n" + body


def post(*fields: str | bytes, body: bytes = b"", host: str | None = OPEN) -> bytes:
    return request(*fields, first="POST / HTTP/1.1", host=host, body=body)


def chunked(body: bytes, *fields: str | bytes) -> bytes:
    return post("Transfer-Encoding: chunked", *fields, body=body)
