
"""Errors and warnings with their places: what an operator types wrong, and the sentence they get.

Each case: a whole file, and the problems it must have as `line:column: text`, errors and warnings
apart."""

import re
import textwrap
from pathlib import Path

import pytest

from edge.config import load

BASE = """\
auth_domain: login.example.com
plain: ["10.0.0.5:8080"]
trusted_proxies: ["10.0.0.0/24"]
mail: {server: "smtps://mail.example.com", from: a@example.com}
identity_providers:
  - {name: PIN, type: onetimepin}
  - {name: SSO, type: oidc, issuer: "https://id.example.com", client_id: x}
routes:
  - {hostname: a.example.com, service: "http://10.0.0.7:3000"}
"""
APP = """\
applications:
  - name: A
    domain: a.example.com
    policies:
"""
LINES = BASE.count("\n")


def problems(tmp_path: Path, text: str) -> tuple[list[str], list[str]]:
    path = tmp_path / "sekisho.yml"
    path.write_text(text)
    loaded = load(path)
    strip = len(str(path)) + 1
    assert all(p.file == str(path) for p in (*loaded.errors, *loaded.warnings))
    return [str(p)[strip:] for p in loaded.errors], [str(p)[strip:] for p in loaded.warnings]


def policies(*lines: str) -> str:
    return BASE + APP + "".join(f"      - {line}\n" for line in lines)


ALLOW = "{name: P, decision: allow, include: [{email: x@example.com}]}"
FIRST = LINES + 5  # line of the first policy

