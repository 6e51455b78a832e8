"""`sekisho policy explain|test`, as commands: every line, --json, every exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import main
from tests.config.test_check import BASE

TEXT = (
    BASE
    + """\
  - {hostname: t.example.com, tunnel: office}
groups:
  - {name: Inside, include: [{ip: 10.0.0.0/8}]}
applications:
  - name: A
    domain: a.example.com
    policies:
      - {name: Robots, decision: non_identity, include: [{service_token: Robot}]}
      - {name: No, decision: deny, include: [{email: eve@example.com}]}
      - name: Staff
        decision: allow
        include: [{email_domain: example.com}, {oidc: {claim_name: role, claim_value: boss}}]
        require: [{group: Inside}]
        exclude: [{auth_method: sms}]
"""
)
URL = "https://a.example.com/x"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sekisho.yml"
    path.write_text(TEXT)
    return path


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["policy", *map(str, words)], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


ADA = ("--email", "ada@example.com", "--method", "SSO", "--ip", "10.1.2.3", "--amr", "mfa")


def test_explain_shows_each_policy_each_rule_and_the_decision(config: Path) -> None:
    code, out, err = run("explain", "-c", config, URL, *ADA, "--claim", "role=x")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "application  A",
        "route        a.example.com → http 10.0.0.7:3000",
        "✗ non_identity Robots",
        "    ✗ include  service_token Robot",
        "✗ deny         No",
        "    ✗ include  email eve@example.com",
        "✓ allow        Staff",
        "    ✓ include  email_domain example.com",
        "    ✗ include  oidc role = boss",
        "    ✓ require  group Inside",
        "    ✗ exclude  auth_method sms",
        "→ allow by policy “Staff” (policy-allowed)",
    ]


@pytest.mark.parametrize(("words", "last"), [
    ((), "→ login (login-needed)"),
    (("--email", "eve@example.com"), "→ deny by policy “No” (policy-denied)"),
    (("--email", "ada@example.com"), "→ unavailable (facts-unavailable; not known: amr, ip)"),
    (("--claim", "role=boss", "--claim", "role=x", "--ip", "10.0.0.1", "--amr", "mfa", "--email", "x@y.z"),
     "→ allow by policy “Staff” (policy-allowed)"),
    (("--service-token", "Robot"), "→ service by policy “Robots” (policy-service-admitted)"),
    (("--service-token", "Other"), "→ deny (policy-no-match)"),  # and it is said: below
    ((*ADA, "--amr", "sms"), "→ deny (policy-no-match)"),
], ids=["nobody", "deny", "unknown", "claims", "token", "another token", "excluded"])  # fmt: skip
def test_explain_decides_as_the_edge_does(words: tuple[str, ...], last: str, config: Path) -> None:
    code, out, _ = run("explain", "-c", config, URL, *words)
    assert (code, out.splitlines()[-1]) == (0, last)


def test_explain_hosts_and_routes(config: Path) -> None:
    _, out, _ = run("explain", "-c", config, "https://unknown.example.org/")
    assert out.splitlines()[0] == "host         nobody has heard of it: 404"
    _, out, _ = run("explain", "-c", config, "t.example.com")
    assert out.splitlines() == [
        "application  none covers this",
        "route        t.example.com → tunnel office",
        "→ deny (application-missing)",
    ]
    _, out, _ = run("explain", "-c", config, "login.example.com/x")
    assert out.splitlines()[1] == "route        login.example.com → sign-in"


@pytest.mark.parametrize(("words", "status"), [
    ((), 1), (("--email", "eve@example.com"), 1), (("--email", "ada@example.com"), 1),
    ((*ADA, "--claim", "role=boss"), 0), (("--service-token", "Robot"), 0),
], ids=["login", "deny", "unavailable", "allow", "service"])  # fmt: skip
def test_exit_code_tells_whether_the_request_is_let_through(
    words: tuple[str, ...], status: int, config: Path
) -> None:
    assert run("explain", "-c", config, URL, *words)[0] == 0, "the answer was given"
    assert run("explain", "-c", config, URL, *words, "--exit-code")[0] == status
    assert run("explain", "-c", config, URL, *words, "--exit-code", "--json")[0] == status


def test_a_service_token_that_no_rule_names_is_said(config: Path) -> None:
    near = "no rule names a service token “Robto” (did you mean “Robot”?)"
    _, out, err = run("explain", "-c", config, URL, "--service-token", "Robto")
    assert (out.splitlines()[-1], err) == ("→ deny (policy-no-match)", f"note: {near}\n")
    _, out, _ = run("explain", "-c", config, URL, "--service-token", "Robto", "--json")
    assert json.loads(out)["note"] == near
    cases = config.parent / "cases.yml"
    cases.write_text("cases:\n  - {url: a.example.com, service_token: Robto, expect: deny}\n")
    assert run("test", "-c", config, cases) == (
        0, "1 of 1 cases as expected\n", f"{cases}:2: note: {near}\n",
    )


def test_explain_as_json(config: Path) -> None:
    code, out, _ = run("explain", "-c", config, URL, *ADA, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["verdict"], told["reason"], told["policy"], told["policy_name"], told["rule"]) == (
        "allow", "policy-allowed", 2, "Staff", 0,
    )  # fmt: skip
    assert told["application"]["name"] == "A"
    assert told["application"]["aud"] is None, "the installation's keys make it: not to be had here"
    assert [(p["name"], p["truth"], p["reached"]) for p in told["policies"]] == [
        ("Robots", "false", True), ("No", "false", True), ("Staff", "true", True),
    ]  # fmt: skip
    assert told["policies"][2]["include"][1]["truth"] == "unknown"


@pytest.mark.parametrize(("words", "sentence"), [
    ((URL, "--method", "SS0"), "there is no identity provider “SS0” (did you mean “SSO”?)"),
    ((URL, "--ip", "10.0.0.300"), "'10.0.0.300' does not appear to be an IPv4 or IPv6 address"),
    ((URL, "--claim", "role"), "--claim takes NAME=VALUE, not “role”"),
    (("https://a b/",), "https://a b/: no request is let through with this URL"),
    (("https://a.example.com/a%2Fb",), "an encoded slash is refused here (encoded_slash)"),
    ((), "Missing argument 'URL'"),
])  # fmt: skip
def test_explain_what_is_wrong_ends_in_two(
    words: tuple[str, ...], sentence: str, config: Path
) -> None:
    code, out, err = run("explain", "-c", config, *words)
    assert (code, out) == (2, "")
    assert sentence in err


def test_a_configuration_with_errors_ends_in_two(config: Path) -> None:
    config.write_text(TEXT + "hstss: 1\n")
    for words in (("explain", "-c", config, URL), ("test", "-c", config, config)):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert err.endswith(":1: there is no key “hstss” here (did you mean “hsts”?)\n")


# -- test


CASES = """\
cases:
  - {url: https://a.example.com/, email: ada@example.com, method: SSO, ip: 10.1.2.3, expect: allow, policy: Staff}
  - {url: a.example.com/x, expect: login, reason: login-needed}
  - {url: nobody.example.org, expect: unknown-host}
  - {url: a.example.com, service_token: Robot, expect: service}
  - {url: a.example.com, email: eve@example.com, expect: deny, policy: "No"}
"""


def test_cases_that_come_out_as_expected(config: Path) -> None:
    cases = config.parent / "cases.yml"
    cases.write_text(CASES)
    assert run("test", "-c", config, cases) == (0, "5 of 5 cases as expected\n", "")
    code, out, _ = run("test", "-c", config, cases, "--json")
    assert code == 0
    assert [one["passed"] for one in json.loads(out)] == [True] * 5


def test_a_case_that_comes_out_otherwise_ends_in_one(config: Path) -> None:
    cases = config.parent / "cases.yml"
    cases.write_text(CASES.replace("expect: login", "expect: allow").replace("Staff", "Robots"))
    code, out, err = run("test", "-c", config, cases)
    assert (code, out) == (1, "3 of 5 cases as expected\n")
    assert err.splitlines() == [
        f"{cases}:2: https://a.example.com/: expected allow, policy “Robots”, got allow, policy “Staff”",
        f"{cases}:3: a.example.com/x: expected allow, reason “login-needed”, got login, reason “login-needed”",
    ]
    code, out, _ = run("test", "-c", config, cases, "--json")
    assert (code, [one["passed"] for one in json.loads(out)]) == (1, [False, False, True, True, True])


@pytest.mark.parametrize(("text", "lines"), [
    ("", ["1:1: the file is empty"]),
    ("case: []\n", ["1:1: “cases” is missing: a list of cases"]),
    ("cases: [\n", [
        "2:1: this is not YAML: did not find expected node content (a value is missing, or quote it)",
    ]),
    ("cases: [a, {url: x, expct: y}, {url: x, expect: alow}]\n", [
        "1:9: a case is a mapping with url and expect", "1:12: “expect” is missing",
        "1:21: there is no key “expct” here (did you mean “expect”?)",
        "1:49: “alow” is not a verdict (did you mean “allow”?)",
    ]),
])  # fmt: skip
def test_cases_that_are_wrong_end_in_two(text: str, lines: list[str], config: Path) -> None:
    cases = config.parent / "cases.yml"
    cases.write_text(text)
    code, out, err = run("test", "-c", config, cases)
    assert (code, out) == (2, "")
    assert err.splitlines() == [f"{cases}:{line}" for line in lines]


def test_no_cases_file_ends_in_two(config: Path) -> None:
    code, _, err = run("test", "-c", config, config.parent / "none.yml")
    assert (code, err) == (2, f"{config.parent}/none.yml: No such file or directory\n")
