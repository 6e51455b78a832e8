"""A group of commands that says more than click does: examples, a guess at a misspelt word, and
commands in files of their own that are read only when they are called."""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

C = TypeVar("C", bound=click.Command)
Lazy = dict[str, tuple[str, str, str]]  # name: (module, attribute, one line of help)


class Family(click.Group):
    """`lazy` names commands whose module is imported when one is called, not to list them."""

    def __init__(self, *args: Any, lazy: Lazy | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.lazy: Lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy:
            module, attribute, _ = self.lazy[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.list_commands(ctx), 1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None

    def lines(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return each command with its one line of help."""
        found = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                found.append((name, self.lazy[name][2]))
            elif command := super().get_command(ctx, name):
                found.append((name, command.get_short_help_str(80)))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.lines(ctx))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in self.lines(ctx)
                if name.startswith(incomplete)]


def examples(*lines: str, status: str = "") -> Callable[[C], C]:
    """Show command lines, and what exit statuses mean, at the end of a command's help."""

    def give(command: C) -> C:
        word = "Example" if len(lines) == 1 else "Examples"
        parts = ["\b", f"{word}:", *(f"  {line}" for line in lines)] if lines else []
        command.epilog = "\n".join(parts) + (f"\n\nExit status: {status}" if status else "")
        return command

    return give
