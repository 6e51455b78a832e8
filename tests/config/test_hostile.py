"""Files that mean harm, or are none: each has its place, changes nothing, and takes bounded time."""

import itertools
import os
import time
from pathlib import Path

import pytest

from edge.config import load
from edge.config.files import MAX_CONFIG
from tests.config.test_check import ALLOW, APP, BASE, KEYED, LINES

RULE = LINES + 5


def read(path: Path) -> list[str]:
    """Return the errors without the file's name; one load takes seconds even on a busy machine."""
    began = time.process_time()
    loaded = load(path)
    assert time.process_time() - began < 15
    return [str(p).removeprefix(f"{path}:") for p in loaded.errors]


def errors_of(tmp_path: Path, text: str | bytes) -> list[str]:
    path = tmp_path / "sekisho.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


NINE = "abcdefghij"
BOMB = "a: &a [x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, here in itertools.pairwise(NINE)
)


def test_aliases_do_not_unfold(tmp_path: Path) -> None:
    found = errors_of(tmp_path, BASE + BOMB)
    assert len(found) == 10 + 9 * 9
    assert found[0] == f"{LINES + 1}:4: an anchor (&a) is not allowed: write the value out"


@pytest.mark.parametrize(("text", "expected"), [
    (BASE + "hsts: " + "[" * 100_000 + "]" * 100_000, f"{LINES + 1}:1006: this is not YAML: exceeded maximum nesting depth"),
    (BASE + "hsts: " + "{a: " * 50_000, f"{LINES + 1}:"),
    (BASE.replace("\n", "\r\n") + "hstss: 1\r\n", f"{LINES + 1}:1: there is no key “hstss” here (did you mean “hsts”?)"),
    (BASE.replace("\n", "\r") + "hstss: 1\r", f"{LINES + 1}:1: there is no key “hstss” here (did you mean “hsts”?)"),
    ("\ufeff" + BASE + "hstss: 1\n", f"{LINES + 1}:1: there is no key “hstss” here (did you mean “hsts”?)"),
    (BASE + "hs\ufeffts: 1\n", f"{LINES + 1}:1: there is no key “hs\\ufeffts” here (did you mean “hsts”?)"),
    (BASE + "hsts: \0\n", f"{LINES + 1}:7: a control character; YAML does not allow it here"),
    (BASE.encode("utf-16"), "1:1: this byte is not UTF-8"),
    (BASE.encode() + b"hsts: \xed\xa0\x80\n", f"{LINES + 1}:7: this byte is not UTF-8"),
    (BASE + "---\n" + BASE, f"{LINES + 1}:1: this is not YAML: but found another document"),
    (BASE + "? [a, b]\n: 1\n", f"{LINES + 1}:3: a key is a word"),
    (BASE + "hsts: 1d\n? hsts\n: 2d\n", f"{LINES + 2}:3: “hsts” is here twice; the first is in line {LINES + 1}"),
    (BASE + "hsts: " + "9" * 40 + "h\n", f"{LINES + 1}:7: nothing here lasts longer than 100 years (36500d)"),
    (BASE + "x" * 1_000_000 + ": 1\n", f"{LINES + 1}:1000001: this is not YAML: could not find expected ':' (a key without “: ” behind it, or the indentation)"),
], ids=["flow", "maps", "crlf", "cr", "bom", "bom within", "nul", "utf-16", "surrogate", "two documents",
        "list as key", "twice in another form", "for ever", "long key"])  # fmt: skip
def test_one_bad_file(text: str | bytes, expected: str, tmp_path: Path) -> None:
    (only,) = errors_of(tmp_path, text)
    assert only.startswith(expected)


