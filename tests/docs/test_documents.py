"""Every key, limit, reason, command and flag is in the documents; every link there leads on."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from edge.cli.main import FAMILIES, main

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


def keys(schema: dict[str, Any]) -> set[str]:
    """Return every property name in a JSON schema."""
    found: set[str] = set()
    if isinstance(schema, dict):
        found |= set(schema.get("properties", {}))
        for value in schema.values():
            found |= keys(value)
    elif isinstance(schema, list):
        for value in schema:
            found |= keys(value)
    return found


def test_every_configuration_key_is_documented() -> None:
    from edge.config import schema

    text = (DOCS / "configuration.md").read_text()
    missing = sorted(k for k in keys(schema()) if f"`{k}`" not in text)
    assert not missing


def test_every_key_of_a_connector_is_documented() -> None:
    from edge.connector.ingress import KEYS, RULE_KEYS
    from edge.connector.origin_request import ORIGIN_KEYS

    text = (DOCS / "tunnels.md").read_text()
    assert not sorted({k for k in (*KEYS, *RULE_KEYS, *ORIGIN_KEYS) if f"`{k}`" not in text})


def test_every_reason_is_documented() -> None:
    from _fastpath.errors import reasons

    text = (DOCS / "reasons.md").read_text()
    names = [r if isinstance(r, str) else r[0] for r in reasons()]
    assert len(names) > 30
    assert not [n for n in names if n and f"`{n}`" not in text]


def test_every_limit_is_documented() -> None:
    source = (ROOT / "_fastpath" / "limits.pxd").read_text()
    names = re.findall(r"^\s+([A-Z][A-Z0-9_]+)\s*=", source, re.M)
    text = (DOCS / "limits.md").read_text()
    assert len(names) > 10
    assert not [n for n in names if f"`{n}`" not in text]


def commands(group: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):   # some families find a command when asked
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, (*path, name))
    else:
        yield " ".join(path), group


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_command_and_option_is_documented(family: str) -> None:
    module, attribute, _ = FAMILIES[family]
    text = (DOCS / "commands.md").read_text()
    missing = []
    for name, command in commands(getattr(importlib.import_module(module), attribute), (family,)):
        section = re.search(rf"^## `sekisho {re.escape(name)}.*?(?=^## |\Z)", text, re.M | re.S)
        if section is None:
            missing.append(name)
            continue
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                missing += [f"{name} {o}" for o in parameter.opts if f"`{o}" not in section.group()]
    assert not missing, "tests/docs/commands.py writes docs/commands.md"


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for family, (module, attribute, _) in FAMILIES.items():
        found += commands(getattr(importlib.import_module(module), attribute), (family,))
    return found


def parsed(words: list[str]) -> str:
    """Walk from `main` as click would, raise what it would, and return the command's name."""
    command: click.Command = main
    context = command.make_context("sekisho", words)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args])
        assert name and found
        command, context = found, found.make_context(name, rest, parent=context)
    return context.command_path.removeprefix("sekisho ")


@pytest.mark.parametrize(("name", "command"), every_command(), ids=lambda v: str(v)[:40])
def test_every_command_shows_examples_that_parse(name: str, command: click.Command) -> None:
    with click.Context(command, info_name=name) as context:
        text = command.get_help(context)
    shown = re.search(r"Examples?:\n(.*?)(?:\n\n|\Z)", text, re.S)
    assert shown, "@examples of edge/cli/family.py"
    for line in shown.group(1).splitlines():
        words = shlex.split(re.split(r"\s#\s", line)[0])
        while "=" in words[0]:   # of the environment
            words = words[1:]
        for run in " ".join(map(shlex.quote, words)).replace("'&&'", "&&").split(" && "):
            first = shlex.split(re.split(r" '?[|<>]", run)[0])
            if first[0] != "eval":
                assert first[0] == "sekisho"
                assert parsed(first[1:]).split()[0] == name.split()[0]
    assert f"sekisho {name.split()[0]}" in shown.group(1)


def test_every_family_says_its_exit_statuses() -> None:
    for family, (module, attribute, _) in FAMILIES.items():
        group = getattr(importlib.import_module(module), attribute)
        if isinstance(group, click.Group):
            assert "Exit status: 0 " in (group.epilog or ""), family


def test_commands_page_is_the_commands_own_help() -> None:
    from tests.docs.commands import document

    assert (DOCS / "commands.md").read_text() == document(), "python -m tests.docs.commands"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        local = "://" not in target and not target.startswith("#")
        if local and not (page.parent / target.split("#")[0]).exists():
            broken.append(target)
    assert not broken


def test_the_readme_names_its_commands() -> None:
    text = (ROOT / "README.md").read_text()
    for word in ("apt install git make gcc python3-venv python3-dev libssl-dev", "make demo",
                 "make demo-check", "make test", "make check"):
        assert word in text
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text + contributing, re.M))
    assert named <= targets, named - targets
