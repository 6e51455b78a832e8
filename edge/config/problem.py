"""What is wrong with a configuration, and where."""

import difflib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

# Comparisons that the suggestions of one load may take, about 2 s. Ten thousand misspelt names of
# ten thousand groups would take an hour; what comes after gets no suggestion.
MAX_COMPARISONS = 20_000
MAX_SENTENCE = 500  # characters of one problem that are shown
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


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
        return f"{self.file}:{self.line}:{self.column}: {warning}{sentence(self.text)}"


def sentence(text: str) -> str:
    """Return what may go to a terminal: a file's escapes are shown, and its longest values cut."""
    if len(text) > MAX_SENTENCE:
        text = f"{text[: MAX_SENTENCE - 100]} … {text[-90:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can be printed and encoded, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def suggestions_bounded() -> Iterator[None]:
    """Let did_you_mean take MAX_COMPARISONS at most in here."""
    token = _left.set([MAX_COMPARISONS])
    try:
        yield
    finally:
        _left.reset(token)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return ` (did you mean “…”?)` when something known is near, else nothing."""
    left = _left.get()
    if left is not None:
        left[0] -= len(known)
        if left[0] < 0:
            return ""
    names = sorted(set(known))
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f" (did you mean “{folded[near[0]]}”?)" if near else ""
