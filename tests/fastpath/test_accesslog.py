"""accesslog.pyx: whole JSON lines, nothing that breaks a line or a terminal, and never a wait."""

import ast
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _fastpath.accesslog import AccessLog
from _fastpath.errors import reason_number

MAPPED = bytes(10) + b"\xff\xff"


def lines(path: Path) -> list[dict]:
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def one(path: Path, texts: dict[str, bytes], **numbers) -> dict:
    log = AccessLog(path)
    assert log.record(texts, **numbers)
    assert log.close()
    (line,) = lines(path)
    return line


def wait(condition) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_a_whole_line(path: Path) -> None:
    texts = {
        "method": b"GET",
        "host": b"wiki.example.com",
        "path": b"/a/b",
        "person": b"ada@example.com",
        "application": b"Wiki",
        "policy": b"Staff",
        "service_token": b"id-1",
        "tunnel": b"t-1",
    }
    line = one(
        path,
        texts,
        client=MAPPED + bytes([192, 0, 2, 7]),
        wall=1_700_000_000_123_456,
        request_id=0xABC,
        status=200,
        verdict=1,
        reason=reason_number("policy-allowed"),
        rule=2,
        bytes_in=10,
        bytes_out=2**40,
        first=400,
        total=900,
        upstream=300,
        link_rtt=250,
        snapshot=7,
        dropped=3,
        flags=1 | 2 | 4 | 8 | 16,
    )
    assert line == {
        **{name: text.decode() for name, text in texts.items()},
        "time": "2023-11-14T22:13:20.123456Z",
        "id": "0000000000000abc",
        "client": "192.0.2.7",
        "status": 200,
        "decision": "allow",
        "reason": "policy-allowed",
        "rule": 2,
        "bytes_in": 10,
        "bytes_out": 2**40,
        "first_us": 400,
        "total_us": 900,
        "edge_us": 100,
        "upstream_us": 300,
        "link_rtt_us": 250,
        "snapshot": 7,
        "dropped_fields": 3,
        "upgraded": True,
        "retried": True,
        "aborted": True,
        "tls": True,
    }


def test_what_there_is_not_is_left_out(path: Path) -> None:
    line = one(path, {}, client=bytes.fromhex("20010db8000000000000000000000007"))
    assert line == {
        "time": "1970-01-01T00:00:00.000000Z",
        "id": "0" * 16,
        "client": "2001:db8::7",
        "status": 0,
        "decision": "none",
        "bytes_in": 0,
        "bytes_out": 0,
        "total_us": 0,
        "snapshot": 0,
    }


def test_a_verdict_that_nobody_gave_is_none(path: Path) -> None:
    """Control's own pages and redirects aren't denials."""
    assert one(path, {}, verdict=0)["decision"] == "none"
    assert one(path.with_name("decided"), {}, verdict=0, flags=16)["decision"] == "deny"


def test_an_unknown_verdict_is_deny(path: Path) -> None:
    assert one(path, {}, verdict=77, flags=16)["decision"] == "deny"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'a"b\\c', 'a"b\\c'),
        (b"\x00\x01\x1b[2J\r\n\t\x7f", "\x00\x01\x1b[2J\r\n\t\x7f"),
        ("é日🎌".encode(), "é日🎌"),
        (b"\xff\xfe", "��"),
        (b"\xc0\xaf", "��"),
        (b"\xed\xa0\x80", "���"),
        (b"\xe0\x80\x80", "���"),
        (b"\xf0\x80\x80\x80", "����"),
        (b"\xf4\x90\x80\x80", "����"),
        (b"\xe6\x97", "��"),
        (b"\xc2", "�"),
        (b"\xc2\x9b2J", "\x9b2J"),
        (b"\xc2\xa0", "\xa0"),
        (b"\xf5\x80", "��"),
    ],
    ids=repr,
)
def test_q16_no_control_byte_and_no_bad_utf8_reaches_the_line(
    raw: bytes, text: str, path: Path
) -> None:
    assert one(path, {"path": raw})["path"] == text
    written = path.read_bytes()
    assert not any(byte < 32 or byte == 127 for byte in written[:-1])
    assert b"\xc2\x9b" not in written


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600))
def test_q16_any_bytes_make_one_line(raw: bytes) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"sekisho-log-{os.getpid()}"
    try:
        line = one(path, {"path": raw, "person": raw})
    finally:
        path.unlink()
    if len(raw) <= 254 and "\ufffd" not in line["path"]:
        assert line["path"].encode() == line["person"].encode() == raw


