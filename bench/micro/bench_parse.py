"""One request head: this codec, httptools (llhttp, no callbacks) and h11, on the same 1,024 bytes.

    python -m bench head, or python -m pytest bench/micro/bench_parse.py

The head is what a signed-in browser sends: eight fields, a 728-byte token in the cookie. The codec
does more than its neighbours within the same figure: it knows what each field is, how the body is
framed, which fields are hop-by-hop, and has refused what section A of negative-cases.md refuses."""

import time
from collections.abc import Callable
from typing import Any

import h11
import httptools
import pytest

from _fastpath.head import normal_path
from _fastpath.http1 import parse_rounds
from bench.figure import Figure

ROUNDS = 1000  # parses a measured call, so that the call itself doesn't count
HEAD = (
    b"GET /wiki/Main_Page?x=1 HTTP/1.1\r\nHost: wiki.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.9\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
    b"Cookie: CF_Authorization=" + b"e" * 728 + b"\r\nCf-Foo: a\r\n\r\n"
)


class Deaf:
    """Hears no callback: llhttp alone."""


def codec() -> int:
    return parse_rounds(HEAD, ROUNDS)


def llhttp() -> None:
    parser = httptools.HttpRequestParser(Deaf())
    feed = parser.feed_data
    for _ in range(ROUNDS):
        feed(HEAD)


def pure_python() -> None:
    for _ in range(ROUNDS // 100):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(HEAD)
        connection.next_event()


def paths() -> None:
    for _ in range(ROUNDS):
        normal_path(b"/wiki/%4dain_Page/../Talk:Main_Page")


def head(quick: bool = False) -> Figure:
    """ns per head, ours over httptools without callbacks."""

    def spent(run: Callable[[], object], parses: int) -> float:
        begun = time.process_time()
        run()
        return (time.process_time() - begun) / parses * 1e9

    figure = Figure("head", "ns", "parse of a 1,024-byte head, over httptools without callbacks")
    rounds = 15 if quick else 101
    figure.interleave(rounds, lambda: spent(codec, ROUNDS), lambda: spent(llhttp, ROUNDS))
    figure.notes["h11"] = spent(pure_python, ROUNDS // 100)
    return figure


def note(benchmark: Any, rounds: int) -> None:
    benchmark.extra_info["ns per parse"] = round(benchmark.stats.stats.median / rounds * 1e9)


@pytest.mark.benchmark(group="head")
def test_codec(benchmark: Any) -> None:
    assert benchmark(codec) == len(HEAD) == 1024
    note(benchmark, ROUNDS)


@pytest.mark.benchmark(group="head")
def test_httptools(benchmark: Any) -> None:
    benchmark(llhttp)
    note(benchmark, ROUNDS)


@pytest.mark.benchmark(group="head")
def test_h11(benchmark: Any) -> None:
    benchmark(pure_python)
    note(benchmark, ROUNDS // 100)


@pytest.mark.benchmark(group="path")
def test_normal_path_from_python(benchmark: Any) -> None:
    benchmark(paths)
    note(benchmark, ROUNDS)
