"""`sekisho edge init|check|schema`, as commands: what they print, what they write, how they end."""

import json
import re
import stat
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from _fastpath.snapshot import Snapshot
from edge.cli.main import main
from edge.config import Workshop, schema
from edge.config.source import parse
from tests.config.test_check import ALLOW, APP, BASE, LINES
from tests.kit.policy_cases import KEYS, OBJECTS

GOOD = BASE + APP + f"      - {ALLOW}\n" + "state_folder: state\n"


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["edge", *map(str, words)], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def ran_before(folder: Path, text: str) -> None:
    """Leave what an edge leaves in its state folder that ran this text."""
    (folder / "sekisho.yml").write_text(text)
    shop = Workshop(folder / "sekisho.yml")
    data = shop.compile(shop.load(), version=7, objects=OBJECTS, keys=KEYS)
    (folder / "state" / "snapshots").mkdir(parents=True)
    (folder / "state" / "snapshots" / "7.snapshot").write_bytes(data)
    assert Snapshot(data).version == 7


# -- check


def test_good(tmp_path: Path) -> None:
    (tmp_path / "sekisho.yml").write_text(GOOD)
    code, out, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert (code, err) == (0, "")
    assert out == f"{tmp_path}/sekisho.yml: good (1 applications, 1 routes)\n"
    assert [p.name for p in tmp_path.iterdir()] == ["sekisho.yml"], "check writes nothing"


def test_errors_end_in_two(tmp_path: Path) -> None:
    (tmp_path / "sekisho.yml").write_text(GOOD + "hstss: 1d\nworkers: 0\n")
    code, out, err = run("check", "-c", tmp_path / "sekisho.yml")
    at = f"{tmp_path}/sekisho.yml:{LINES + 7}"
    assert (code, out) == (2, "")
    assert err == (
        f"{at}:1: there is no key “hstss” here (did you mean “hsts”?)\n"
        f"{tmp_path}/sekisho.yml:{LINES + 8}:10: this is between 1 and 256\n"
    )
    code, out, _ = run("check", "-c", tmp_path / "sekisho.yml", "--json")
    told = json.loads(out)
    assert (code, told["ok"]) == (2, False)
    assert told["problems"][0] == {
        "file": f"{tmp_path}/sekisho.yml", "line": LINES + 7, "column": 1, "level": "error",
        "text": "there is no key “hstss” here (did you mean “hsts”?)",
    }  # fmt: skip


def test_no_file_ends_in_two(tmp_path: Path) -> None:
    code, _, err = run("check", "-c", tmp_path / "none.yml")
    assert code == 2
    assert err.endswith("can't be read: No such file or directory\n")


def test_an_application_too_large_to_compile_is_an_error_here_too(tmp_path: Path) -> None:
    groups = "".join(f"  - {{name: G{n}, include: [everyone]}}\n" for n in range(300))
    asked = ", ".join(f"{{group: G{n}}}" for n in range(300))
    text = GOOD + "groups:\n" + groups
    (tmp_path / "sekisho.yml").write_text(text.replace("{email: x@example.com}", asked))
    code, _, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert code == 2
    assert err == f"{tmp_path}/sekisho.yml:{LINES + 2}:5: an application uses at most 256 groups\n"


TUNNELS = GOOD + "tunnels: [{name: ours}]\n"
ROUTES = (
    "  - {hostname: b.example.com, tunnel: office}\n  - {hostname: c.example.com, tunnel: nowhere}\n"
    "  - {hostname: d.example.com, tunnel: ours}\n"
)


def tunnel_lines(err: str) -> list[str]:
    return [re.sub(r"^.*sekisho\.yml:", "", line) for line in err.splitlines() if "tunnel “" in line]


def test_tunnels_that_an_edge_knows(tmp_path: Path) -> None:
    text = TUNNELS.replace("applications:", ROUTES + "applications:", 1)
    ran_before(tmp_path, text)
    code, _, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert code == 0
    assert tunnel_lines(err) == [
        f"{LINES + 2}:39: warning: there is no tunnel “nowhere” yet: c.example.com answers 502 "
        f"until `sekisho tunnel create` makes it"
    ]


def test_names_of_the_store_that_are_nearly_right(tmp_path: Path) -> None:
    route = "  - {hostname: b.example.com, tunnel: ofice}\n"
    text = GOOD.replace("applications:", route + "applications:", 1)
    rule = "      - {name: R, decision: non_identity, include: [{service_token: %s}]}\n"
    known = next(iter(OBJECTS.service_tokens.values()))[1]
    text = text.replace("state_folder", rule % (known + "x") + "state_folder")
    ran_before(tmp_path, text)
    code, _, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert code == 0
    assert "there is no tunnel “ofice” yet (did you mean “office”?): b.example.com" in err
    assert f"there is no service token “{known}x” yet (did you mean “{known}”?): this rule" in err