@pytest.mark.parametrize(("text", "count", "last"), [
    ("".join(f"key{n}: 1\n" for n in range(10_000)), 10_000, f"{LINES + 10_000}:1: there is no key “key9999” here"),
    ("timeouts:\n" + "  head: 1s\n" * 10_001, 10_000, f"{LINES + 10_002}:3: “head” is here twice; the first is in line {LINES + 2}"),
    (APP + "      - {name: P, decision: allow, include: [\n" + "".join("{emial: x},\n" for _ in range(10_000)) + "]}\n",
     10_000, f"{RULE + 10_000}:2: there is no criterion “emial”"),
    ("".join(f"  - {{hostname: -x{n}-.example.com, tunnel: t, bogus: 1}}\n" for n in range(5_000)), 10_000,
     f"{LINES + 5_000}:48: there is no key “bogus” here"),
    ("groups:\n" + "".join(f"  - {{name: Group {n}, include: [everyone]}}\n" for n in range(2_000)) + APP
     + "      - {name: P, decision: allow, include: [\n" + "".join(f"{{group: Grup {n}}},\n" for n in range(10_000)) + "]}\n",
     10_000, f"{RULE + 12_001}:9: there is no group “Grup 9999”"),
], ids=["keys", "twice", "criteria", "two in each route", "names"])  # fmt: skip
def test_ten_thousand_errors_at_once(text: str, count: int, last: str, tmp_path: Path) -> None:
    found = errors_of(tmp_path, BASE + text)
    assert len(found) == count
    assert found[-1] == last


def test_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.yml"
    with path.open("wb") as file:
        file.truncate(100 << 20)  # a hole: takes no room
    assert read(path) == [f"1:1: {path} can't be read: it is larger than {MAX_CONFIG >> 20} MiB"]


def test_group_chains_and_large_cycles(tmp_path: Path) -> None:
    chain = "".join(f"  - {{name: G{n}, include: [{{group: G{n + 1}}}]}}\n" for n in range(5000))
    text = BASE + "groups:\n" + chain + "  - {name: G5000, include: [everyone]}\n"
    assert errors_of(tmp_path, text) == [
        f"{LINES + 2 + 5000 - 16}:5: groups nest deeper than 16 levels"
    ]
    sixteen = BASE + "groups:\n" + "".join(chain.splitlines(True)[-15:]) + (
        "  - {name: G5000, include: [everyone]}\n"
    )
    assert errors_of(tmp_path, sixteen) == []
    (only,) = errors_of(tmp_path, text.replace("[everyone]", "[{group: G0}]"))
    assert only.startswith(f"{LINES + 5002}:37: groups may not contain each other: “G0” → ")
    assert len(only) < 200


# -- values that look harmless: each one error at its place


TAG = "is not allowed"


