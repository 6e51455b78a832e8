"""The access log from one target to the next: nothing written is lost, and the counts only grow."""

from pathlib import Path

import pytest

from edge.server.access_log import AccessLogAt


def push(one: AccessLogAt, count: int) -> None:
    assert one.log is not None
    for _ in range(count):
        assert one.log.record({"path": b"/"}, status=200)


def test_counts_go_on_from_one_file_to_the_next(tmp_path: Path) -> None:
    first = AccessLogAt(str(tmp_path / "a.log"))
    push(first, 3)
    second = AccessLogAt(str(tmp_path / "b.log"), before=first)
    push(second, 2)
    second.take_over(first)
    assert (tmp_path / "a.log").read_text().count("\n") == 3
    none = AccessLogAt("off", before=second)
    none.take_over(second)
    assert (tmp_path / "b.log").read_text().count("\n") == 2
    assert none.log is None and none.counts() == (5, 0)
    none.reopen()
    none.close()
    third = AccessLogAt(str(tmp_path / "a.log"), before=none)
    assert third.counts() == (5, 0)
    push(third, 1)
    third.close()
    assert third.counts() == (6, 0) and (tmp_path / "a.log").read_text().count("\n") == 4


def test_a_file_that_cannot_be_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLogAt(str(tmp_path / "missing" / "a.log"))
    assert "missing" in caplog.text
    push(log, 2)
    log.close()
    assert log.counts() == (0, 2)
