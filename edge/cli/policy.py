"""`sekisho policy`: what a configuration decides, and why, without anything running.

The same compiled program as in the edge decides. Exit status: 0 done, 1 a case came out otherwise
(or, with --exit-code, the request isn't let through), 2 the configuration, the cases or the command
line are wrong."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.admin_client import DEFAULT_CONFIG
from edge.cli.family import Family, examples

if TYPE_CHECKING:
    from edge.config.rehearsal import Rehearsal

config_option = click.option(
    "-c", "--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG,
    envvar="SEKISHO_CONFIG", show_default=True, help="The edge's sekisho.yml.",
)  # fmt: skip
THROUGH = ("allow", "bypass", "service")  # verdicts with which a request reaches its origin
SIGNS = {"true": "✓", "false": "✗", "unknown": "?"}


@examples(
    "sekisho policy explain https://wiki.example.com/ --email ada@example.com",
    "sekisho policy test cases.yml      # in your CI",
    status="0 done, whatever the answer; 1 a case came out otherwise, or (explain --exit-code) the "
    "request isn't let through; 2 the configuration, the cases or the command line are wrong.",
)
@click.group(cls=Family)
def policy() -> None:
    """Explain and test access policies."""


def rehearsal(config: Path) -> "Rehearsal":
    from edge.config.rehearsal import BadCase, Rehearsal

    try:
        return Rehearsal(config)
    except BadCase as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(2)


@examples(
    "sekisho policy explain https://wiki.example.com/ --email ada@example.com --ip 10.1.2.3",
    "sekisho policy explain https://wiki.example.com/ --exit-code",
    "sekisho policy explain https://wiki.example.com/ --json | jq .verdict",
)
@policy.command()
@config_option
@click.argument("url")
@click.option("--email", help="Who is signed in. Without any fact of a person: nobody.")
@click.option("--method", help="Identity provider they signed in with, by name or id.")
@click.option(
    "--group", "groups", multiple=True, help="A group that the provider swore (repeatable)."
)
@click.option("--amr", multiple=True, help="An authentication method, like mfa (repeatable).")
@click.option(
    "--claim", "claims", multiple=True, metavar="NAME=VALUE", help="An OIDC claim (repeatable)."
)
@click.option("--ip", help="The client's address.")
@click.option("--service-token", help="Name or id of the service token that was shown.")
@click.option(
    "--exit-code", is_flag=True,
    help="Exit with 1 unless the request is let through (allow, bypass, service). Without it an "
    "explained deny is 0.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    config: Path, url: str, email: str | None, method: str | None, groups: tuple[str, ...],
    amr: tuple[str, ...], claims: tuple[str, ...], ip: str | None, service_token: str | None,
    exit_code: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show what is decided for URL: the application, each policy in order, each rule, and why.

    What is not given is unknown, and the answer says where that mattered."""
    from edge.config.rehearsal import BadCase

    facts: dict[str, Any] = {}
    if email is not None:
        facts["email"] = email
    if method is not None:
        facts["method"] = method
    if groups:
        facts["groups"] = list(groups)
    if amr:
        facts["amr"] = list(amr)
    if claims:
        facts["claims"] = claims_of(claims)
    if ip is not None:
        facts["ip"] = ip
    if service_token is not None:
        facts["service_token"] = service_token
    try:
        told = rehearsal(config).explain(url, facts)
    except BadCase as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        for line in lines_of(told):
            click.echo(line)
        if "note" in told:
            click.echo(f"note: {told['note']}", err=True)
    if exit_code and told["verdict"] not in THROUGH:
        sys.exit(1)


def claims_of(pairs: tuple[str, ...]) -> dict[str, list[str]]:
    claims: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--claim takes NAME=VALUE, not “{pair}”")
        claims.setdefault(name, []).append(value)
    return claims


def lines_of(told: Mapping[str, Any]) -> list[str]:
    app, route = told["application"], told["route"]
    lines = []
    if not told["host_known"]:
        return ["host         nobody has heard of it: 404", verdict_line(told)]
    lines.append(f"application  {app['name'] if app else 'none covers this'}")
    lines.append(f"route        {route_text(route)}")
    for one in told["policies"]:
        reached = "" if one["reached"] else "   (not reached)"
        lines.append(f"{SIGNS[one['truth']]} {one['decision']:12} {one['name']}{reached}")
        for section in ("include", "require", "exclude"):
            for rule in one[section]:
                text = f"{rule['criterion']} {rule['text']}".rstrip()
                lines.append(f"    {SIGNS[rule['truth']]} {section:8} {text}")
    lines.append(verdict_line(told))
    return lines


def verdict_line(told: Mapping[str, Any]) -> str:
    by = f" by policy “{told['policy_name']}”" if told.get("policy_name") else ""
    missing = f"; not known: {', '.join(told['missing'])}" if told["missing"] else ""
    refused = "; this application doesn't take that identity provider: as for nobody"
    method = refused if told["method_refused"] else ""
    return f"→ {told['verdict']}{by} ({told['reason']}{missing}{method})"


def route_text(route: Mapping[str, Any] | None) -> str:
    if route is None:
        return "none: 502"
    if route["kind"] == "tunnel":
        return f"{route['hostname']} → tunnel {route['tunnel']}"
    if route["kind"] == "control":
        return f"{route['hostname']} → sign-in"
    at = f"{route['host']}:{route['port']}" if route["host"] else route["path"] or route["status"]
    return f"{route['hostname']} → {route['scheme']} {at or ''}".rstrip()


@examples("sekisho policy test cases.yml -c sekisho.yml")
@policy.command()
@config_option
@click.argument("cases", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(config: Path, cases: Path, as_json: bool) -> None:
    """Run a table of expected decisions against the configuration.

    CASES is a YAML file:

    \b
    cases:
      - {url: https://wiki.example.com/, email: ada@example.com,
         method: Company SSO, ip: 10.1.2.3, expect: allow, policy: Staff}

    A case states the whole person: what it doesn't name, they don't have. `expect` is allow, deny,
    login, bypass, service, unavailable or unknown-host; `policy` and `reason` may be expected
    too."""
    from edge.config.rehearsal import BadCase, read_cases

    stage = rehearsal(config)
    try:
        results = [stage.run(case) for case in read_cases(cases)]
    except BadCase as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(2)
    failed = [one for one in results if not one["passed"]]
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False, indent=2))
    else:
        for one in results:
            if "note" in one:
                click.echo(f"{one['place']}: note: {one['note']}", err=True)
        for one in failed:
            click.echo(
                f"{one['place']}: {one['url']}: expected {one['expected']}, got {one['got']}",
                err=True,
            )
        click.echo(f"{len(results) - len(failed)} of {len(results)} cases as expected")
    sys.exit(1 if failed else 0)
