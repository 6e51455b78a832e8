"""`sekisho edge`: run the edge, and talk to one that runs.

Exit status: 0 done; 1 the edge can't be reached, said no, or (status) isn't ready; 2 the
configuration or the command line is wrong."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import click

from edge.cli.admin_client import DEFAULT_CONFIG, AdminClient, AdminError
from edge.cli.duration import DURATION
from edge.cli.family import Family, examples

CONFIG_COMMANDS = {  # of another file: they load the whole model
    "init": ("edge.cli.edge_config", "init", "Write a first configuration and the keys."),
    "check": ("edge.cli.edge_config", "check", "Check a configuration with all its files."),
    "schema": ("edge.cli.edge_config", "schema", "Print the JSON Schema, for editors."),
}
STATUS = (
    "0 done; 1 the edge can't be reached, said no, or (status) isn't ready; 2 the configuration "
    "or the command line is wrong."
)

config_option = click.option(
    "-c", "--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG,
    envvar="SEKISHO_CONFIG", show_default=True, help="The edge's sekisho.yml.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@examples(
    "sekisho edge init -c /etc/sekisho/sekisho.yml      # once",
    "sekisho edge check && sekisho edge reload          # after each change",
    status=STATUS,
)
@click.group(cls=Family, lazy=CONFIG_COMMANDS)
def edge() -> None:
    """Run and administer the edge.

    All but init, check, schema and run speak to the running edge through a socket in its run
    folder: as root, or as the edge's own user."""


@examples("sekisho edge run -c /etc/sekisho/sekisho.yml")
@edge.command()
@config_option
def run(config: Path) -> None:
    """Run the edge in the foreground until SIGTERM or Ctrl-C (SIGHUP reloads).

    A configuration with errors starts nothing: they are printed, exit status 2."""
    from edge.server.start import StartRefused, exec_master

    try:
        exec_master(config)
    except StartRefused as refused:
        for problem in refused.problems:
            click.echo(problem, err=True)
        sys.exit(2)


@examples("sekisho edge reload", "sekisho edge check && sekisho edge reload")
@edge.command()
@config_option
@json_option
def reload(config: Path, as_json: bool) -> None:
    """Read the configuration again; on any error nothing changes (exit status 2)."""
    try:
        answer = AdminClient(config).call("POST", "/reload", {})
    except AdminError as error:
        if error.status == 422:
            if as_json:
                _print_json(error.answer)
            for problem in [] if as_json else error.answer["errors"]:
                click.echo(problem, err=True)
            version = error.answer["version"]
            click.echo(f"Nothing was changed: version {version} keeps running.", err=True)
            sys.exit(2)
        _fail(error)
    if as_json:
        _print_json(answer)
        return
    for warning in answer["warnings"]:
        click.echo(warning, err=True)
    workers = ", ".join(f"{slot}: {at}" for slot, at in sorted(answer["workers"].items()))
    click.echo(f"Version {answer['version']} is published (workers run {workers}).")
    if not answer["everywhere"]:
        click.echo("Not every worker runs it yet; `sekisho edge status` shows which.", err=True)
        sys.exit(1)


@examples("sekisho edge status", "sekisho edge status --json | jq .workers")
@edge.command()
@config_option
@json_option
def status(config: Path, as_json: bool) -> None:
    """Show the edge's workers, tunnels and last reload; exit status 0 when it is ready."""
    answer = _call(config, "GET", "/status")
    if as_json:
        _print_json(answer)
    else:
        _print_status(answer)
    sys.exit(0 if answer["ready"] else 1)


@examples("sekisho edge applications", "sekisho edge applications --json")
@edge.command()
@config_option
@json_option
def applications(config: Path, as_json: bool) -> None:
    """List the applications that the edge runs, with the AUD tag that each one's origin checks."""
    answer = _call(config, "GET", "/applications")
    if as_json:
        _print_json(answer)
        return
    rows = [
        (one["name"], one["aud"], ", ".join(one["domains"])) for one in answer["applications"]
    ]
    _print_table(("application", "aud", "covers"), rows)