def test_tunnels_without_an_edge_are_said_to_be_unseen(tmp_path: Path) -> None:
    (tmp_path / "sekisho.yml").write_text(
        TUNNELS.replace("applications:", ROUTES + "applications:", 1)
    )
    code, _, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert code == 0
    assert err.count("no edge has run with this state folder (normal before the first start)") == 2
    assert [line.partition(" can't")[0] for line in tunnel_lines(err)] == [
        f"{LINES + 1}:39: warning: whether there is a tunnel “office”",
        f"{LINES + 2}:39: warning: whether there is a tunnel “nowhere”",
    ]


def test_rename_is_told_before_it_is_done(tmp_path: Path) -> None:
    ran_before(tmp_path, GOOD)
    (tmp_path / "sekisho.yml").write_text(GOOD.replace("name: A\n", "name: Wiki\n"))
    code, _, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert code == 0
    assert f":{LINES + 2}:11: warning: this application was called “A”: its AUD tag changes" in err


@pytest.mark.parametrize("damage", [b"", b"damaged", b"SEKISHOS" + bytes(500)])
def test_a_damaged_snapshot_is_no_snapshot(damage: bytes, tmp_path: Path) -> None:
    ran_before(tmp_path, GOOD)
    (tmp_path / "state" / "snapshots" / "8.snapshot").write_bytes(damage)
    (tmp_path / "sekisho.yml").write_text(GOOD.replace("name: A\n", "name: Wiki\n"))
    code, _, err = run("check", "-c", tmp_path / "sekisho.yml")
    assert (code, "was called “A”" in err) == (0, True), "the one before it is taken"


# -- init


def test_init_writes_a_starter_and_a_key_once(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "sekisho.yml"
    code, _, err = run("init", "-c", path, "--auth-domain", "login.example.org")
    assert code in (0, 2), err
    assert path.exists() and "auth_domain: login.example.org" in path.read_text()


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.yml"
    path.write_text(GOOD)
    code, out, _ = run("init", "-c", path)
    key = tmp_path / "state" / "keys" / "master.key"
    assert code == 0
    assert out.splitlines()[:2] == [
        f"kept  {path}",
        f"made  {key}  (back it up: without it the state can't be read)",
    ]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    before = key.read_bytes()
    code, out, _ = run("init", "-c", path)
    assert (code, out.splitlines()[1].split()[0]) == (0, "kept")
    assert (key.read_bytes(), path.read_text()) == (before, GOOD)


def test_init_says_that_an_auth_domain_was_ignored(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.yml"
    path.write_text(GOOD)
    code, _, err = run("init", "-c", path, "--auth-domain", "other.example.com")
    assert code == 0
    assert err == (
        "--auth-domain other.example.com was ignored: the file is there and says "
        "login.example.com\n"
    )
    assert run("init", "-c", path, "--auth-domain", "login.example.com")[2] == ""
    assert run("init", "-c", path)[2] == "", "the default wasn't asked for"


def test_init_on_a_broken_file_makes_no_key(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.yml"
    path.write_text("a: [\n")
    code, _, err = run("init", "-c", path)
    assert code == 2
    assert err.startswith(f"{path}:2:1: this is not YAML")
    assert [p.name for p in tmp_path.iterdir()] == ["sekisho.yml"]


def test_init_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("init", "-c", tmp_path / "file" / "sekisho.yml")
    assert (code, err.endswith(("Not a directory\n", "File exists\n"))) == (1, True)


# -- schema


def validator():
    code, out, _ = run("schema")
    assert code == 0
    found = json.loads(out)
    assert found == schema()
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def no_problem(mark: object, text: str) -> None:
    raise AssertionError(text)


def yaml_blocks(page: str) -> list[str]:
    text = (Path(__file__).parents[2] / page).read_text()
    return [b for b in re.findall(r"```ya?ml\n(.*?)```", text, re.S) if "auth_domain" in b]


def test_schema_takes_the_examples_and_refuses_what_check_refuses() -> None:
    check = validator()
    examples = yaml_blocks("README.md") + yaml_blocks("docs/configuration.md")
    assert examples
    for example in examples:
        data = parse(example.encode(), no_problem)
        assert data is not None
        assert not [e.message for e in check.iter_errors(data)]
        assert [e for e in check.iter_errors({**data, "hstss": "1d"})]
        assert [e for e in check.iter_errors({**data, "routes": [{"hostnme": "a"}]})]
    for include in ("conf.d/*.yml", ["a.yml", "b.yml"], None):
        assert check.is_valid({"auth_domain": "login.example.com", "include": include})
    assert not check.is_valid({"auth_domain": "login.example.com", "include": [1]})
