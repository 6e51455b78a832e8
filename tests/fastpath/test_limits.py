"""Every bound has a name, a unit and a consequence, and stands in docs/limits.md."""

import re
from pathlib import Path

import pytest

from _fastpath import limits
from tests.kit.limits_document import document, rows

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "_fastpath/limits.pxd").read_text(encoding="utf-8")
BOUNDS = [row for row in rows(SOURCE) if row[0]]


def test_every_bound_is_read_from_the_file() -> None:
    assert [name for name, _, _ in BOUNDS] == re.findall(r"^    (\w+) = ", SOURCE, re.M)


@pytest.mark.parametrize(("name", "value", "comment"), BOUNDS, ids=[b[0] for b in BOUNDS])
def test_a_bound_says_its_unit_and_python_sees_its_number(
    name: str, value: str, comment: str
) -> None:
    assert getattr(limits, name) == int(value, 0)
    assert len(comment.split()) >= 3


def test_the_document_is_up_to_date() -> None:
    text = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    assert text == document(SOURCE), "run python -m tests.kit.limits_document"