@examples(
    "sekisho edge revoke --email mallory@example.com",
    "sekisho edge revoke --application Wiki",
    "sekisho edge revoke --token - < token.txt",
)
@edge.command()
@config_option
@json_option
@click.option("--email", "--user", "email", metavar="EMAIL", help="Everything of one person.")
@click.option("--session", metavar="ID", help="One sign-in and all that came from it.")
@click.option(
    "--token", metavar="TOKEN",
    help="One application session, by its identity_nonce; - reads it or the token from standard "
    "input.",
)
@click.option("--application", metavar="NAME", help="Every session of one application.")
@click.option(
    "--service-token", metavar="NAME",
    help="A service token by name or client id, for ever: only another one, created anew, will do.",
)
@click.option("--credential", metavar="ID", help="A tunnel's credential, for ever.")
def revoke(config: Path, as_json: bool, **what: str | None) -> None:
    """End access now: refused within 5 s everywhere, open connections are closed.

    People may sign in again where a policy still admits them: change the policy, too."""
    chosen = {kind: value for kind, value in what.items() if value is not None}
    if len(chosen) != 1:
        raise click.UsageError(
            "name exactly one of --email, --session, --token, --application, --service-token, "
            "--credential"
        )
    (kind, value), = chosen.items()
    if kind == "token":
        if value.count(".") == 2:
            raise click.UsageError(
                "a token among the arguments is readable by every user of this machine and stays "
                "in the shell's history: give --token - and the token on standard input"
            )
        value = _nonce_of(sys.stdin.read().strip() if value == "-" else value)
    answer = _call(
        config, "POST", "/revoke", {"kind": "user" if kind == "email" else kind, "id": value}
    )
    if as_json:
        _print_json(answer)
    else:
        click.echo(f"Revoked: {kind.replace('_', ' ')} {value}.")


@examples(
    "sekisho edge rotate-keys",
    "sekisho edge rotate-keys --master",
    "sekisho edge rotate-keys --master --key-file /etc/sekisho/credentials/master.key.new",
)
@edge.command("rotate-keys")
@config_option
@json_option
@click.option("--master", is_flag=True, help="Seal every secret at rest under a new master key.")
@click.option(
    "--key-file", type=click.Path(path_type=Path), metavar="PATH",
    help="With --master: write the new key there, where only its owner can replace the old file.",
)
def rotate_keys(config: Path, as_json: bool, master: bool, key_file: Path | None) -> None:
    """Make a new signing key; the old one verifies for seven days more.

    With --master, a new master key instead: sessions and signing keys stay as they are. A command
    that was interrupted can be given again."""
    if key_file is not None and not master:
        raise click.UsageError("--key-file belongs to --master")
    if master:
        _rotate_master(config, as_json, key_file)
        return
    answer = _call(config, "POST", "/rotate-keys", {})
    if as_json:
        _print_json(answer)
    else:
        click.echo(f"New key {answer['kid']}: it signs a minute from now.")


def _rotate_master(config: Path, as_json: bool, key_file: Path | None) -> None:
    body = {} if key_file is None else {"key": _new_master_key(key_file)}
    answer = _call(config, "POST", "/rotate-keys/master", body)
    if as_json:
        _print_json(answer)
    elif answer["in_place"]:
        click.echo(f"Every secret is sealed under master key {answer['id']} ({answer['file']}).")
        click.echo("Keep a copy of it; backups of before open with the key of before.", err=True)
        if answer["warning"]:
            click.echo(f"But {answer['warning']}.", err=True)
    else:
        click.echo(f"Every secret is sealed under master key {answer['id']} ({key_file}).")
        click.echo(
            f"The edge read the key of before from {answer['file']}: put {key_file} where that "
            f"comes from, then restart the edge. Until then it starts with either.", err=True,
        )


def _new_master_key(path: Path) -> str:
    """Return the text of the key in this file, made now if there is none."""
    from edge.identity.master_key import KeyRefused, MasterKey

    try:
        if not path.exists():
            MasterKey.create(path)
        return MasterKey.load(path).text()
    except (KeyRefused, OSError) as error:
        _fail(AdminError(str(error)))


@edge.group("service-token", cls=Family)
def service_token() -> None:
    """What programs show instead of signing in."""


@examples('sekisho edge service-token create "Nightly build" --duration 90d')
@service_token.command("create")
@config_option
@json_option
@click.argument("name")
@click.option(
    "--duration", type=DURATION, default="365d", show_default=True,
    help="How long it is good: 90s, 15m, 24h, 30d.",
)
def service_token_create(config: Path, as_json: bool, name: str, duration: int) -> None:
    """Make a service token; its secret is shown this once."""
    answer = _call(config, "POST", "/service-tokens", {"name": name, "duration": duration})
    _print_secret(answer, as_json)


