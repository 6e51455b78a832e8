"""What the demo says once it runs: one screen on a terminal, plain lines elsewhere."""

import shlex

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge.demo.stage import MAY_ENTER, MAY_NOT, Stage, command


def facts(stage: Stage) -> list[tuple[str, str]]:
    return [
        ("open", stage.url("wiki")),
        ("may enter", f"{MAY_ENTER} (and everybody @example.com)"),
        ("may not", f"{MAY_NOT} (only from the office's network)"),
        ("mail arrives", stage.inbox_url),
    ]


def tries(stage: Stage) -> list[tuple[str, str]]:
    file = shlex.quote(str(stage.config))
    # as it is started here, and from anywhere: it needn't be on PATH
    program = shlex.join(command())
    return [
        (f"Sign in as {MAY_NOT} in a private window", "the code arrives, the policy refuses"),
        (
            "Revoke a session and watch the page's WebSocket close",
            f"{program} edge revoke -c {file} --user {MAY_ENTER}",
        ),
        ("Kill a worker and reload the page", f"kill -9 {(stage.workers() or [0])[0]}"),
    ]


def plain(stage: Stage) -> str:
    lines = [f"{name + ':':14}{value}" for name, value in facts(stage)]
    lines += [f"try: {what}: {how}" for what, how in tries(stage)]
    lines.append(f"configuration: {stage.config}; stop with Ctrl-C or SIGTERM")
    return "\n".join(lines)


def screen(stage: Stage) -> RenderableType:
    top = Table.grid(padding=(0, 2))
    for name, value in facts(stage):
        style = f"bold link {value}" if value.startswith("http") else ""
        top.add_row(Text(name, style="dim"), Text(value, style=style))
    ideas = Table.grid(padding=(0, 1))
    for number, (what, how) in enumerate(tries(stage), 1):
        ideas.add_row(Text(f"{number}.", style="red"), Text(what))
        ideas.add_row("", Text(how, style="cyan"))
    foot = Text(
        f"The configuration is {stage.config}: change it and "
        "reload the page. Ctrl-C stops everything.",
        style="dim",
    )
    body = Group(top, Text(), Text("Three things to try", style="bold"), ideas, Text(), foot)
    return Panel(body, title="[bold]Sekisho 関所[/] is running", border_style="red", padding=(1, 2))
