"""Write docs/commands.md from the commands themselves: python -m tests.docs.commands."""

import importlib
import inspect
import re
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
    lines = [f"## `sekisho {name}{words}`", "", inspect.cleandoc(command.help or "").replace("\b\n", ""), ""]
    options = [p for p in command.params if isinstance(p, click.Option)]
    if options:
        lines += ["| option | |", "|---|---|"]
        for o in options:
            value = "" if o.is_flag else f" {o.make_metavar(click.Context(command))}"
            names = ", ".join(f"`{n}{value}`" for n in (*o.opts, *o.secondary_opts))
            lines.append(f"| {names} | {(o.help or '').replace('|', '/')} |")
        lines.append("")
    if command.epilog:
        shown = re.search(r"Examples?:\n(.*?)(?:\n\n|\Z)", command.epilog, re.S)
        if shown:
            lines += ["```sh", inspect.cleandoc(shown.group(1)), "```", ""]
    return "\n".join(lines)


def document() -> str:
    parts = [HEAD]
    for family, (module, attribute, _) in FAMILIES.items():
        group = getattr(importlib.import_module(module), attribute)
        status = re.search(r"Exit status: (.*)", group.epilog or "")
        if status:
            parts.append(f"# `sekisho {family}`\n\nExit status: {status.group(1)}\n")
        parts += [section(name, command) for name, command in commands(group, (family,))]
    return "\n".join(parts)


if __name__ == "__main__":
    Path(DOCS / "commands.md").write_text(document())
