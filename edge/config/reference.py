"""docs/configuration.md, made from the model:
`python -m edge.config.reference > docs/configuration.md`."""

import re

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge.config.criteria import CRITERIA, NOT_HERE
from edge.config.model import (
    AddressList,
    Application,
    Certificate,
    Config,
    Group,
    IdentityProvider,
    Limits,
    Mail,
    OriginOptions,
    Part,
    Policy,
    Route,
    Timeouts,
    Tunnel,
)
from edge.config.starter import starter

PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("certificates", Certificate),
    ("mail", Mail),
    ("identity_providers", IdentityProvider),
    ("groups", Group),
    ("lists", AddressList),
    ("tunnels", Tunnel),
    ("routes", Route),
    ("routes: origin_request", OriginOptions),
    ("applications", Application),
    ("applications: policies", Policy),
    ("timeouts", Timeouts),
    ("limits", Limits),
)

INTRODUCTION = """\
# Configuration: `sekisho.yml`

This page is made from the program's own model (`python -m edge.config.reference`).

- YAML. A key that is not known, one that is there twice, a name that does not exist: each is an
  error with its place, `file:line:column: what is wrong (did you mean …?)`. All errors of all files
  are found at once (`sekisho edge check`, exit status 2), and a configuration with an error changes
  nothing that runs.
- Every scalar is text until the key's type reads it, so `NO`, `1.10` and `0755` are never something
  else. A key without a value is the same as no key. Anchors, aliases, merge keys and tags are
  errors: write the value out.
- Secrets stand in files of their own (keys that end in `_file`, and `key`), readable by the service
  alone. Relative paths count from the folder of the file that they stand in. `credential:NAME` is
  systemd's credential of that name (`LoadCredential=`, below `$CREDENTIALS_DIRECTORY`).
- Durations have a unit: `90s`, `30m`, `24h`, `7d`, `1h30m`. Sizes are numbers, or have `KiB`,
  `MiB`, `GiB`.
- `include: ["conf.d/*.yml"]` reads more files. They hold {lists} and nothing else; names are unique
  over all files.
- Changes are seen within a second, and by `sekisho edge reload` and SIGHUP. What must exist before
  the first worker starts (`listen` and its kin, `state`, folders, `workers`) takes a restart.
- `sekisho edge schema` prints a JSON Schema for editors:
  `# yaml-language-server: $schema=sekisho.schema.json`.

What `sekisho edge init` writes:

```yaml
{starter}```
"""

RULES = """\
## Rules

A rule is one criterion with its value, in the short form or in the shape of Cloudflare's API:
`{email: ada@example.com}` or `{"email": {"email": "ada@example.com"}}`. Both are the same rule.
How rules in `include`, `require` and `exclude` come to a decision is told in
[policies.md](policies.md).
Cloudflare's other criteria do not exist here ({not_here}): naming one is an error.

| criterion | short form | Cloudflare's shape | true when |
|---|---|---|---|
"""

WORDS = {  # validator -> how its value is written
    "truth": "true/false", "session_length": "duration", "whole_duration": "duration",
    "duration": "duration", "size": "size", "whole": "number", "listen": "address:port",
    "network": "network", "file_path": "file", "http_url": "URL", "origin": "web origin",
    "host_pattern": "host name or `*.` and one", "host_name": "host name",
    "domain": "host or host/path",
    "aud_tag": "64 hexadecimal digits", "parse": "rule", "service": "service",
}  # fmt: skip


def type_text(field: FieldInfo) -> str:
    """Return how a value of this key is written."""
    text = f"{field.annotation} {field.metadata}"
    listed = "list of " if str(field.annotation).startswith("list[") else ""
    if choices := re.search(r"Literal\[(.*?)\]", text):
        return listed + " or ".join(f"`{one.strip()[1:-1]}`" for one in choices[1].split(","))
    if named := re.search(r"<function (\w+) at", text):
        return (
            listed + WORDS.get(named[1], "text") + ("s" if listed and named[1] == "parse" else "")
        )
    return listed + ("mapping" if "edge.config.model" in text else "text") + ("s" if listed else "")


def default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.default
    if value is None or isinstance(value, BaseModel) or value == []:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return ", ".join(f"`{one}`" for one in value)
    if type_text(field) == "duration":
        return f"`{duration_text(float(value))}`"
    return f"`{value}`"


def duration_text(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0 and (unit != "d" or seconds >= 7 * length):
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def table(model: type[BaseModel]) -> list[str]:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        kind = type_text(field)
        names = f"`{field.alias or name}`"
        theirs = [t for t, ours in getattr(model, "spellings", {}).items() if ours == name]
        names += "".join(f" (`{t}`)" for t in theirs)
        description = (field.description or "").replace("|", "\\|")
        lines.append(f"| {names} | {kind} | {default_text(field)} | {description} |")
    return lines


def criteria_lines() -> list[str]:
    lines = []
    for kind in CRITERIA.values():
        schema = dict(kind.schema)
        shapes = schema.get("anyOf", [schema])
        short = "" if any(s.get("type") == "string" for s in shapes) else "–"
        if isinstance(schema.get("type"), list):
            short, shape = f"`{kind.name}`", "`{}`"
        else:
            shape = next(
                "{" + ", ".join(
                    f"`{key}`" + ("" if key in s["required"] else "?") for key in s["properties"]
                ) + "}"
                for s in shapes if "properties" in s
            )  # fmt: skip
            short = short or f"`{kind.name}: …`"
        names = f"`{kind.name}`" + (f" (`{kind.api}`)" if kind.api else "")
        lines.append(f"| {names} | {short} | {shape} | {kind.description} |")
    return lines


def markdown() -> str:
    """Return the whole page."""
    lists = ", ".join(f"`{name}`" for name in Part.model_fields)
    intro = INTRODUCTION.replace("{lists}", lists).replace(
        "{starter}", starter("login.example.com")
    )
    lines = [intro, "## Top level", "", *table(Config), ""]
    for heading, model in PARTS:
        doc = " ".join((model.__doc__ or "").split())
        lines += [f"## `{heading}`", "", doc, "", *table(model), ""]
    rules = RULES.replace("{not_here}", ", ".join(f"`{name}`" for name in NOT_HERE))
    lines += [rules + "\n".join(criteria_lines()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")
