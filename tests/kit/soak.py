"""Rows that need hours: at 1/100 of their count in every run, in full by `make soak` (SEKISHO_SOAK=1)."""

import os

import pytest

IN_FULL = bool(os.environ.get("SEKISHO_SOAK"))
soak = pytest.mark.soak       # `make soak` runs what carries it, and nothing else


def scaled(full: int, part: int = 100) -> int:
    """Return the count for this run: all of it in `make soak`, else its 1/part."""
    return full if IN_FULL else full // part
