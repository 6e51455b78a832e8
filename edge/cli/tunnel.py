"""`sekisho tunnel …`: tunnels on the edge's host (admin.sock), connectors beside origins."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.family import Family, examples

if TYPE_CHECKING:
    from edge.cli.admin_client import AdminClient
    from edge.connector.credentials import Credentials
    from edge.connector.ingress import Settings

FOLDER = Path("~/.sekisho")
EX_CONFIG = 2  # exit status: the configuration is wrong
EX_REFUSED = 1  # exit status: the edge or the credentials say no


@examples(
    "sekisho tunnel create office --credentials-file office.json      # on the edge",
    "sekisho tunnel --config config.yml run                           # beside the application",
    status="0 done; 1 the edge or the credentials say no; 2 the configuration or the command line "
    "is wrong.",
)
@click.group(cls=Family, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Connector's configuration (default: config.yml in ~/.sekisho, /etc/sekisho).",
)
@click.pass_context
def tunnel(ctx: click.Context, config: Path | None) -> None:
    """Create tunnels and run a connector."""
    ctx.obj = config


# -- on the edge's host ----------------------------------------------------------------------------

EDGE_CONFIG = "The edge's configuration (default: $SEKISHO_CONFIG, else /etc/sekisho/sekisho.yml)."
edge_config = click.option(
    "-c",
    "--edge-config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="SEKISHO_CONFIG",
    help=EDGE_CONFIG,
)
output = click.option("-o", "--output", type=click.Choice(["json"]), help="Print JSON.")


@examples(
    "sekisho tunnel create office --credentials-file office.json",
    "sekisho tunnel create office --edge edge.example.com:443 --hostname wiki.example.com",
)
@tunnel.command()
@click.argument("name")
@edge_config
@click.option(
    "--credentials-file",
    "--cred-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the credentials (default: ~/.sekisho/ID.json).",
)
@click.option("--edge", "edges", multiple=True, help="HOST:PORT that the connector dials.")
@click.option("--hostname", "hostnames", multiple=True, help="Limit the credential to hostnames.")
@output
def create(
    name: str,
    edge_config: Path | None,
    credentials_file: Path | None,
    edges: tuple[str, ...],
    hostnames: tuple[str, ...],
    output: str | None,
) -> None:
    """Create a tunnel and its first credentials file."""
    from edge.connector import credentials as files

    if credentials_file is not None and credentials_file.exists():
        raise click.ClickException(f"{credentials_file} exists; nothing was created")
    with _asking(edge_config) as client:
        made = _ask_credential(
            client, "/tunnels", {"name": name, "hostnames": list(hostnames)}, edges
        )
    path = credentials_file or FOLDER.expanduser() / f"{made.tunnel}.json"
    try:
        files.save(path, made)
    except OSError as error:
        # the tunnel stands: without this its only credential would be lost
        raise click.ClickException(
            f"tunnel {name} was created, but {path} can't be written ({error}); "
            f"make another credential with `sekisho tunnel token {name} --credentials-file PATH`"
        ) from None
    if output == "json":
        _print_json({"id": made.tunnel, "name": name, "credentials_file": str(path)})
        return
    click.echo(f"Created tunnel {name} with id {made.tunnel}")
    click.echo(f"Credentials: {path} (keep it secret; it may run this tunnel from anywhere)")
    click.echo(f"Next: a route in the edge's configuration: {{hostname: …, tunnel: {name}}}")


@examples("sekisho tunnel list", "sekisho tunnel list -o json")
@tunnel.command("list")
@edge_config
@output
def list_(edge_config: Path | None, output: str | None) -> None:
    """List tunnels."""
    with _asking(edge_config) as client:
        found = client.call("GET", "/tunnels")["tunnels"]
    if output == "json":
        _print_json(found)
        return
    rows = [("ID", "NAME", "CREATED", "STATUS", "LINKS", "REPLICAS")]
    rows += [
        (
            one["id"],
            one["name"],
            _time(one["created"]),
            one["status"],
            str(one["links"]),
            str(one["replicas"]),
        )
        for one in found
    ]
    _print_rows(rows)


@examples("sekisho tunnel info office")
@tunnel.command()
@click.argument("name")
@edge_config
@output
def info(name: str, edge_config: Path | None, output: str | None) -> None:
    """Show a tunnel's credentials and live links."""
    with _asking(edge_config) as client:
        found = client.call("GET", f"/tunnels/{_quoted(name)}")
    if output == "json":
        _print_json(found)
        return
    click.echo(f"{found['name']}  {found['id']}  {found['status']}")
    for one in found["credentials"]:
        limit = f" for {', '.join(one['hostnames'])}" if one["hostnames"] else ""
        state = "revoked" if one["revoked"] else "valid"
        click.echo(f"  credential {one['id']}  {_time(one['created'])}  {state}{limit}")
    rows = [("REPLICA", "WORKER", "STATE", "SINCE", "FROM", "ROUND TRIP", "STREAMS", "TABLE")]
    rows += [
        (
            one["replica"][:12],
            str(one["slot"]),
            one["state"],
            _time(one["since"]),
            one["source"],
            f"{one['round_trip'] / 1000:.1f} ms",
            str(one["streams"]),
            str(one["table"]),
        )
        for one in found["links"]
    ]
    if found["links"]:
        _print_rows(rows)
    for name_ in sorted({name_ for one in found["links"] for name_ in one["unrouted"]}):
        click.echo(f"  not routed here: {name_}")


