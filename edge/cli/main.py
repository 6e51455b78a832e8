"""The command `sekisho`: one group, each family of commands imported only when called."""

import importlib
from typing import Any

import click

FAMILIES = {  # name: (module, attribute, one line of help)
    "edge": ("edge.cli.edge", "edge", "Run and administer the edge."),
    "tunnel": ("edge.cli.tunnel", "tunnel", "Create tunnels and run a connector."),
    "policy": ("edge.cli.policy", "policy", "Explain and test access policies."),
    "demo": ("edge.cli.demo", "demo", "Try everything on this machine."),
}


class Families(click.Group):
    """Imports a family's module only when asked for: `sekisho access` must not load the edge."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(FAMILIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in FAMILIES:
            return None
        module, attribute, _ = FAMILIES[cmd_name]
        command: Any = getattr(importlib.import_module(module), attribute)
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in FAMILIES.items()])


@click.command(cls=Families, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sekisho", prog_name="sekisho")
def main() -> None:
    """Sekisho: the checkpoint in front of your private applications."""