@pytest.mark.parametrize(("line", "column", "starts"), [
    ("hsts: a\x9bb", 8, "a control character; YAML does not allow it here"),
    ("hsts: \ufffe", 7, "a control character; YAML does not allow it here"),
    ("hsts: " + "9" * 1_000_000, 7, "“999"),
    ("hsts: ٣d", 7, "“٣d” is not a duration"),
    ("hsts: 2026-11-25", 7, "“2026-11-25” is not a duration"),
    ("hsts: 1:30:00", 7, "“1:30:00” is not a duration"),
    ("public_port: 0777", 14, "this must be a whole number"),
    ("public_port: 0o777", 14, "this must be a whole number"),
    ("public_port: ４４３", 14, "this must be a whole number"),
    ("public_port: 4_43", 14, "this must be a whole number"),
    ("demo: y", 7, "this must be true or false"),
    ("organization: !!python/object/apply:os.system x", 15, f"a tag (tag:yaml.org,2002:python/object/apply:os.system) {TAG}"),
    ("organization: !!binary aGk=", 15, f"a tag (tag:yaml.org,2002:binary) {TAG}"),
    ("? !!int organization\n: x", 3, f"a tag (tag:yaml.org,2002:int) {TAG}"),
    ("organization: \"a\\u202eb\"", 15, "a name has 1 to 255 printable characters"),
    ("access_log: \"/x\\ny\"", 13, "this must be one line without control characters"),
    ("access_log: ''", 13, "this must not be empty"),
    ("include: \"a\\0*\"", 10, "this must be one line without control characters"),
    ("state: mysql://x", 8, "write sqlite:////path or postgresql://…"),
    ("state: \"sqlite:////a\\0b\"", 8, "this must be one line without control characters"),
    ("state_folder: ~nobody-xyz/x", 15, "“~nobody-xyz/x” begins with the home of nobody here"),
    ("limits: {connections_per_address: 0}", 35, "this is at least 1"),
    ("monitor: 127.0.0.1:９０", 10, "“127.0.0.1:９０” is not an address and port"),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_one_bad_value(line: str, column: int, starts: str, tmp_path: Path) -> None:
    (only,) = errors_of(tmp_path, f"{BASE}{line}\n")
    assert only.startswith(f"{LINES + 1}:{column}: {starts}"), only
    assert len(only) < 700 and only.isprintable()


@pytest.mark.parametrize(("old", "new", "starts"), [
    ("login.example.com", "ü" * 1_000_000, "1:14: “üüü"),
    ("10.0.0.0/24", "10.0.0.0/0.0.0.0", "3:19: “10.0.0.0/0.0.0.0”: write the prefix's length, not a mask"),
    ("10.0.0.0/24", "10.0.0.0/0.0.0.255", "3:19: “10.0.0.0/0.0.0.255”: write the prefix's length, not a mask, like 203.0.113.0/24"),
    ("10.0.0.0/24", "fe80::1%eth0", "3:19: “fe80::1%eth0” has a zone"),
    ("smtps://mail.example.com", "smtps://:465", "4:16: write smtps://host:465 or smtp://host:587"),
    ("smtps://mail.example.com", "smtps://u:p@h/x", "4:16: write smtps://host:465 or smtp://host:587"),
    ("smtps://mail.example.com", "smtps://h:99999", "4:16: write smtps://host:465 or smtp://host:587"),
    ("from: a@example.com", "from: \"a@example.com\\r\\nBcc: x@y.z\"", "4:50: this must be one line"),
    ("from: a@example.com", "from: nobody", "4:50: “nobody” is no sender"),
    ("https://id.example.com", "https://id.example.com\\r\\nx", "7:37: “https://id.example.com\\r\\nx” is not a URL"),
    ("https://id.example.com", "https://id example.com", "7:37: “https://id example.com” is not a URL"),
    ("client_id: x", "client_id: \"x\\ny\"", "7:74: this must be one line without control characters"),
    ("http://10.0.0.7:3000", "http://10.0.0.7\\r\\n:3000", "9:40: “http://10.0.0.7\\r\\n:3000” is no service"),
    ("http://10.0.0.7:3000", "unix:/x\\e[31m", "9:40: “unix:/x\\x1b[31m” is no service"),
    (":3000\"", ":3000\", originRequest: {httpHostHeader: \"a\\r\\nX: y\"}", "9:96: “a\\r\\nX: y” is no Host header"),
    (":3000\"", ":3000\", originRequest: {noTLSVerify: true, no_tls_verify: false}", "9:80: “noTLSVerify” is here twice, as “no_tls_verify” too"),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_one_bad_value_in_a_good_file(old: str, new: str, starts: str, tmp_path: Path) -> None:
    assert old in BASE
    (only,) = errors_of(tmp_path, BASE.replace(old, new))
    assert only.startswith(starts), only
    assert len(only) < 700 and only.isprintable()


# -- what is no file


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """Reading a FIFO without a writer would hold up control for ever."""
    path = tmp_path / "sekisho.yml"
    os.mkfifo(path)
    assert read(path) == [f"1:1: {path} can't be read: it is not a regular file"]
    path.unlink()
    (tmp_path / "conf.d").mkdir()
    os.mkfifo(tmp_path / "conf.d" / "a.yml")
    found = errors_of(tmp_path, BASE + "include: conf.d/*.yml\n")
    assert found == [
        f"{LINES + 1}:10: {tmp_path}/conf.d/a.yml can't be read: it is not a regular file"
    ]


def test_key_and_list_that_are_fifos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "cert.pem").write_text("x")
    assert errors_of(tmp_path, KEYED.replace("cert.key", "fifo")) == [
        f"{LINES + 2}:45: {tmp_path}/fifo is not a file"
    ]
    found = errors_of(tmp_path, BASE + "lists:\n  - {name: L, type: ip, file: fifo}\n")
    assert found == [
        f"{LINES + 2}:31: {tmp_path}/fifo can't be read: it is not a regular file"
    ]


def test_folders_and_devices(tmp_path: Path) -> None:
    assert read(tmp_path) == [f"1:1: {tmp_path} can't be read: it is not a regular file"]
    zero = Path("/dev/zero")
    assert read(zero) == ["1:1: /dev/zero can't be read: it is not a regular file"]


def test_list_that_is_not_utf8_says_its_line(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"a@b.c\n\xff\n")
    found = errors_of(tmp_path, BASE + "lists:\n  - {name: L, type: email, file: l}\n")
    assert found == [f"{LINES + 2}:34: {tmp_path}/l, line 2: not UTF-8"]


def test_include_of_itself_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "loop.yml").symlink_to("../sekisho.yml")
    path = tmp_path / "sekisho.yml"
    path.write_text(BASE + "include: [conf.d/*.yml, sekisho.yml]\n")
    found = [str(p) for p in load(path).errors]
    # as an included file it may hold lists only, and the names in it are there twice
    assert f"{tmp_path}/conf.d/loop.yml:1:1: there is no key “auth_domain” here" in found
    assert f"{tmp_path}/conf.d/loop.yml:{LINES + 1}:1: there is no key “include” here" in found


def test_link_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "sekisho.yml").symlink_to("sekisho.yml")
    (only,) = read(tmp_path / "sekisho.yml")
    assert only.endswith("can't be read: Too many levels of symbolic links")


def test_name_that_is_not_utf8_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "conf.d") + b"/\xff.yml")).write_text("qqq: 1\n")
    path = tmp_path / "sekisho.yml"
    path.write_text(BASE + "include: conf.d/*.yml\n")
    (only,) = load(path).errors
    assert str(only).encode().endswith("conf.d/\\xff.yml:1:1: there is no key “qqq” here".encode())


