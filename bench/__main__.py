"""python -m bench FIGURE|all [--quick] [--json]: measure and print, one line a figure."""

import argparse
import importlib
import sys
from collections.abc import Callable

from bench.figure import Figure

FIGURES = {  # name: (module, function)
    "request-tls": ("bench.macro.request", "request_tls"),
    "request-plain": ("bench.macro.request", "request_plain"),
    "tunnel": ("bench.macro.tunnel", "tunnel"),
    "bulk-down": ("bench.macro.tunnel", "bulk"),
    "idle": ("bench.macro.idle", "idle"),
    "reload": ("bench.macro.reload", "reload"),
    "head": ("bench.micro.bench_parse", "head"),
    "policy": ("bench.micro.bench_policy", "policy"),
    "configuration": ("bench.micro.bench_policy", "configuration"),
    "token": ("bench.micro.bench_token", "token"),
    "tls": ("bench.micro.bench_tls", "tls"),
    "mux": ("bench.micro.bench_mux", "mux"),
    "mux-bulk": ("bench.micro.bench_mux", "bulk"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    for name in FIGURES if options.figure == "all" else [options.figure]:
        module, function = FIGURES[name]
        measure: Callable[[bool], Figure] = getattr(importlib.import_module(module), function)
        figure = measure(options.quick)
        print(figure.json() if options.json else figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
