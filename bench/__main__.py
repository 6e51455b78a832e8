"""python -m bench FIGURE|all [--quick] [--json] [--into FOLDER]: measure and print.

Text for people, then one line of JSON, always the last; --json prints that alone. Exit status: 0
measured, whether or not the bars are met (the JSON says); 1 when something went wrong, and then
there is no figure."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench.figure import Figure

FIGURES = {  # name: (module, function)
    "request-tls": ("bench.macro.request", "request_tls"),
    "request-plain": ("bench.macro.request", "request_plain"),
    "tunnel": ("bench.macro.tunnel", "tunnel"),
    "bulk-down": ("bench.macro.tunnel", "bulk"),
    "idle": ("bench.macro.idle", "idle"),
    "reload": ("bench.macro.reload", "reload"),
    "kills": ("bench.macro.kills", "kills"),
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
    parser.add_argument("--json", action="store_true", help="print JSON alone, one line a figure")
    parser.add_argument("--into", type=Path, help="keep NAME.json and NAME.txt in this folder")
    options = parser.parse_args()
    # starts and restarts of programs count in some: with compiled files kept, as people have them
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in FIGURES if options.figure == "all" else [options.figure]:
        module, function = FIGURES[name]
        measure: Callable[[bool], Figure] = getattr(importlib.import_module(module), function)
        figure = measure(options.quick)
        text = "" if options.json else figure.text() + "\n"
        print(text + figure.json(), flush=True)
        if options.into:
            options.into.mkdir(parents=True, exist_ok=True)
            (options.into / f"{name}.json").write_text(figure.json() + "\n")
            (options.into / f"{name}.txt").write_text(figure.text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
