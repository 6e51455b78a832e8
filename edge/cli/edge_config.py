"""`sekisho edge init|check|schema`: the configuration before anything runs.

Exit status: 0 done; 1 something could not be written; 2 the configuration has errors."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from _fastpath.snapshot import Snapshot
from edge.cli.admin_client import DEFAULT_CONFIG
from edge.cli.family import examples
from edge.config import Loaded, load
from edge.config import schema as json_schema
from edge.config.model import Config
from edge.config.outside import load_beside
from edge.config.starter import starter
from edge.identity.master_key import MasterKey
from edge.server.folder import Folder, newest
from edge.server.start import folders_of

config_option = click.option(
    "-c", "--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG,
    envvar="SEKISHO_CONFIG", show_default=True, help="The edge's sekisho.yml.",
)  # fmt: skip


def show(loaded: Loaded, *, warnings: bool = True) -> None:
    for problem in sorted([*loaded.errors, *(loaded.warnings if warnings else ())]):
        click.echo(str(problem), err=True)


@examples("sekisho edge init -c /etc/sekisho/sekisho.yml --auth-domain login.example.com")
@click.command()
@config_option
@click.option(
    "--auth-domain", default="login.example.com", show_default=True,
    help="Host name of sign-in, for a new file.",
)  # fmt: skip
def init(config: Path, auth_domain: str) -> None:
    """Write a commented starter configuration and this installation's keys (mode 0600).

    What is there already is kept: a configuration file, and never ever a key."""
    try:
        made = write_new(config, starter(auth_domain))
        if made:
            (config.parent / "credentials").mkdir(mode=0o700, exist_ok=True)
        loaded = load(config)
        if loaded.config is None:
            show(loaded)
            sys.exit(2)
        state, run = folders_of(loaded.config, config)
        Folder(state, run).make()
        key = loaded.config.master_key_file or state / "keys" / "master.key"
        new_key = not key.exists()
        if new_key:
            MasterKey.create(key)
    except OSError as error:
        click.echo(f"{error.filename}: {error.strerror}", err=True)
        sys.exit(1)
    click.echo(f"{'wrote' if made else 'kept '} {config}")
    named = click.get_current_context().get_parameter_source("auth_domain")
    told, asked = loaded.config.auth_domain, named is not ParameterSource.DEFAULT
    if not made and asked and auth_domain != told:
        click.echo(
            f"--auth-domain {auth_domain} was ignored: the file is there and says {told}", err=True
        )
    click.echo(
        f"{'made ' if new_key else 'kept '} {key}  (back it up: without it the state can't be read)"
    )
    if made:
        click.echo(
            f"Next: put the certificate's key into {config.parent / 'credentials' / 'tls.key'}, "
            f"fill in {config}, then `sekisho edge check -c {config}`."
        )
    else:
        show(loaded)


def write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet; False when it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return True


@examples("sekisho edge check -c sekisho.yml", "sekisho edge check --json | jq .problems")
@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print problems as JSON.")
def check(config: Path, as_json: bool) -> None:
    """Check a configuration with all its files: every error and warning with its place."""
    loaded = load_beside(config, lambda found: settings_of(found, config))
    if as_json:
        problems = [
            {"file": p.file, "line": p.line, "column": p.column, "level": p.level, "text": p.text}
            for p in sorted([*loaded.errors, *loaded.warnings])
        ]
        click.echo(
            json.dumps({"ok": loaded.ok, "problems": problems}, ensure_ascii=False, indent=2)
        )
    else:
        show(loaded)
    if not loaded.ok:
        sys.exit(2)
    if not as_json and loaded.config is not None:
        apps, routes = len(loaded.config.applications), len(loaded.config.routes)
        click.echo(f"{config}: good ({apps} applications, {routes} routes)")


def settings_of(found: Config, path: Path) -> dict[str, Any] | None:
    """Return the settings of the snapshot that this configuration's edge runs, if any."""
    state, run = folders_of(found, path)
    try:
        snapshot = newest(Folder(state, run).snapshots, lambda number, file: Snapshot.open(file))
    except OSError:  # not ours to read
        return None
    return None if snapshot is None else snapshot.settings


@examples("sekisho edge schema > sekisho.schema.json")
@click.command()
def schema() -> None:
    """Print the JSON Schema of sekisho.yml, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
