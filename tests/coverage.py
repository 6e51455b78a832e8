"""python -m tests.coverage [--room=NAME …] [PYTEST-ARGUMENTS]: line coverage of compiled rooms.

For the `trace` flavour (`make trace`), whose generated C calls a trace function on each line. What
can be run is read from that C, what was run from sys.settrace. A line that can't be reached says
why in a comment `# unreachable: …` and is shown apart. Exit status 1 when another line of ROOMS
never ran, or when the tests fail. The GIL is taken for each line: slow."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOMS = (
    "http1",
    "body",
    "head",
    "frame",
    "mux",
    "roster",
    "schedule",
    "pulse",
    "window",
    "jwt",
    "token",
    "revocations",
    "servicetoken",
    "facts",
    "policy",
    "explain",
)  # these must be at 100 %
TESTS = ["tests/fastpath", "tests/fuzz"]
ROOT = Path(__file__).parents[1]


def runnable(room: str) -> set[int]:
    """Lines of a .pyx that have code, by the trace calls in its C."""
    text = (ROOT / f"build/trace/_fastpath/{room}.c").read_text(encoding="utf-8", errors="replace")
    files = re.search(r"__pyx_f\[\] = \{([^}]*)\}", text)
    assert files, room
    number = re.findall(r'"([^"]+)"', files[1]).index(f"_fastpath/{room}.pyx")
    calls = re.findall(rf"__Pyx_TraceLine\(\d+,\d+,\d,__PYX_ERR\({number}, (\d+),", text)
    return {int(line) for line in calls}


class Lines:
    """Collects the lines that ran, by file."""

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {}

    def pytest_runtest_call(self) -> None:
        sys.settrace(self)  # again for each test: Hypothesis takes it away

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.endswith((".pyx", ".pxd")):
            return None
        self.seen.setdefault(name, set()).add(frame.f_lineno)
        return self


def spans(lines: list[int]) -> str:
    """`3 7–9 12` for [3, 7, 8, 9, 12]."""
    out: list[list[int]] = []
    for line in lines:
        if out and line == out[-1][-1] + 1:
            out[-1].append(line)
        else:
            out.append([line])
    return " ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in out)


def report(room: str, seen: set[int]) -> bool:
    """Print one room's line; True when nothing is missing."""
    source = (ROOT / f"_fastpath/{room}.pyx").read_text(encoding="utf-8").splitlines()
    lines = runnable(room)
    excused = {n for n in lines if "# unreachable:" in source[n - 1]} - seen
    missing = sorted(lines - seen - excused)
    share = 100 * (len(lines) - len(missing) - len(excused)) / max(len(lines), 1)
    print(f"{room:9} {len(lines):5} lines {share:6.1f} %  missing: {spans(missing) or 'none'}"
          f"{f'  unreachable: {spans(sorted(excused))}' if excused else ''}")  # fmt: skip
    return not missing


def main(arguments: list[str]) -> int:
    """Run pytest under the tracer, then report each room."""
    rooms = [a.removeprefix("--room=") for a in arguments if a.startswith("--room=")] or list(ROOMS)
    rest = [a for a in arguments if not a.startswith("--room=")] or TESTS
    lines = Lines()
    sys.settrace(lines)
    try:
        # Modules are imported under the tracer: their tables count too.
        status = int(pytest.main(["-p", "no:cacheprovider", "-q", *rest], plugins=[lines]))
    finally:
        sys.settrace(None)
    whole = [report(room, lines.seen.get(f"_fastpath/{room}.pyx", set())) for room in rooms]
    return status or (0 if all(whole) else 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
