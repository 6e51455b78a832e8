"""Every bound has a name, a unit and a consequence, and stands in docs/limits.md."""

import re
from pathlib import Path

import pytest

from _fastpath import limits

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "_fastpath/limits.pxd").read_text()
NAMES = re.findall(r"^    ([A-Z][A-Z0-9_]+) = ", SOURCE, re.M)
DOCUMENT = (ROOT / "docs/limits.md").read_text()


def comment(name: str) -> str:
    found = re.search(rf"^    {name} = \S+ *((?:#.*\n\s*)+)", SOURCE, re.M)
    assert found, name
    return " ".join(re.findall(r"#\s*(.*)", found[1]))


@pytest.mark.parametrize("name", NAMES)
def test_said_where_it_stands(name: str) -> None:
    assert ";" in comment(name) or ":" in comment(name), "unit; consequence"
    assert isinstance(getattr(limits, name), int)


@pytest.mark.parametrize("name", NAMES)
def test_documented(name: str) -> None:
    rows = re.findall(rf"^\| `{name}` \| ([0-9,]+) \| [^|]+ \| [^|]+ \|$", DOCUMENT, re.M)
    assert len(rows) == 1, "docs/limits.md needs exactly one row of four columns"
    assert int(rows[0].replace(",", "")) == getattr(limits, name)


def test_nothing_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.M)) == set(NAMES)
