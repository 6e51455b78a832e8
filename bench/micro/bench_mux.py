"""The mux alone beside HashiCorp's: both ends in one process, joined in memory; CPU time."""

import json
import subprocess
import time

from _fastpath.session import carry, converse
from bench.figure import Figure
from tests.kit.yamux_peers import hashicorp

STREAMS = 64


def theirs(requests: int, megabytes: int) -> dict[str, float]:
    done = subprocess.run(
        [*hashicorp(), "bench", str(requests), str(megabytes)], capture_output=True, check=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def mux(quick: bool = False) -> Figure:
    """us of CPU per request, 1,000 bytes asked and 300 answered on each of 64 streams."""
    requests = 16_000 if quick else 160_000
    frames = 0

    def ours() -> float:
        nonlocal frames
        begun = time.process_time()
        frames = converse(STREAMS, requests // STREAMS, 1000, 300)
        return (time.process_time() - begun) / requests * 1e6

    figure = Figure("mux", "us CPU", "one request through both ends of the mux over HashiCorp's")
    figure.interleave(3 if quick else 9, ours, lambda: theirs(requests, 1)["request"])
    figure.notes["frames/s"] = frames / requests / min(figure.ours) * 1e6
    return figure


def bulk(quick: bool = False) -> Figure:
    """us of CPU per megabyte on one stream."""
    megabytes = 100 if quick else 1000

    def ours() -> float:
        begun = time.process_time()
        came = carry(megabytes * 1_000_000)
        return (time.process_time() - begun) / came * 1e12

    figure = Figure(
        "mux-bulk", "us CPU/MB", "bytes on one stream through both ends over HashiCorp's"
    )
    figure.interleave(3 if quick else 9, ours, lambda: theirs(64, megabytes)["bulk"])
    figure.notes["MB/s"] = 1e6 / min(figure.ours)
    return figure
