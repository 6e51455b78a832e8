"""The tunnel family beside the origin, without an edge: what it checks, prints and refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli.main import main
from edge.connector.credentials import Credentials, save, to_token

CONFIG = """\
ingress:
  - {hostname: wiki.test, path: ^/api, service: "http://api:1"}
  - {hostname: "*.test", service: "http://all:1"}
  - service: http_status:404
"""
MADE = Credentials("t-id", "office", "c", ("127.0.0.1:9",), "tunnel.x", "CA", "CERT", "KEY")


def run(
    folder: Path, *words: str, config: str = CONFIG, env: dict[str, str] | None = None
) -> Result:
    path = folder / "config.yml"
    path.write_text(config)
    return CliRunner().invoke(main, ["tunnel", "--config", str(path), *words], env=env)


def test_validate(tmp_path: Path) -> None:
    done = run(tmp_path, "ingress", "validate")
    assert (done.exit_code, done.output) == (0, f"{tmp_path}/config.yml: 3 rules, no errors\n")


def test_validate_prints_every_problem_and_exits_2(tmp_path: Path) -> None:
    done = run(tmp_path, "ingress", "validate", config="links: x\ningress:\n- service: wiki\n")
    assert done.exit_code == 2
    assert done.output.splitlines() == [
        f"{tmp_path}/config.yml:1:8: “links” is a number from 1 to 64",
        f"{tmp_path}/config.yml:3:12: “wiki” is not a service; write http://HOST:PORT",
    ]


def test_validate_wants_rules(tmp_path: Path) -> None:
    done = run(tmp_path, "ingress", "validate", config="tunnel: office\n")
    assert done.exit_code == 2 and "nothing would be served" in done.output


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://wiki.test/api/v1", "http://api:1"),
        ("WIKI.test/", "http://all:1"),
        ("https://other", "http_status:404"),
    ],
)
def test_rule(tmp_path: Path, url: str, service: str) -> None:
    done = run(tmp_path, "ingress", "rule", url, "--json")
    assert json.loads(done.output)["service"] == service
    assert f"service: {service}" in run(tmp_path, "ingress", "rule", url).output


def test_run_without_credentials(tmp_path: Path) -> None:
    done = run(tmp_path, "run")
    assert done.exit_code == 1 and "no credentials" in done.output


def test_run_with_readable_credentials(tmp_path: Path) -> None:
    save(tmp_path / "c.json", MADE)
    (tmp_path / "c.json").chmod(0o644)
    done = run(tmp_path, "run", "--credentials-file", str(tmp_path / "c.json"))
    assert done.exit_code == 1 and "chmod 600" in done.output


def test_run_with_another_tunnels_credentials(tmp_path: Path) -> None:
    save(tmp_path / "c.json", MADE)
    done = run(tmp_path, "run", "else", "--credentials-file", str(tmp_path / "c.json"))
    assert done.exit_code == 1
    assert "the credentials are for tunnel office (t-id), not else" in done.output


def test_token_comes_from_file_or_environment_and_is_checked(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(to_token(MADE))
    done = run(tmp_path, "run", "else", "--token-file", str(tmp_path / "token"))
    assert "the credentials are for tunnel office" in done.output
    done = run(tmp_path, "run", "else", env={"TUNNEL_TOKEN": to_token(MADE)})
    assert "the credentials are for tunnel office" in done.output
    assert "the token is not base64" in run(tmp_path, "run", env={"TUNNEL_TOKEN": "?"}).output


def test_no_edge_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "sekisho.yml"
    config.write_text(f"state: sqlite:///{tmp_path}/state.db\n")
    done = CliRunner().invoke(main, ["tunnel", "list", "-c", str(config)])
    assert done.exit_code == 1 and "no edge answers at" in done.output
