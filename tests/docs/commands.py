"""Write docs/commands.md from the commands themselves: python -m tests.docs.commands."""

import importlib
from pathlib import Path

import click

from edge.cli.main import FAMILIES
from tests.docs.test_documents import DOCS, commands

HEAD = """\
# Commands

Written by `python -m tests.docs.commands` from the commands' own help; a test compares the two.
"""


def section(name: str, command: click.Command) -> str:
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    words = "".join(f" {p.make_metavar(click.Context(command))}" for p in arguments)
    lines = [f"## `sekisho {name}{words}`", "", (command.help or "").strip(), ""]
    options = [p for p in command.params if isinstance(p, click.Option)]
    if options:
        lines += ["| option | |", "|---|---|"]
        for o in options:
            value = "" if o.is_flag else f" {o.make_metavar(click.Context(command))}"
            names = ", ".join(f"`{n}{value}`" for n in (*o.opts, *o.secondary_opts))
            lines.append(f"| {names} | {(o.help or '').replace('|', '/')} |")
        lines.append("")
    return "\n".join(lines)


def document() -> str:
    parts = [HEAD]
    for family, (module, attribute, _) in FAMILIES.items():
        group = getattr(importlib.import_module(module), attribute)
        parts += [section(name, command) for name, command in commands(group, (family,))]
    return "\n".join(parts)


if __name__ == "__main__":
    Path(DOCS / "commands.md").write_text(document())
