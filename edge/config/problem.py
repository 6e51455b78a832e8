"""What is wrong with a configuration, and where."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Mark(NamedTuple):
    """A place in a file, both numbers from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error or warning; str() is what the operator reads."""

    file: str
    line: int
    column: int
    text: str
    level: str = "error"  # or "warning"

    def __str__(self) -> str:
        warning = "warning: " if self.level == "warning" else ""
        return f"{self.file}:{self.line}:{self.column}: {warning}{self.text}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean “…”?)` when something known is near, else nothing."""
    names = sorted(set(known))
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f" (did you mean “{folded[near[0]]}”?)" if near else ""
