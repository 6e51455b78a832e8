"""`sekisho completion`: what a shell needs to complete our commands and options."""

import click

from edge.cli.family import examples

SHELLS = ("bash", "zsh", "fish")


@examples(
    'eval "$(sekisho completion bash)"                       # a line for ~/.bashrc',
    'eval "$(sekisho completion zsh)"                        # a line for ~/.zshrc',
    "sekisho completion fish > ~/.config/fish/completions/sekisho.fish",
)
@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the lines that make SHELL complete commands and options."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # the choice admits what click knows
    click.echo(found(ctx.find_root().command, {}, "sekisho", "_SEKISHO_COMPLETE").source())
