"""python -m tests.kit.limits_document: write docs/limits.md from _fastpath/limits.pxd."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = """# Limits

Every bound of the data path: its name, number, unit, and what happens when it is passed. Written
from `_fastpath/limits.pxd` by `python -m tests.kit.limits_document`; a test fails when the two
differ. Reasons are those of [reasons.md](reasons.md). Time-outs, and the bounds of a head, of its
fields, of the target and of connections per address, can be set in the configuration
([configuration.md](configuration.md)): here stands what they are when it is silent. The rest is
fixed.
"""


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


def document(source: str) -> str:
    """Return the text of docs/limits.md."""
    out = [HEAD]
    for name, value, comment in rows(source):
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