@examples("sekisho tunnel delete office", "sekisho tunnel delete --force office")
@tunnel.command()
@click.argument("name")
@click.option("-f", "--force", is_flag=True, help="Also when it has links.")
@edge_config
def delete(name: str, force: bool, edge_config: Path | None) -> None:
    """Delete a tunnel: its credentials are revoked, its links cut."""
    with _asking(edge_config) as client:
        found = client.call(
            "DELETE", f"/tunnels/{_quoted(name)}?force={'true' if force else 'false'}"
        )
    click.echo(f"Deleted tunnel {found['name']} ({found['id']}), {found['links_cut']} links cut")


@examples(
    "sekisho tunnel token office",
    "sekisho tunnel token office --rotate --credentials-file office.json",
)
@tunnel.command()
@click.argument("name")
@click.option("--rotate", is_flag=True, help="Revoke the credentials before this one, at once.")
@click.option(
    "--credentials-file",
    "--cred-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a file instead of printing the token.",
)
@click.option("--edge", "edges", multiple=True, help="HOST:PORT that the connector dials.")
@edge_config
def token(
    name: str,
    rotate: bool,
    credentials_file: Path | None,
    edges: tuple[str, ...],
    edge_config: Path | None,
) -> None:
    """Issue another credential, as a token or a file."""
    from edge.connector import credentials as files

    with _asking(edge_config) as client:
        made = _ask_credential(
            client, f"/tunnels/{_quoted(name)}/token", {"rotate": rotate}, edges
        )
    if credentials_file is None:
        click.echo(files.to_token(made))
        return
    try:
        files.save(credentials_file, made, replace_old=rotate)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Credentials: {credentials_file}")


@examples("sekisho tunnel cleanup office")
@tunnel.command()
@click.argument("name")
@click.option("-c", "--connector-id", "replica", default="", help="Only this replica's links.")
@click.option(
    "--edge-config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="SEKISHO_CONFIG",
    help=EDGE_CONFIG,
)
def cleanup(name: str, replica: str, edge_config: Path | None) -> None:
    """Close a tunnel's links; connectors that live dial again."""
    with _asking(edge_config) as client:
        found = client.call("POST", f"/tunnels/{_quoted(name)}/cleanup", {"replica": replica})
    click.echo(f"Asked {found['links']} links of {found['name']} to close")


# -- beside the origin -----------------------------------------------------------------------------


@examples(
    "sekisho tunnel --config config.yml run",
    "sekisho tunnel run --url http://127.0.0.1:3000 --credentials-file office.json",
    "TUNNEL_TOKEN=… sekisho tunnel run",
)
@tunnel.command()
@click.argument("name", required=False)
@click.option(
    "--credentials-file",
    "--cred-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Credentials file (default: the configuration's credentials-file).",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with a token (also $TUNNEL_TOKEN; never on the command line).",
)
@click.option("--url", help="One service for every hostname, instead of a configuration.")
@click.option("--metrics", help="HOST:PORT for /ready and /metrics.")
@click.pass_obj
def run(
    config: Path | None,
    name: str | None,
    credentials_file: Path | None,
    token_file: Path | None,
    url: str | None,
    metrics: str | None,
) -> None:
    """Run a connector until it is stopped."""
    from dataclasses import replace

    from edge.connector.scalars import split_address
    from edge.connector.start import serve

    settings = _url_settings(url) if url is not None else _settings(config)
    if metrics is not None:
        address = split_address(metrics)
        if address is None:
            raise click.BadParameter("write HOST:PORT", param_hint="--metrics")
        settings = replace(settings, metrics=address)
    path = credentials_file or settings.credentials_file
    found = _credentials(path, token_file)
    wanted = name or settings.tunnel
    if wanted and wanted not in (found.tunnel, found.name):
        raise click.ClickException(
            f"the credentials are for tunnel {found.name} ({found.tunnel}), not {wanted}"
        )
    try:
        status = serve(settings, found, path if token_file is None else None)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(status)


