"""The command `sekisho`: one group, each family of commands imported only when called."""

import click

from edge.cli.family import Family, examples

FAMILIES = {  # name: (module, attribute, one line of help)
    "edge": ("edge.cli.edge", "edge", "Run and administer the edge."),
    "tunnel": ("edge.cli.tunnel", "tunnel", "Create tunnels and run a connector."),
    "policy": ("edge.cli.policy", "policy", "Explain and test access policies."),
    "demo": ("edge.cli.demo", "demo", "Try everything on this machine."),
    "completion": ("edge.cli.completion", "completion", "Complete commands in bash, zsh, fish."),
}


@examples(
    "sekisho demo                                       # everything, on this machine",
    "sekisho edge init -c /etc/sekisho/sekisho.yml      # a first configuration",
    "sekisho policy explain https://wiki.example.com/ --email ada@example.com",
    status="0 done; 1 it didn't work, or the edge says no; 2 the command line or a configuration "
    "is wrong. Each family says more; of `policy explain` a deny is 0, or 1 with --exit-code.",
)
@click.command(
    cls=Family, lazy=FAMILIES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="sekisho", prog_name="sekisho")
def main() -> None:
    """Sekisho: the checkpoint in front of your private applications."""
