"""A signed-in request beside nginx's bare proxy_pass: CPU of the proxy process per request."""

from bench.figure import Figure
from bench.macro.cast import cast
from bench.macro.pinned import cost

BAR = 1.1   # times nginx's CPU


def measure(tls: bool, quick: bool) -> Figure:
    """nginx: upstream keep-alive, buffered log, Host and X-Forwarded-* set, no more. Ours adds
    token, policy, header ownership and log. Both get the same 1 KB head and answer 100 bytes."""
    name = "request-tls" if tls else "request-plain"
    figure = Figure(name, "µs", "CPU of the proxy per signed-in request over nginx's per request")
    seconds, rounds = (2, 3) if quick else (5, 7)
    with cast() as c:
        ours, theirs = c.load(tls, True), c.load(tls, False)
        for load in (ours, theirs):
            load.run(1)
        figure.interleave(
            rounds,
            lambda: cost(c.stage.workers(), ours, seconds),
            lambda: cost(c.peer.workers(), theirs, seconds),
        )
        figure.at_most(BAR)
        figure.notes = {"p99 ms ours": ours.p99, "p99 ms theirs": theirs.p99}
    return figure


def request_tls(quick: bool) -> Figure:
    return measure(True, quick)


def request_plain(quick: bool) -> Figure:
    return measure(False, quick)