@tunnel.group(cls=Family)
def ingress() -> None:
    """Check a connector's configuration."""


@examples("sekisho tunnel --config config.yml ingress validate")
@ingress.command()
@click.pass_obj
def validate(config: Path | None) -> None:
    """Check the configuration and the credentials that it names; exit status 2 when something is
    wrong."""
    settings = _settings(config, with_credentials=True)
    click.echo(f"{settings.file}: {len(settings.rules)} rules, no errors")


@examples("sekisho tunnel --config config.yml ingress rule https://wiki.example.com/api/")
@ingress.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def rule(config: Path | None, url: str, as_json: bool) -> None:
    """Show which rule a URL falls under."""
    from urllib.parse import urlsplit

    from edge.connector.ingress import match

    settings = _settings(config)
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if not parts.hostname:
        raise click.BadParameter("write https://HOST/PATH", param_hint="URL")
    found = match(settings.rules, parts.hostname.lower().rstrip("."), parts.path or "/")
    if found is None:
        raise click.ClickException("no rule takes it: the edge answers 502")
    if as_json:
        _print_json({**found.announced(), "line": found.line})
        return
    click.echo(f"Rule {found.index + 1} ({settings.file}:{found.line})")
    click.echo(f"  hostname: {found.hostname or '*'}")
    click.echo(f"  path: {found.path or '(any)'}")
    click.echo(f"  service: {found.service.text}")


# -- shared by the commands ------------------------------------------------------------------------


@contextlib.contextmanager
def _asking(config: Path | None) -> Iterator[AdminClient]:
    """Give a client of the edge; what the edge refuses is one sentence and exit status 1."""
    from edge.cli.admin_client import AdminClient, AdminError

    try:
        yield AdminClient(config)
    except AdminError as error:
        raise click.ClickException(error.sentence) from None


def _ask_credential(
    client: AdminClient, path: str, body: dict[str, Any], edges: tuple[str, ...]
) -> Credentials:
    """Make a key here, have its certificate signed there; the key never leaves this process."""
    from edge.connector.credentials import Credentials
    from edge.connector.scalars import split_address
    from edge.identity.authority import new_key, new_request

    for one in edges:
        if split_address(one) is None:
            raise click.BadParameter("write HOST:PORT", param_hint="--edge")
    key = new_key()
    request = base64.b64encode(new_request(key)).decode()
    answer = client.call("POST", path, {**body, "request": request})
    return Credentials(
        tunnel=answer["tunnel"],
        name=answer["name"],
        credential=answer["credential"],
        edge=edges or tuple(answer["edge"]),
        server_name=answer["server_name"],
        anchors=answer["anchors"],
        certificate=answer["certificate"],
        key=key.decode(),
    )


def _settings(config: Path | None, *, with_credentials: bool = False) -> Settings:
    """Return the checked configuration, or print every problem and exit 2."""
    from edge.connector.ingress import FOLDERS, find_file, read_file

    path = config or find_file()
    if path is None:
        raise click.ClickException(
            f"no config.yml in {', '.join(FOLDERS)}: name one, `sekisho tunnel --config FILE …`"
        )
    found = read_file(path)
    of_credentials = []
    if with_credentials:
        from edge.connector.named import credential_problems

        of_credentials = credential_problems(path)
    for problem in sorted([*found.problems, *of_credentials]):
        click.echo(str(problem), err=True)
    if found.settings is None or of_credentials:
        sys.exit(EX_CONFIG)
    if not found.settings.rules:
        click.echo(f"{path}:1:1: there is no “ingress”: nothing would be served", err=True)
        sys.exit(EX_CONFIG)
    return found.settings


def _url_settings(url: str) -> Settings:
    from edge.connector.ingress import Rule, Settings
    from edge.connector.origin_request import OriginRequest
    from edge.connector.service import ServiceRefused, parse

    try:
        service = parse(url)
    except ServiceRefused as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    return Settings(file=None, rules=(Rule(0, "", "", service, OriginRequest()),))


def _credentials(path: Path | None, token_file: Path | None) -> Credentials:
    from edge.connector import credentials as files

    try:
        if token_file is not None:
            return files.from_token(token_file.read_text())
        if path is not None:
            return files.load(path)
        if held := os.environ.pop("TUNNEL_TOKEN", ""):
            return files.from_token(held)
    except files.CredentialsRefused as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename} can't be read: {error.strerror}") from None
    raise click.ClickException("no credentials: set credentials-file, or give --token-file")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
