"""`sekisho demo`: the whole system on this machine, to try by hand or to be walked by itself."""

import asyncio
import signal
import sys
import threading
import time
from pathlib import Path

import click
from rich.console import Console

from edge.cli.family import examples
from edge.demo.claim import DemoRuns
from edge.demo.processes import NotReady, crowding
from edge.demo.screen import plain, screen
from edge.demo.stage import CONFIG, Stage

LONGEST = 30  # seconds that a check takes at most, on a machine with nothing else to do


@examples(
    "sekisho demo             # until Ctrl-C; prints an address to open",
    "sekisho demo --check     # a line for each step, nobody needed",
    status="0 stopped by Ctrl-C, or all steps hold; 1 something didn't start, ended by itself, or "
    "a step failed.",
)
@click.command()
@click.option("--check", is_flag=True, help="Walk the path alone, over TLS; exit status 0 or 1.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=None,
    show_default="demo-state, with --check demo-state-check",
    help="What the demo keeps; laid anew at each start, and one demo's at a time.",
)
def demo(check: bool, folder: Path | None) -> None:
    """Try everything on this machine: edge, connector, a private application and mail."""
    folder = folder or Path("demo-state-check" if check else "demo-state")
    console = Console()
    config = _walk_config() if check else CONFIG
    stage = Stage(folder, tls=check, tell=lambda text: None, config=config)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: _interrupt())
    ok = False
    try:
        started = time.monotonic()
        stage.prepare()
        if console.is_terminal and not check:
            with console.status("starting") as status:
                stage.tell = lambda text: status.update(f"starting: {text}")
                stage.start()
        else:
            stage.tell = lambda text: click.echo(f"starting: {text}")
            stage.start()
        taken = time.monotonic() - started
        if check:
            click.echo(f"ok     {taken:6.2f} s  edge, connector, application and mail are up")
            if (busy := crowding()) > 1.5:
                click.echo(f"       this machine is busy: bounds of time count {busy:.1f} times")
            ok = asyncio.run(_walk(stage))
            taken = time.monotonic() - started
            click.echo(f"{'all steps hold' if ok else 'a step failed'}, {taken:.1f} s")
            if ok and taken > LONGEST * max(busy, crowding()):
                click.echo(f"FAILED the whole took longer than {LONGEST} s")
                ok = False
            if not ok:
                click.echo(f"logs: {stage.folder}/*.log")
        else:
            if console.is_terminal:
                console.print(screen(stage))
            else:
                click.echo(plain(stage))
            ok = _watch(stage, stopped)
    except (NotReady, DemoRuns) as problem:
        click.echo(str(problem), err=True)
    except KeyboardInterrupt:
        ok = not check
    finally:
        if not check and stage.claim is not None:
            click.echo("stopping")
        stage.stop()
    sys.exit(0 if ok else 1)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _walk_config() -> str:
    from edge.demo.walk import WALK_CONFIG

    return WALK_CONFIG


async def _walk(stage: Stage) -> bool:
    from edge.demo.walk import walk

    return await walk(stage, click.echo)


def _watch(stage: Stage, stopped: threading.Event) -> bool:
    """Return False when one of the programs ended by itself; Ctrl-C ends it otherwise."""
    while not stopped.wait(0.5):
        for child in stage.children.values():
            if not child.running():
                click.echo(f"{child.name} ended:\n{child.tail()}", err=True)
                return False
    return True
