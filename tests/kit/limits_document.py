"""python -m tests.kit.limits_document: write docs/limits.md from _fastpath/limits.pxd and from the
bounds that only Python knows."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = """# Limits

Every bound: its name, number, unit, and what happens when it is passed. Written from
`_fastpath/limits.pxd` and `clearing.pxd`, and from the constants of sign-in and links, by
`python -m tests.kit.limits_document`; a test fails when they differ. Reasons are those of
[reasons.md](reasons.md). Time-outs, and the bounds of a head, of its fields, of the target and of
connections per address, can be set in the configuration ([configuration.md](configuration.md)):
here stands what they are when it is silent. The rest is fixed.
"""

CLEARING = (ROOT / "_fastpath/clearing.pxd").read_text(encoding="utf-8")
# Heading -> files whose constants with a comment `unit; consequence` stand below it.
PYTHON = {
    "Signing in": (
        "edge/control/visit.py",
        "edge/identity/providers/pin.py",
        "edge/identity/mail.py",
        "edge/store/flows.py",
        "edge/store/sessions.py",
        "edge/identity/revocations.py",
    ),
    "Audit events": ("edge/identity/audit.py",),
    "Registering a link": (
        "edge/server/registrar.py",
        "edge/server/admission.py",
        "edge/server/link_state.py",
    ),
}


def rows(source: str) -> list[tuple[str, str, str]]:
    """[(name, value, comment)] in order; a heading is ("", "", text)."""
    found: list[tuple[str, str, str]] = []
    for line in source.splitlines():
        if heading := re.fullmatch(r"    # -- (.*?)(?: --)?", line):
            found.append(("", "", heading[1].split(" --")[0]))
        elif bound := re.fullmatch(r"    (\w+) = (\w+) +# (.*)", line):
            found.append((bound[1], bound[2], bound[3]))
        elif (more := re.fullmatch(r" {20,}# (.*)", line)) and found:
            name, value, comment = found[-1]
            found[-1] = (name, value, f"{comment} {more[1]}")
    return found


def python_rows() -> list[tuple[str, str, str]]:
    """The same for the bounds of PYTHON, as their files stand."""
    found: list[tuple[str, str, str]] = []
    for heading, files in PYTHON.items():
        found.append(("", "", heading))
        for file in files:
            before = ""
            for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
                bound = re.fullmatch(r"([A-Z][A-Z_]*) = ([\d_]+)(?:\.0)?(?: +# (.*))?", line)
                comment = (bound[3] or before) if bound else ""
                if bound and "; " in comment:
                    found.append((bound[1], bound[2], comment))
                before = line[2:] if line.startswith("# ") else ""
    return found


def document(source: str) -> str:
    """Return the text of docs/limits.md."""
    out = [HEAD]
    for name, value, comment in [*rows(source), *rows(CLEARING), *python_rows()]:
        if not name:
            out.append(
                f"\n## {comment}\n\n| name | value | unit | consequence |\n|---|---|---|---|\n"
            )
            continue
        unit, _, consequence = comment.replace("|", "\\|").partition("; ")
        out.append(f"| `{name}` | {int(value, 0):,} | {unit} | {consequence or 'as it says'} |\n")
    return "".join(out)


if __name__ == "__main__":
    text = document((ROOT / "_fastpath/limits.pxd").read_text(encoding="utf-8"))
    (ROOT / "docs/limits.md").write_text(text, encoding="utf-8")
