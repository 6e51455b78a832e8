"""The worked examples of docs/policies.md hold, and docs/configuration.md is what the model
says."""

import re
from pathlib import Path

import pytest

from edge.config.criteria import CRITERIA
from edge.config.reference import markdown
from edge.config.rehearsal import Rehearsal, read_cases

DOCS = Path(__file__).parent.parent.parent / "docs"
BLOCKS = re.findall(
    r"```yaml\n# (example|cases) (\d+)\n(.*?)```", (DOCS / "policies.md").read_text(), re.S
)
EXAMPLES = {(kind, number): text for kind, number, text in BLOCKS}


@pytest.mark.parametrize("number", sorted({number for _, number in EXAMPLES}))
def test_examples_hold(number: str, tmp_path: Path) -> None:
    """Q02: precedence of deny, allow, bypass, require and exclude, as the page tells it."""
    (tmp_path / "sekisho.yml").write_text(EXAMPLES["example", number])
    (tmp_path / "cases.yml").write_text(EXAMPLES["cases", number])
    stage = Rehearsal(tmp_path / "sekisho.yml")
    results = [stage.run(case) for case in read_cases(tmp_path / "cases.yml")]
    assert len(results) >= 3
    assert not [one for one in results if not one["passed"]]


def test_every_criterion_is_told() -> None:
    text = (DOCS / "policies.md").read_text()
    assert not [name for name in CRITERIA if f"`{name}`" not in text]


def test_the_reference_is_the_models() -> None:
    assert (DOCS / "configuration.md").read_text() == markdown(), (
        "python -m edge.config.reference > docs/configuration.md"
    )