@pytest.mark.parametrize(("field", "most"), [("path", 512), ("person", 254), ("host", 254)])
def test_long_texts_are_cut_and_marked(field: str, most: int, path: Path) -> None:
    line = one(path, {field: b"a" * most})
    assert len(line[field]) == most and "cut" not in line
    path.unlink()
    line = one(path, {field: b"a" * (most + 1)})
    assert len(line[field]) == most and line["cut"] == [field]
    path.unlink()
    line = one(
        path, {field: ("a" * (most - 2) + "日本").encode()}
    )  # not in the middle of a sequence
    assert line[field] == "a" * (most - 2)


def test_a_full_record_keeps_what_came_first(path: Path) -> None:
    texts = {name: b"x" * 254 for name in ("host", "person", "application", "policy")}
    line = one(path, {"method": b"GET"} | texts | {"path": b"/" * 512})
    assert len(line["policy"]) == 254 and len(line["path"]) == 1216 - 3 - 4 * 254
    assert line["cut"] == ["path"]


def test_an_unknown_number_is_refused(path: Path) -> None:
    log = AccessLog(path)
    with pytest.raises(TypeError, match="no such number"):
        log.record({}, speed=1)
    assert log.close() and log.written == 0


def test_a_clean_stop_writes_everything(path: Path) -> None:
    log = AccessLog(path, slots=4096)
    for i in range(4000):
        assert log.record({"path": b"/%d" % i})
    assert log.close()
    assert [line["path"] for line in lines(path)] == [f"/{i}" for i in range(4000)]
    assert (log.written, log.dropped, log.lost) == (4000, 0, 0)
    assert log.close() and not log.record({})  # closed is closed
    log.reopen()


def test_two_workers_share_a_file(path: Path) -> None:
    logs = [AccessLog(path) for _ in range(2)]

    def work(log: AccessLog) -> None:
        for i in range(1500):
            log.record({"path": b"/" + b"x" * (i % 500)})

    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(log.close() for log in logs)
    assert len(lines(path)) == sum(log.written for log in logs) == 3000


