"""A large configuration: many applications, ten policies each, in one file or over several included ones."""

from pathlib import Path

HEAD = """\
auth_domain: login.example.com
plain: ["10.0.0.5:8080"]
trusted_proxies: ["10.0.0.0/24"]
mail: {{server: "smtps://mail.example.com", from: a@example.com}}
identity_providers:
  - {{name: PIN, type: onetimepin}}
  - {{name: SSO, type: oidc, issuer: "https://id.example.com", client_id: x}}
{include}
groups:
{groups}
routes:
{routes}
"""
POLICY = """\
      - name: Policy {p}
        decision: {decision}
        include: [{{email: user{a}.{p}@example.com}}, {{email_domain: team{a}-{p}.example.org}}, {{group: Group {g}}}]
        require: [{{login_method: SSO}}]
        exclude: [{{ip: 203.0.{p}.0/24}}]
"""


def application(number: int, policies: int = 10) -> str:
    text = f"  - name: App {number}\n    domain: app{number}.example.com\n    policies:\n"
    for p in range(policies):
        decision = "deny" if p == 3 else "allow"
        text += POLICY.format(p=p, a=number, g=number % 20, decision=decision)
    return text


def write(folder: Path, applications: int = 1000, files: int = 0) -> Path:
    """Write sekisho.yml and, with files, conf.d/00.yml …; return the main file."""
    texts = [application(number) for number in range(applications)]
    groups = "".join(
        f"  - {{name: Group {g}, include: [{{email: g{g}@example.com}}, {{idp_group: team-{g}}}]}}\n"
        for g in range(20)
    )
    routes = "".join(
        f'  - {{hostname: app{n}.example.com, service: "http://10.0.0.7:{3000 + n}"}}\n'
        for n in range(applications)
    )
    include = 'include: ["conf.d/*.yml"]' if files else ""
    main = HEAD.format(include=include, groups=groups, routes=routes)
    if files:
        (folder / "conf.d").mkdir(parents=True, exist_ok=True)
        share = -(-applications // files)
        for f in range(files):
            part = "applications:\n" + "".join(texts[f * share : (f + 1) * share])
            (folder / "conf.d" / f"{f:02}.yml").write_text(part)
    else:
        main += "applications:\n" + "".join(texts)
    path = folder / "sekisho.yml"
    path.write_text(main)
    return path
