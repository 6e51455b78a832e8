"""What every family of commands does alike: completion, a guess, help without a whole import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import FAMILIES, main

SEKISHO = str(Path(sys.executable).with_name("sekisho"))


def completed(words: str, at: int) -> list[str]:
    """Return what bash would be offered for the word `at` of these."""
    done = subprocess.run(
        [SEKISHO], capture_output=True, text=True, check=True,
        env={**os.environ, "_SEKISHO_COMPLETE": "bash_complete", "COMP_WORDS": words,
             "COMP_CWORD": str(at)},
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("sekisho ", list(FAMILIES)),
        ("sekisho ed", ["edge"]),
        ("sekisho edge in", ["init"]),
        ("sekisho edge service-token ro", ["rotate"]),
        ("sekisho tunnel ingress ", ["rule", "validate"]),
        ("sekisho edge status --js", ["--json"]),
        ("sekisho completion f", ["fish"]),
    ],
)
def test_completion(words: str, offered: list[str]) -> None:
    assert sorted(completed(words, len(words.split(" ")) - 1)) == sorted(offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_SEKISHO_COMPLETE={shell}_complete" in done.output


@pytest.mark.parametrize(
    ("words", "guess"),
    [(["egde"], "edge"), (["edge", "staus"], "status"), (["tunnel", "crate"], "create"),
     (["tunnel", "ingress", "rules"], "rule")],
)
def test_a_misspelt_command_is_guessed(words: list[str], guess: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert f"Did you mean '{guess}'?" in done.output


@pytest.mark.parametrize(
    "words", [["edge", "--help"], ["edge", "status"], ["edge", "reload"], ["policy", "--help"],
              ["tunnel", "list"], ["tunnel", "--help"]],
)
def test_what_only_asks_an_edge_does_not_load_the_model(words: list[str]) -> None:
    """A command's start is half of a reload; the model, the store and the crypto are most of it."""
    code = (
        "import sys\nfrom edge.cli.main import main\n"
        "from click.testing import CliRunner\n"
        f"CliRunner().invoke(main, {words!r}, env={{'SEKISHO_CONFIG': '/nowhere'}})\n"
        "heavy = {'edge.config.model', 'pydantic', 'sqlalchemy', 'cryptography', 'jinja2', 'rich'}"
        "\nprint(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