def test_half_a_line_that_another_worker_is_writing_is_waited_for(path: Path) -> None:
    log = AccessLog(path)
    with path.open("ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b'{"half":')
        log.record({"path": b"/mine"})
        time.sleep(0.04)
        other.write(b"1}\n")
        fcntl.flock(other, fcntl.LOCK_UN)
        assert log.close()
    assert path.read_text().splitlines()[0] == '{"half":1}'
    assert lines(path)[1]["path"] == "/mine"


def test_a_worker_that_stopped_within_its_write_holds_nobody_up(path: Path) -> None:
    log = AccessLog(path)
    with path.open("ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        log.record({"path": b"/mine"})
        wait(lambda: log.written == 1)
    assert log.close()


def test_a_reader_that_locks_the_log_costs_no_record(path: Path) -> None:
    """No right to write is needed for LOCK_SH. Waiting 0.1 s for each block, the ring would overflow."""
    log = AccessLog(path)
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        began = time.monotonic()
        for n in range(1, 51):
            log.record({"path": b"/%d" % n})
            wait(lambda n=n: log.written == n)
        assert time.monotonic() - began < 4, "it was waited for once, not 50 times"
    assert log.close()
    assert [line["path"] for line in lines(path)] == [f"/{n}" for n in range(1, 51)]
    assert (log.dropped, log.lost) == (0, 0)


def test_the_file_is_made_for_owner_and_group_and_appended_to(path: Path) -> None:
    path.write_text('{"old":1}\n')
    one_more = AccessLog(path)
    one_more.record({})
    assert one_more.close()
    assert lines(path)[0] == {"old": 1} and len(lines(path)) == 2
    path.unlink()
    AccessLog(path).close()
    assert path.stat().st_mode & 0o007 == 0


def test_rotation(path: Path, tmp_path: Path) -> None:
    log = AccessLog(path)
    log.record({"path": b"/before"})
    wait(lambda: log.written == 1)
    path.rename(tmp_path / "access.log.1")
    log.record({"path": b"/between"})
    wait(lambda: log.written == 2)
    log.reopen()
    wait(path.exists)
    log.record({"path": b"/after"})
    assert log.close()
    assert [line["path"] for line in lines(tmp_path / "access.log.1")] == ["/before", "/between"]
    assert [line["path"] for line in lines(path)] == ["/after"]


def test_a_stalled_disk_drops_and_counts_and_never_waits() -> None:
    """A pipe that nobody reads stands for a disk that hangs."""
    reader, writer = os.pipe()
    log = AccessLog(writer, slots=64)
    start = time.monotonic()
    while log.dropped < 100:
        log.record({"path": b"/" + b"x" * 500})
        assert time.monotonic() - start < 5
    begun = time.monotonic()
    assert not log.record({})
    assert time.monotonic() - begun < 0.05
    seen = bytearray()
    done = threading.Event()

    def drain() -> None:
        while data := os.read(reader, 65536):
            seen.extend(data)
        done.set()

    threading.Thread(target=drain, daemon=True).start()
    assert log.close(5)
    os.close(writer)
    assert done.wait(5)
    os.close(reader)
    told = [json.loads(line) for line in bytes(seen).splitlines()]
    assert sum(line.get("dropped_records", 0) for line in told) == log.dropped
    assert len(told) == log.written


def test_stopping_gives_up_on_a_disk_that_hangs() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = AccessLog(writer, slots=64)
    while log.dropped == 0:
        log.record({"path": b"/" + b"x" * 500})
    begun = time.monotonic()
    assert not log.close(0.1)
    assert 0.1 <= time.monotonic() - begun < 2
    os.close(reader)  # the write fails now, and the thread ends
    os.close(writer)


def test_lines_that_the_disk_refuses_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog(full)
    log.record({})
    log.record({})
    assert log.close()
    os.close(full)
    assert (log.written, log.lost) == (0, 2)


SMALL_DISK = """
import resource, sys, time
from _fastpath.accesslog import AccessLog

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
logs = [AccessLog(sys.argv[1]) for _ in range(2)]


def settle():
    for log in logs:
        while log.written + log.lost < pushed[log]:
            time.sleep(0.002)


pushed = dict.fromkeys(logs, 0)
for log in logs:
    for i in range(5):
        assert log.record({"path": b"/%d" % i + b"x" * 100})
        pushed[log] += 1
    settle()
full = [(log.written, log.lost) for log in logs]
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
for log in reversed(logs):
    assert log.record({"path": b"/after"})
    time.sleep(0.05)  # the other one's lines come in between
assert all(log.close() for log in logs)
print(full, [(log.written, log.lost) for log in logs])
"""


def test_a_disk_that_fills_within_a_line_tears_that_line_only(path: Path) -> None:
    """The limit lies in the middle of a line, as the end of a disk does: two workers, one file."""
    done = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(path)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    counted = ast.literal_eval(done.stdout.replace("] [", "], ["))
    raw = path.read_bytes()
    assert raw.endswith(b"\n")
    torn, whole = [], []
    for line in raw.splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            torn.append(line)
    assert len(torn) == 1 and torn[0].startswith(b'{"time"')
    before, after = counted
    lost = sum(one[1] for one in before)
    assert lost == 10 - sum(one[0] for one in before) > 2
    assert [one[1] for one in after] == [one[1] for one in before]
    # every line that counts as written can be read, and the log says what it lacks
    assert len(whole) == sum(one[0] for one in after)
    assert [line["path"] for line in whole if line.get("path") == "/after"] == ["/after"] * 2
    assert sum(line.get("lost_records", 0) for line in whole) == lost


def test_half_a_line_of_somebody_else_is_ended_first(path: Path) -> None:
    """What a power cut or a full disk left behind."""
    path.write_bytes(b'{"time":"2026')
    log = AccessLog(path)
    log.record({"path": b"/next"})
    assert log.close()
    first, second = path.read_bytes().splitlines()
    assert first == b'{"time":"2026' and json.loads(second)["path"] == "/next"


def test_a_file_that_is_not_required_is_opened_when_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "later" / "access.log"
    log = AccessLog(path, required=False)
    log.record({"path": b"/lost"})
    wait(lambda: log.lost == 1)
    path.parent.mkdir()
    log.record({"path": b"/kept"})
    assert log.close() and (log.written, log.lost) == (2, 1)
    told = lines(path)
    assert told[0]["path"] == "/kept" and told[1]["lost_records"] == 1


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(tmp_path / "no" / "such" / "folder.log")
    with pytest.raises(IsADirectoryError):
        AccessLog(tmp_path)


@pytest.mark.parametrize("slots", [0, 1, 3, 1000])
def test_slots_are_a_power_of_two(slots: int, path: Path) -> None:
    with pytest.raises(ValueError, match="power of two"):
        AccessLog(path, slots=slots)


def test_a_log_that_is_forgotten_still_writes(path: Path) -> None:
    log = AccessLog(path)
    log.record({"path": b"/last"})
    del log
    assert lines(path)[0]["path"] == "/last"
