"""Find the fuzz targets, mutate their corpora, replay them.

A target is tests/fuzz/fuzz_NAME.py with `fuzz(data: bytes)`; its seeds are the files of
tests/fuzz/corpus/NAME/, its optional TOKENS the words that its grammar knows. No coverage feedback:
the seeds and tokens carry the structure, ASan and UBSan do the judging."""

import importlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
EDGES = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\r\n", b" "]
MAX = 1 << 16   # bytes of one input


class Target:
    def __init__(self, name: str) -> None:
        module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
        self.name = name
        self.fuzz: Callable[[bytes], None] = module.fuzz
        self.tokens: list[bytes] = list(getattr(module, "TOKENS", [])) + EDGES

    def seeds(self) -> list[bytes]:
        folder = HERE / "corpus" / self.name
        return [p.read_bytes() for p in sorted(folder.glob("*")) if p.is_file()] or [b""]


def names() -> list[str]:
    return sorted(p.stem.removeprefix("fuzz_") for p in HERE.glob("fuzz_*.py"))


def mutations(target: Target, runs: int, seed: int) -> Iterator[bytes]:
    """Yield `runs` inputs, the seeds first; the same ones for the same seed number."""
    rng = random.Random(seed)
    pool = target.seeds()
    yield from pool[:runs]
    for _ in range(runs - min(runs, len(pool))):
        data = bytearray(rng.choice(pool))
        for _ in range(1 + int(rng.expovariate(0.5))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(7):
                case 0 if data:
                    data[at % len(data)] ^= 1 << rng.randrange(8)
                case 1 if data:
                    data[at % len(data)] = rng.randrange(256)
                case 2:
                    data[at:at] = rng.choice(target.tokens)
                case 3:
                    del data[at : at + 1 + int(rng.expovariate(0.2))]
                case 4:
                    data[at:at] = data[at : at + rng.randrange(64)]
                case 5:
                    other = rng.choice(pool)
                    data[at:] = other[rng.randrange(len(other) + 1) :]
                case 6:
                    token = rng.choice(target.tokens)
                    data[at : at + len(token)] = token
        yield bytes(data[:MAX])
