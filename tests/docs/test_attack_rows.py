"""Every row of the list of negative cases is named by a test, or stands in docs/attack-rows.md with its reason."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
PAGE = TESTS.parent / "docs" / "attack-rows.md"
SHARED = TESTS.parents[1] / "shared" / "negative-cases.md"   # where the project's papers lie beside the tree
# those that issue 3 asks for with a look at what the origin saw
ORIGIN_TOO = re.compile("[ABCDJKLMO]..|I0[123478]|P10|Q0[1-4]|Q19|Q20|H01")
ROW = re.compile(r"[A-QZ]\d\d")


def listed() -> list[str]:
    """Return the rows of the committed list."""
    return (HERE / "attack_rows.txt").read_text().split()


def named(folders: tuple[str, ...]) -> set[str]:
    """Return the rows that tests name: in a docstring, an id or a table, `M01`; or in a test's own name, `test_m01_`."""
    found: set[str] = set()
    for folder in folders:
        for path in (TESTS / folder).rglob("test_*.py"):
            text = path.read_text()
            found |= {m[0] for m in re.finditer(r"(?<![A-Za-z0-9\\])[A-QZ]\d\d(?![0-9a-zA-Z])", text)}
            for name in re.findall(r"def (test_\w+)", text):
                found |= {part.upper() for part in name.split("_") if ROW.fullmatch(part.upper())}
    return found


def excused() -> dict[str, str]:
    """Return the rows of the page with their reasons; a row is there whole or, in brackets, in part."""
    found = {}
    for cells in re.findall(r"^\| ([A-QZ]\d\d[^|]*) \| ([^|]+) \|$", PAGE.read_text(), re.M):
        for row in ROW.findall(cells[0]):
            found[row] = cells[1].strip()
    return found


ROOMS = tuple(path.name for path in TESTS.iterdir() if path.is_dir())


def test_every_row_is_tested_or_excused() -> None:
    lost = set(listed()) - named(ROOMS) - excused().keys()
    assert not lost, "neither named by a test nor listed with a reason"
    assert all(len(why) > 20 for why in excused().values())


def test_rows_that_are_tested_with_an_origin_are_not_only_tested_in_their_rooms() -> None:
    wanted = {row for row in listed() if ORIGIN_TOO.fullmatch(row)}
    assert len(wanted) > 180
    lost = wanted - named(("security", "connector", "e2e")) - excused().keys()
    assert not sorted(lost), "no test of a whole edge names them; where there is no request to an origin, the page says so"


def test_no_excuse_for_a_row_that_there_is_not() -> None:
    assert not excused().keys() - set(listed())


def test_the_committed_list_is_the_project_s_own() -> None:
    """Where the papers don't lie beside the tree, the list is all there is."""
    rows = re.findall(r"^\| ([A-QZ]\d\d) ", SHARED.read_text(), re.M) if SHARED.exists() else listed()
    assert rows == listed() and len(set(rows)) == 302