ERRORS: list[tuple[str, str, list[str]]] = [
    # -- YAML itself
    ("empty", "", ["1:1: the file is empty"]),
    ("a list", "- a\n", ["1:1: a configuration file is a mapping of keys"]),
    ("broken", "a: [1,\nb: 2\n", [
        "3:1: this is not YAML: did not find expected ',' or ']' (a comma or a closing bracket is "
        "missing before here)",
    ]),
    ("tab", "a:\n\t- b\n", [
        "2:1: this is not YAML: found character that cannot start any token (a tab: indent with "
        "spaces)",
    ]),
    ("at sign", "a: @b\n", [
        "1:4: this is not YAML: found character that cannot start any token (quote a value that "
        "begins with @, ` or %)",
    ]),
    ("star", "a: *.example.com\n", [
        "1:5: this is not YAML: did not find expected alphabetic or numeric character (quote a "
        "value that begins with * or &)",
    ]),
    ("indentation", "a:\n  b: 1\n c: 2\n", [
        "3:2: this is not YAML: did not find expected key (the indentation? Keys of one mapping "
        "stand in one column)",
    ]),
    ("colon", "a: b: c\n", [
        "1:5: this is not YAML: mapping values are not allowed in this context (the indentation? "
        "Or a value with “: ” in it: quote it)",
    ]),
    ("one address for a list", BASE + "listen: 443\n", [
        f"{LINES + 1}:9: this must be a list, like [\"0.0.0.0:443\"]",
    ]),
    ("a mapping for a list", BASE + "include: {a: b}\n", [
        f"{LINES + 1}:10: this must be a list, like [\"conf.d/*.yml\"]",
    ]),
    ("control byte", "auth_domain: a\x01b\n", [
        "1:15: a control character; YAML does not allow it here",
    ]),
    ("anchor", BASE + "hsts: &x 1d\n", [
        f"{LINES + 1}:7: an anchor (&x) is not allowed: write the value out",
    ]),
    ("alias", BASE + "hsts: &x 1d\nmax_stale: *x\n", [
        f"{LINES + 1}:7: an anchor (&x) is not allowed: write the value out",
        f"{LINES + 2}:12: an alias (*x) is not allowed: write the value out",
    ]),
    ("merge key", BASE + "timeouts:\n  <<: {head: 1s}\n", [
        f"{LINES + 2}:3: a merge key (<<) is not allowed: write the keys out",
    ]),
    ("tag", BASE + "workers: !!int 3\n", [
        f"{LINES + 1}:10: a tag (tag:yaml.org,2002:int) is not allowed",
    ]),
    ("repeated key", BASE + "hsts: 1d\nhsts: 2d\n", [
        f"{LINES + 2}:1: “hsts” is here twice; the first is in line {LINES + 1}",
    ]),
    ("deep", "a: " + "[" * 40 + "]" * 40 + "\n", [
        "1:36: nested deeper than 32 levels",
        "1:1: there is no key “a” here", "1:1: “auth_domain” is missing",
        "1:1: “listen” is missing: nobody could come in",
    ]),
    ("no value is no key", policies(ALLOW) + "hsts:\nworkers: ~\naccess_log: null\n", []),
    ("no proxies are none", BASE.replace("[\"10.0.0.0/24\"]", "[]"), [
        "2:9: “plain” needs “trusted_proxies”: sessions would cross the network in the clear",
    ]),
    # -- keys and types
    ("unknown key", BASE + "hstss: 1d\n", [
        f"{LINES + 1}:1: there is no key “hstss” here (did you mean “hsts”?)",
    ]),
    ("unknown inner key", policies("{name: P, decision: allow, inclde: [], include: [everyone]}"), [
        f"{FIRST}:36: there is no key “inclde” here (did you mean “include”?)",
    ]),
    ("wrong choice", policies("{name: P, decision: alow, include: [{group: G}]}"), [
        f"{FIRST}:29: “alow” is not one of allow, deny, bypass, non_identity (did you mean "
        f"“allow”?)",
        f"{FIRST}:53: there is no group “G”",
    ]),
    ("missing key", policies("{decision: allow, include: [everyone]}"), [
        f"{FIRST}:9: “name” is missing",
    ]),
    ("no rule", policies("{name: P, decision: allow, include: []}"), [
        f"{FIRST}:45: there must be at least one rule here",
    ]),
    ("not a mapping", policies("allow"), [f"{FIRST}:9: this must be a mapping of keys"]),
    ("not a list", policies("{name: P, decision: allow, include: {email: x@y.z}}"), [
        f"{FIRST}:45: this must be a list",
    ]),
    ("duration", BASE + "hsts: 24\nmax_stale: 1 day\n", [
        f"{LINES + 1}:7: “24” is not a duration: write a number with its unit, like 24h, 30m, 10s",
        f"{LINES + 2}:12: “1 day” is not a duration: write a number with its unit, like 24h, "
        f"30m, 10s",
    ]),
    ("long session", BASE + "session_duration: 32d\n", [
        f"{LINES + 1}:19: a session lasts at most 31 days (744h)",
    ]),
    ("numbers", BASE + "workers: many\npublic_port: 0\nlimits: {head: 1TiB, fields: 0}\ndemo: "
                       "maybe\n", [
        f"{LINES + 1}:10: this must be a whole number", f"{LINES + 2}:14: this is between 1 and "
                                                        f"65535",
        f"{LINES + 3}:16: “1TiB” is not a size: write a number, or one with KiB, MiB, GiB",
        f"{LINES + 3}:30: this is between 1 and 100", f"{LINES + 4}:7: this must be true or false",
    ]),
    ("host", "auth_domain: -x-.example.com\n" + BASE.partition("\n")[2], [
        "1:14: “-x-.example.com” is not a host name",
    ]),
    ("address as host", "auth_domain: 10.0.0.1\n" + BASE.partition("\n")[2], [
        "1:14: “10.0.0.1” is an address; a host name is needed here",
    ]),
    ("listen", BASE + "listen: [443, \"[::]\", \"::1:443\", \"0.0.0.0:99999\", "
                      "\"x.example:1\"]\n", [
        f"{LINES + 1}:10: “443” is not an address and port: write 0.0.0.0:443 or [::]:443",
        f"{LINES + 1}:15: “[::]” is not an address and port: write 0.0.0.0:443 or [::]:443",
        f"{LINES + 1}:23: “::1:443” is not an address and port: write 0.0.0.0:443 or [::]:443",
        f"{LINES + 1}:34: “0.0.0.0:99999” is not an address and port: write 0.0.0.0:443 or "
        f"[::]:443",
        f"{LINES + 1}:51: “x.example” is not an IP address",
    ]),
    ("network", BASE.replace("10.0.0.0/24", "10.0.0.7/24"), [
        "3:19: “10.0.0.7/24” has bits beyond its prefix; did you mean “10.0.0.0/24”?",
    ]),
    # -- rules
    ("criterion", policies("{name: P, decision: allow, include: [{emial: x@y.z}]}"), [
        f"{FIRST}:47: there is no criterion “emial” (did you mean “email”?)",
    ]),
    ("two in one rule", policies("{name: P, decision: allow, include: [{email: x@y.z, ip: 10.0.0.1}]}"), [
        f"{FIRST}:46: a rule is one criterion with its value, like {{email: ada@example.com}}",
    ]),
    ("rule values", policies("""{name: P, decision: allow, include: [{email: "a@b@c"}, {email_domain: "*.example.com"}, {ip: 10.0.0.300}, {oidc: {claim_name: x}}, {everyone: no}, {email: {mail: x}}]}"""), [
        f"{FIRST}:54: “a@b@c” is not an e-mail address",
        f"{FIRST}:79: “*.example.com” is not a domain like example.com",
        f"{FIRST}:102: “10.0.0.300” is not an IP address or network, like 203.0.113.0/24",
        f"{FIRST}:122: “claim_value” is missing",
        f"{FIRST}:151: this criterion has no value: write {{}}",
        f"{FIRST}:165: there is no key “mail” here (did you mean “email”?)",
    ]),
    # -- names
    ("names that do not exist", policies("{name: P, decision: allow, include: [{group: Staf}, {login_method: SS0}, {ip_list: L}, {idp_group: {name: x, identity_provider_id: nobody}}]}")
     + "groups:\n  - {name: Staff, include: [everyone]}\n", [
        f"{FIRST}:54: there is no group “Staf” (did you mean “Staff”?)",
        f"{FIRST}:76: there is no identity provider “SS0” (did you mean “SSO”?)",
        f"{FIRST}:92: there is no ip list “L”",
        f"{FIRST}:108: there is no identity provider “nobody”",
    ]),
    ("names of wrong parts are known", policies("{name: P, decision: allow, include: [{group: G}]}")
     + "groups:\n  - {name: G, include: [{emial: x}]}\n", [
        f"{FIRST + 2}:26: there is no criterion “emial” (did you mean “email”?)",
    ]),
    ("twice", BASE + "groups:\n  - {name: G, include: [everyone]}\n  - "
                     "{name: G, include: [everyone]}\n", [
        f"{LINES + 3}:12: there is another group “G”, in FILE:{LINES + 2}",
    ]),
    ("policy names", policies(ALLOW, ALLOW), [
        f"{FIRST + 1}:16: this application has another policy “P”, in line {FIRST}",
    ]),
    ("group cycle", BASE + "groups:\n  - {name: G, include: [{group: H}]}\n  - "
                           "{name: H, include: [everyone], exclude: [{group: G}]}\n", [
        f"{LINES + 3}:54: groups may not contain each other: “G” → “H” → “G”",
    ]),
    ("group of itself", BASE + "groups:\n  - {name: G, include: [{group: G}]}\n", [
        f"{LINES + 2}:33: groups may not contain each other: “G” → “G”",
    ]),
    ("list type", policies("{name: P, decision: allow, include: [{email_list: L}]}") + "lists:\n  "
                                                                                       "- "
                                                                                       "{name: L, type: ip, items: [10.0.0.1, x]}\n", [
        f"{FIRST}:59: the list “L” is of type ip, not email",
        f"{FIRST + 2}:43: “x” is not an IP address or network, like 203.0.113.0/24",
    ]),
    ("allowed_idps", policies(ALLOW) + "    allowed_idps: [SSO, SSP]\n", [
        f"{FIRST + 1}:25: there is no identity provider “SSP” (did you mean “SSO”?)",
    ]),
    ("auto redirect", policies(ALLOW) + "    auto_redirect_to_identity: true\n", [
        f"{FIRST + 1}:32: “auto_redirect_to_identity” needs exactly one identity provider; name "
        f"it in “allowed_idps”",
    ]),
    # -- hosts
    ("host twice", BASE + "  - {hostname: A.example.com., tunnel: t}\n", [
        f"{LINES + 1}:16: “a.example.com” is routed twice; the other is in FILE:{LINES}",
    ]),
    ("ours", BASE + "  - {hostname: login.example.com, tunnel: t}\n  - "
                    "{hostname: tunnel.login.example.com, tunnel: t}\n", [
        f"{LINES + 1}:16: “login.example.com” is ours: nothing is routed there",
        f"{LINES + 2}:16: “tunnel.login.example.com” is ours: nothing is routed there",
    ]),
    ("domain twice", policies(ALLOW) + "  - name: B\n    domains: [a.example.com/x, "
                                       "a.example.com/, b.example.com, b.example.com]\n", [
        f"{FIRST + 2}:32: “a.example.com” belongs to “A” too, in FILE:{LINES + 2}",
        f"{FIRST + 2}:63: “b.example.com” is here twice",
    ]),
    ("domains", policies(ALLOW).replace("a.example.com\n    p", "https://a.example.com:8443/x?y\n    p"), [
        f"{LINES + 3}:13: “https://a.example.com:8443/x?y” has a scheme; write only "
        f"a.example.com:8443/x?y",
    ]),
    ("port", policies(ALLOW).replace("a.example.com\n    p", "a.example.com:8443\n    p"), [
        f"{LINES + 3}:13: “a.example.com:8443” has a port; an application covers its host on "
        f"every port",
    ]),
    ("no domain", BASE + "applications: [{name: A}]\n", [f"{LINES + 1}:16: “domain” is missing"]),
    ("domain and domains", BASE + "applications: "
                                  "[{name: A, domain: a.example.com, domains: [b.example.com]}]\n", [
        f"{LINES + 1}:34: write either “domain” or “domains”",
    ]),
    ("route", BASE + "  - {hostname: b.example.com}\n  - "
                     "{hostname: c.example.com, service: \"ftp://x\"}\n  - "
                     "{hostname: d.example.com, service: \"http://x/y\"}\n", [
        f"{LINES + 1}:5: a route has either “tunnel” or “service”",
        f"{LINES + 2}:40: “ftp://x” is no service: write http://…, https://…, unix:/…, "
        f"http_status:404 or hello_world",
        f"{LINES + 3}:40: “http://x/y” has a path; a service is only scheme, host and port",
    ]),
    ("origin_request of a tunnel", BASE + "  - "
                                          "{hostname: b.example.com, tunnel: t, originRequest: {noTLSVerify: true}}\n", [
        f"{LINES + 1}:57: “origin_request” belongs to the connector of a tunnel, not to its route",
    ]),
    # -- listeners
    ("plain without proxies", BASE.replace("trusted_proxies: [\"10.0.0.0/24\"]\n", ""), [
        "2:9: “plain” needs “trusted_proxies”: sessions would cross the network in the clear",
    ]),
    ("listen without certificate", BASE + "listen: [\"0.0.0.0:443\"]\n", [
        f"{LINES + 1}:9: “certificates” is missing; “listen” needs one",
    ]),
    ("twice listened", BASE + "redirect: [\"10.0.0.5:8080\"]\nproxy_protocol: [\"10.0.0.5:1\"]\n", [
        # the later key in the order of the model is told
        "2:9: “10.0.0.5:8080” is listened on by “redirect” too",
        f"{LINES + 2}:18: nothing listens on “10.0.0.5:1”: name an address of “listen”, “plain” "
        f"or “redirect”",
    ]),
    ("no listener", BASE.replace("plain: [\"10.0.0.5:8080\"]\n", ""), [
        "1:1: “listen” is missing: nobody could come in",
    ]),
    ("demo names", BASE.replace("10.0.0.5", "127.0.0.1") + "demo: true\n", [
        "1:14: with “demo” every name ends in .localhost, and “login.example.com” does not",
        "9:16: with “demo” every name ends in .localhost, and “a.example.com” does not",
    ]),
    # -- providers
    ("no mail", BASE.replace("mail: "
                             "{server: \"smtps://mail.example.com\", from: a@example.com}\n", ""), [
        "5:23: one-time PINs are sent by mail: “mail” is missing",
    ]),
    ("oidc", BASE.replace("issuer: \"https://id.example.com\", ", ""), [
        "7:5: “issuer” is missing; an oidc provider needs it",
    ]),
    ("unverified claim", BASE.replace("client_id: x", "client_id: x, email_claim: upn"), [
        "7:90: “email_verified” of a provider speaks of the claim “email” only: "
        "with another “email_claim” it has to be “trusted”",
    ]),
    ("http issuer", BASE.replace("https://id", "http://id"), [
        "7:37: an issuer is https; only with “allow_private_address” it may be http",
    ]),
    ("pin with an issuer", BASE.replace("type: onetimepin", "type: onetimepin, issuer: "
                                                            "\"https://x.example\""), [
        "6:43: “issuer” has no meaning for a one-time PIN",
    ]),
    ("nobody could sign in", re.sub(r"identity_providers:\n.*\n.*\n", "", policies(ALLOW)), [
        "1:1: “identity_providers” is missing: nobody could sign in, and there are allow policies",
    ]),
    ("include", BASE + "include: [conf.d/none.yml, conf.d/*.yml]\n", [
        f"{LINES + 1}:11: there is no file “conf.d/none.yml”",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS]
)
def test_errors(text: str, expected: list[str], tmp_path: Path) -> None:
    errors, warnings = problems(tmp_path, text)
    expected = [line.replace("FILE", str(tmp_path / "sekisho.yml")) for line in expected]
    assert sorted(errors) == sorted(expected)
    assert not warnings, "advice about a file with errors would be about what is not there"


WARNINGS: list[tuple[str, str, list[str]]] = [
    ("everyone", policies("{name: P, decision: allow, include: [everyone]}"), [
        f"{FIRST}:45: warning: policy “P” lets in everyone who can sign in, and requires nothing",
    ]),
    ("everyone with a require", policies("{name: P, decision: allow, include: [everyone], require: [{login_method: SSO}]}"), []),
    ("two required addresses", policies("{name: P, decision: allow, include: [everyone], require: [{email: a@b.c}, {email: d@b.c}]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: it requires two different values of "
        f"email at once",
    ]),
    ("included and excluded", policies("{name: P, decision: allow, include: [{email: a@b.c}], exclude: [{email: A@B.C}]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: everything that it includes it also "
        f"excludes",
    ]),
    ("excludes everyone", policies("{name: P, decision: allow, include: [{email: a@b.c}], exclude: [everyone]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: it excludes everyone",
    ]),
    ("requires and excludes", policies("{name: P, decision: allow, include: [{email: a@b.c}], require: [{login_method: SSO}], exclude: [{login_method: SSO}]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: it requires and excludes login_method "
        f"SSO",
    ]),
    ("requires what it does not include", policies("{name: P, decision: allow, include: [{email: a@b.c}], require: [{email: x@b.c}]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: it requires a email that it does not "
        f"include",
    ]),
    ("service token in allow", policies("{name: P, decision: allow, include: [any_valid_service_token]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: a request with a service token never "
        f"comes to allow policies; use non_identity",
    ]),
    ("person in non_identity", policies("{name: P, decision: non_identity, include: [{email: a@b.c}]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: non_identity policies are for "
        f"requests without a person, and it only includes persons",
    ]),
    ("person required in non_identity", policies("{name: P, decision: non_identity, include: [any_valid_service_token], require: [{email: a@b.c}]}"), [
        f"{FIRST}:9: warning: policy “P” can never match: it requires email, and a service "
        f"token has none",
    ]),
    ("no credential", policies("{name: P, decision: non_identity, include: [{ip: 10.0.0.0/8}]}"), [
        f"{FIRST}:52: warning: policy “P” lets requests in without any credential; a "
        f"non_identity policy usually requires a service token",
    ]),
    ("shadowed", policies(ALLOW, "{name: Q, decision: deny, include: [{email: x@example.com}]}"), [
        f"{FIRST + 1}:16: warning: policy “Q” never decides: “P” (line {FIRST}) matches before it",
    ]),
    ("shadowed by a later bypass", policies(ALLOW, "{name: Q, decision: bypass, include: [everyone]}"), [
        f"{FIRST}:16: warning: policy “P” never decides: “Q” (line {FIRST + 1}) matches before it",
    ]),
    ("not shadowed", policies(ALLOW, "{name: Q, decision: deny, include: [{email: y@example.com}]}"), []),
    ("inside", policies(ALLOW) + "  - name: B\n    domain: a.example.com/x/y\n    policies: "
                                 "[" + ALLOW + "]\n", [
        f"{FIRST + 1}:11: warning: “B” (a.example.com/x/y) is inside “A” (a.example.com): there "
        f"“B” decides alone, and nothing of “A” is inherited",
    ]),
    ("inside a wildcard", policies(ALLOW) + "  - name: B\n    domain: \"*.example.com\"\n    "
                                            "policies: [" + ALLOW + "]\n", [
        f"{FIRST + 1}:11: warning: no route leads to *.example.com: whoever is let in gets a "
        f"502 page",
        f"{LINES + 2}:11: warning: “A” (a.example.com) is inside “B” (*.example.com): there “A” "
        f"decides alone, and nothing of “B” is inherited",
    ]),
    ("route without application", BASE, [
        f"{LINES}:16: warning: no application covers a.example.com: everybody is refused there",
    ]),
    ("everybody is a proxy", policies(ALLOW).replace("10.0.0.0/24", "0.0.0.0/0"), [
        "3:19: warning: 0.0.0.0/0 is everybody: whoever comes names the address that rules see",
    ]),
    ("no verification", policies(ALLOW).replace("7:3000\"", "7:3000\", originRequest: "
                                                            "{noTLSVerify: true}"), [
        f"{LINES}:93: warning: whoever stands between the edge and a.example.com's origin can "
        f"read and change everything",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS]
)
def test_warnings(text: str, expected: list[str], tmp_path: Path) -> None:
    errors, warnings = problems(tmp_path, text)
    assert not errors
    assert sorted(warnings) == sorted(expected)


def test_not_utf8_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes(b"auth_domain: a\nhsts: \xff\n")
    (problem,) = load(tmp_path / "x.yml").errors
    assert (problem.line, problem.column, problem.text) == (2, 7, "this byte is not UTF-8")


def test_no_file(tmp_path: Path) -> None:
    loaded = load(tmp_path / "none.yml")
    assert not loaded.ok
    assert "can't be read: No such file or directory" in str(loaded.errors[0])


KEYED = BASE + textwrap.dedent("""\
    listen: ["0.0.0.0:443"]
    certificates: [{certificate: cert.pem, key: cert.key}]
    """)


@pytest.mark.parametrize(("mode", "text"), [
    (0o600, None), (0o400, None), (0o640, None),
    (0o644, "can be read or written by anybody (mode 0644); chmod 600 it"),
    (0o602, "can be read or written by anybody (mode 0602); chmod 600 it"),
    (0o620, "can be written by its group (mode 0620); chmod 600 it"),
])  # fmt: skip
def test_key_files(mode: int, text: str | None, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    key = tmp_path / "cert.key"
    key.write_text("x")
    key.chmod(mode)
    errors, _ = problems(tmp_path, KEYED)
    assert errors == ([] if text is None else [f"{LINES + 2}:45: {key} {text}"])


def test_key_file_of_a_foreign_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cert.pem").write_text("x")
    key = tmp_path / "cert.key"
    key.write_text("x")
    key.chmod(0o640)
    monkeypatch.setattr("os.getegid", lambda: 12345)
    monkeypatch.setattr("os.getgroups", lambda: [12346])
    errors, _ = problems(tmp_path, KEYED)
    assert errors == [
        f"{LINES + 2}:45: {key} can be read by a group other than the service's (mode 0640); "
        f"chmod 600 it"
    ]


def test_missing_key_files_and_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = KEYED.replace("cert.pem", "none.pem").replace("cert.key", "credential:tls.key")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    errors, _ = problems(tmp_path, text)
    assert errors == [
        f"{LINES + 2}:45: credential:tls.key needs $CREDENTIALS_DIRECTORY (systemd's "
        f"LoadCredential=)",
    ]
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "tls.key").write_text("x")
    (credentials / "tls.key").chmod(0o644)
    errors, _ = problems(tmp_path, text)   # beside the file, for a person's check: as any key file
    assert len(errors) == 2 and "chmod 600" in errors[1]
    # in systemd's own folder the mode is systemd's affair
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    errors, _ = problems(tmp_path, text)
    assert errors == [
        f"{LINES + 2}:30: {tmp_path / 'none.pem'} can't be read: No such file or directory"
    ]
