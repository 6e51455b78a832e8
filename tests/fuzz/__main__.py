"""python -m tests.fuzz [NAME ...] [--runs N] [--seed N]: a million executions of each target.

An input that fails is written to artefacts/ before anything else happens with it."""

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.engine import Target, mutations, names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    keep = Path("artefacts")
    keep.mkdir(exist_ok=True)
    bad = 0
    for name in options.targets or names():
        target, started = Target(name), time.monotonic()
        current = keep / f"fuzz-{name}.current"
        done = 0
        print(f"{name}: {options.runs} runs, seed {options.seed}", flush=True)
        for data in mutations(target, options.runs, options.seed):
            if done % 256 == 0:
                # a crash leaves the seed and the count: enough to find the input again
                current.write_text(f"seed {options.seed}, after {done}\n")
            try:
                target.fuzz(data)
            except Exception as problem:
                found = keep / f"fuzz-{name}-{done}.bin"
                found.write_bytes(data)
                print(f"{name}: {type(problem).__name__}: {problem}; input in {found}")
                bad += 1
                if bad > 20:
                    return 1
            done += 1
        current.unlink()
        speed = done / max(time.monotonic() - started, 1e-9)
        print(f"{name}: {done} runs, {speed:.0f}/s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