def test_credentials_folder_is_not_left_by_dots_or_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what lies below $CREDENTIALS_DIRECTORY is systemd's affair."""
    (tmp_path / "cert.pem").write_text("x")
    (tmp_path / "open.key").write_text("x")
    (tmp_path / "open.key").chmod(0o644)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "link.key").symlink_to("../open.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    for name in (f"{credentials}/../open.key", f"{credentials}/link.key"):
        assert errors_of(tmp_path, KEYED.replace("cert.key", name)) == [
            f"{LINES + 2}:45: {name} can be read or written by anybody (mode 0644); chmod 600 it"
        ]


def test_replaced_while_it_is_read(tmp_path: Path) -> None:
    """Whatever is read is one whole file, the old or the new one, and the change is noticed."""
    import threading

    from edge.config import Workshop

    texts = [BASE + APP + f"      - {ALLOW}\n", BASE]
    path = tmp_path / "sekisho.yml"
    path.write_text(texts[0])
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            (tmp_path / "new").write_text(texts[number % 2])
            os.replace(tmp_path / "new", path)

    thread = threading.Thread(target=replace)
    shop = Workshop(path)
    thread.start()
    try:
        for _ in range(50):
            assert shop.load().errors == []
    finally:
        stop.set()
        thread.join()
    shop.load()
    assert not shop.changed()
