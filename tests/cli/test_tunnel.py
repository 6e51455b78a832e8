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


@pytest.mark.parametrize("words", [
    ("list",), ("create", "office"), ("info", "office"), ("delete", "office"), ("token", "office"),
    ("cleanup", "office"),
])  # fmt: skip
def test_the_environment_names_the_edges_configuration(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """$SEKISHO_CONFIG, as for `sekisho edge`; what the command line names goes before it."""
    named, other = tmp_path / "named.yml", tmp_path / "other.yml"
    named.write_text("state_folder: here\n")
    other.write_text("state_folder: there\n")
    env = {"SEKISHO_CONFIG": str(named)}
    done = CliRunner().invoke(main, ["tunnel", *words], env=env)
    assert done.exit_code == 1
    assert f"no edge answers at {tmp_path}/here/run/admin.sock" in done.stderr
    done = CliRunner().invoke(main, ["tunnel", *words, "--edge-config", str(other)], env=env)
    assert f"no edge answers at {tmp_path}/there/run/admin.sock" in done.stderr


def test_validate_looks_at_the_credentials_that_are_named(tmp_path: Path) -> None:
    head = "tunnel: office\ncredentials-file: c.json\n"
    place = f"{tmp_path}/config.yml"

    def told(text: str = head) -> tuple[int, str]:
        done = run(tmp_path, "ingress", "validate", config=text + CONFIG)
        return done.exit_code, done.output

    missing = f"{place}:2:19: {tmp_path}/c.json can't be read: No such file or directory\n"
    assert told() == (2, missing)
    save(tmp_path / "c.json", MADE)
    assert told() == (0, f"{place}: 3 rules, no errors\n")
    assert told(head.replace("office", "t-id"))[0] == 0, "by id as well as by name"
    assert told("tunnel: ofice\ncredentials-file: c.json\n") == (
        2, f"{place}:1:9: the credentials are for tunnel office (t-id), not “ofice”\n",
    )
    (tmp_path / "c.json").chmod(0o644)
    assert told()[1].startswith(f"{place}:2:19: {tmp_path}/c.json: readable by others; chmod 600")
    (tmp_path / "c.json").chmod(0o600)
    (tmp_path / "c.json").write_bytes(b"\xff")
    assert told()[1] == f"{place}:2:19: {tmp_path}/c.json: not a credentials file\n"
    both = "links: x\n" + head
    assert [line.partition(": ")[0] for line in told(both)[1].splitlines()] == [
        f"{place}:1:8", f"{place}:3:19"
    ]
    for none in ("tunnel: office\n", "credentials-file: ''\n", "credentials-file:\n"):
        assert told(none)[0] == 0, "they may come by the command line"


@pytest.mark.parametrize("option", ["--credentials-file", "--token-file"])
def test_files_that_are_not_there_are_told_in_words(option: str, tmp_path: Path) -> None:
    done = run(tmp_path, "run", option, f"{tmp_path}/none")
    assert done.exit_code == 1
    assert f"{tmp_path}/none can't be read: No such file or directory" in done.output
    assert "Errno" not in done.output