@examples("sekisho edge service-token list")
@service_token.command("list")
@config_option
@json_option
def service_token_list(config: Path, as_json: bool) -> None:
    """List service tokens and whether they are good; secrets can't be shown again.

    A revoked token never comes back: delete it, then create one of the same name."""
    answer = _call(config, "GET", "/service-tokens")
    if as_json:
        _print_json(answer)
        return
    rows = [
        (row["name"], row["state"], row["client_id"], _day(row["expires"]), row["id"])
        for row in answer["service_tokens"]
    ]
    _print_table(("name", "state", "client id", "expires", "id"), rows)


@examples('sekisho edge service-token rotate "Nightly build" --grace 7d')
@service_token.command("rotate")
@config_option
@json_option
@click.argument("name")
@click.option(
    "--grace", type=DURATION, default="0s", show_default=True,
    help="How long the old secret still works (at most 30d).",
)
def service_token_rotate(config: Path, as_json: bool, name: str, grace: int) -> None:
    """Give a service token (by name or id) a new secret."""
    path = f"/service-tokens/{quote(name, safe='')}/rotate"
    answer = _call(config, "POST", path, {"grace": grace})
    _print_secret(answer, as_json)


@examples('sekisho edge service-token delete "Nightly build"')
@service_token.command("delete")
@config_option
@json_option
@click.argument("name")
def service_token_delete(config: Path, as_json: bool, name: str) -> None:
    """Delete a service token (by name or id): refused everywhere within 5 s."""
    answer = _call(config, "DELETE", f"/service-tokens/{quote(name, safe='')}")
    if as_json:
        _print_json(answer)
    else:
        click.echo(f"Deleted: {answer['name']} ({answer['client_id']}).")


def _call(
    config: Path, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    try:
        return AdminClient(config).call(method, path, body)
    except AdminError as error:
        _fail(error)


def _fail(error: AdminError) -> NoReturn:
    click.echo(f"sekisho: {error.sentence}", err=True)
    for detail in error.answer.get("errors", []):
        click.echo(f"    {detail}", err=True)
    sys.exit(1)


def _nonce_of(token: str) -> str:
    """Return a token's identity_nonce; a text without dots is one already."""
    if token.count(".") != 2:
        return token
    import base64

    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return str(claims["identity_nonce"])
    except (ValueError, KeyError, TypeError):
        raise click.UsageError("--token is neither a token of ours nor an identity_nonce") from None


def _print_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _print_secret(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(answer)
        return
    click.echo(f"CF-Access-Client-Id: {answer['client_id']}")
    click.echo(f"CF-Access-Client-Secret: {answer['client_secret']}")
    click.echo(
        f"Good until {_day(answer['expires'])}. The secret is not shown again.", err=True
    )


def _print_status(answer: dict[str, Any]) -> None:
    state = "ready" if answer["ready"] else "NOT READY"
    since = _day(answer["control"]["since"])
    click.echo(
        f"Version {answer['version']}, {state}. "
        f"Master {answer['master']}, control {answer['control']['pid']} since {since}."
    )
    click.echo(f"Configuration: {answer['configuration']}")
    for listener in answer["listeners"]:
        click.echo(f"Listens at {listener['address']} ({listener['kind']})")
    click.echo()
    rows = [
        tuple(
            "-" if worker[name] is None else str(worker[name])
            for name in ("slot", "pid", "version", "connections", "links")
        )
        for worker in answer["workers"]
    ]
    _print_table(("worker", "pid", "version", "connections", "links"), rows)
    for worker in answer["workers"]:
        if worker.get("refused"):
            click.echo(f"Worker {worker['slot']} refuses the newest version: {worker['refused']}")
    if answer["mail"]["failing"]:
        click.echo(f"Mail can't be sent: {answer['mail']['failing']}")
    if answer["pin_alarm"]:
        click.echo("More wrong PINs in an hour than people make: codes have 8 digits, tries wait")
    if answer["tunnels"]:
        click.echo()
        _print_table(
            ("tunnel", "replicas", "links", "workers"),
            [
                (
                    row.get("name") or row["id"], str(row["replicas"]), str(row["links"]),
                    ", ".join(str(slot) for slot in row["workers"]),
                )
                for row in answer["tunnels"]
            ],
        )
    last = answer["last_reload"]
    if last is not None:
        click.echo()
        result = "done" if last["ok"] else f"REFUSED, version {last['version']} stays"
        click.echo(f"Last reload {_day(last['at'])} ({last['cause']}): {result}")
        for line in [*last["errors"], *last["warnings"]]:
            click.echo(f"    {line}")


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    for row in [head, *rows]:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
