
"""A snapshot is read only when every byte of it is as it was written, and everything in it points inside."""

import hashlib
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from _fastpath.explain import explain, judge
from _fastpath.snapshot import (
    DIGEST_AT,
    HEADER_SIZE,
    SECTION_NAMES,
    SIZES,
    Snapshot,
    SnapshotDamaged,
    set_table,
)
from edge.config.compile import APP, ROUTE, TABLE
from edge.config.compile import HEAD as FILE_HEAD
from edge.config.fragment import BLOCK, HEAD, INSTR
from edge.config.hosts import HOST, PATH
from edge.config.tables import RANGE4, RANGE6
from tests.kit.policy_cases import application, compiled_bytes

EMAILS = [{"email": f"user{n}@example.com"} for n in range(20)]
NETWORKS = [{"ip": f"10.{n}.0.0/16"} for n in range(5)] + [
    {"ip": f"2001:db8:{n}::/48"} for n in range(1, 6)
]


def everything() -> bytes:
    """A snapshot that has one of each thing."""
    return compiled_bytes(
        7,
        groups=[{"name": "g", "include": [{"email_domain": "example.com"}]}],
        routes=[
            {"hostname": "app.example.com", "tunnel": "office"},
            {"hostname": "*.example.com", "service": "https://[::1]:8443",
             "origin_request": {"http_host_header": "x", "origin_server_name": "y.example"}},
        ],
        applications=[
            application(
                [{"decision": "bypass", "include": NETWORKS, "exclude": [{"ip": "10.1.0.1"}]},
                 {"decision": "allow", "include": [*EMAILS, {"group": "g"}], "require": [{"login_method": "SSO"}]}],
                allowed_origins=["https://Other.example.com:443", "http://x.example.com:8080"],
                id="app-id", aud="ab" * 32, same_site="none",
            ),
            application([{"decision": "allow", "include": [{"oidc": {"claim_name": "c", "claim_value": "v"}}]}],
                        name="Inner", domain="app.example.com/in/*/side"),
        ],
    )  # fmt: skip


DATA = everything()
FACTS = {
    "email": "user3@example.com",
    "idp": "sso",
    "ip": "192.0.2.1",
    "groups": [],
    "claims": {"c": "v"},
}


def resealed(data: bytes | bytearray) -> bytes:
    """Give changed bytes a SHA-256 that fits: what only the structural checks can notice."""
    data = bytearray(data)
    digest = hashlib.sha256(bytes(data[:DIGEST_AT]) + bytes(data[DIGEST_AT + 32 :])).digest()
    data[DIGEST_AT : DIGEST_AT + 32] = digest
    return bytes(data)


def spans(data: bytes) -> dict[str, tuple[int, int]]:
    numbers = struct.unpack_from("<20Q", data, 80)
    return dict(zip(SECTION_NAMES, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


def test_the_writer_and_the_reader_agree_on_sizes() -> None:
    assert {
        "host": HOST.size, "path": PATH.size, "app": APP.size, "fragment": HEAD.size,
        "instr": INSTR.size, "block": BLOCK.size, "slot": 16, "range4": RANGE4.size,
        "range6": RANGE6.size, "table": TABLE.size, "route": ROUTE.size,
    } == SIZES  # fmt: skip
    assert FILE_HEAD.size == HEADER_SIZE


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "7.snapshot").write_bytes(DATA)
    shot = Snapshot.open(tmp_path / "7.snapshot")
    (tmp_path / "7.snapshot").unlink()  # the mapping stays
    assert shot.version == 7
    assert shot.digest == hashlib.sha256(DATA[:DIGEST_AT] + DATA[DIGEST_AT + 32 :]).digest()
    outer, inner = shot.applications()
    assert (outer["id"], outer["aud"], outer["name"]) == ("app-id", "ab" * 32, "App")
    assert outer["origins"] == ["https://other.example.com", "http://x.example.com:8080"]
    # two applications on one host: each has a cookie of its own
    assert outer["cookie"] == "CF_Authorization_" + "ab" * 6
    assert inner["cookie"] == "CF_Authorization_" + inner["aud"][:12]
    control, tunnel, direct = shot.routes_list()
    assert (control["kind"], control["hostname"]) == ("control", "login.example.com")
    assert (tunnel["kind"], tunnel["tunnel_id"]) == ("tunnel", "1" * 36)
    assert (direct["scheme"], direct["host"], direct["port"]) == ("https", "::1", 8443)
    assert (direct["host_header"], direct["server_name"]) == ("x", "y.example")
    assert shot.settings["auth_domain"] == "login.example.com"
    assert judge(shot, "app.example.com", "/", FACTS)["verdict"] == "allow"


def test_the_same_configuration_gives_the_same_bytes() -> None:
    assert everything() == DATA


@pytest.mark.parametrize(
    "length", [0, 1, 8, HEADER_SIZE - 1, HEADER_SIZE, len(DATA) // 2, len(DATA) - 1]
)
def test_a_torn_file_is_refused(length: int, tmp_path: Path) -> None:
    torn = tmp_path / "torn.snapshot"
    torn.write_bytes(DATA[:length])
    with pytest.raises(SnapshotDamaged):
        Snapshot.open(torn)


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(SnapshotDamaged, match="bytes of"):
        Snapshot(DATA + b"\0")


def test_every_flipped_bit_is_refused() -> None:
    dice = random.Random(1)
    places = [*range(HEADER_SIZE), *(dice.randrange(len(DATA)) for _ in range(500))]
    for place in places:
        damaged = bytearray(DATA)
        damaged[place] ^= 1 << dice.randrange(8)
        with pytest.raises(SnapshotDamaged):
            Snapshot(bytes(damaged))


def test_another_format_is_refused() -> None:
    damaged = bytearray(DATA)
    damaged[8] = 1
    with pytest.raises(SnapshotDamaged, match="format is 1"):
        Snapshot(resealed(damaged))
    with pytest.raises(SnapshotDamaged, match="not a snapshot"):
        Snapshot(resealed(b"x" + DATA[1:]))


def changed(section: str, offset: int, layout: str, value: int) -> bytes:
    damaged = bytearray(DATA)
    at, size = spans(DATA)[section]
    assert offset < size
    struct.pack_into(layout, damaged, at + offset, value)
    return resealed(damaged)


FRAGMENT = struct.unpack_from("<I", DATA, spans(DATA)["fragments"][0] + 56)[0]  # first instruction
POLICIES = struct.unpack_from("<I", DATA, spans(DATA)["fragments"][0] + 64)[0]
GROUPS = struct.unpack_from("<I", DATA, spans(DATA)["fragments"][0] + 72)[0]
ORIGINS = struct.unpack_from("<I", DATA, spans(DATA)["fragments"][0] + 48)[0]
TEXTS = struct.unpack_from("<I", DATA, spans(DATA)["fragments"][0] + 80)[0]
FAR = 0x7FFFFFF8


def used_host() -> int:
    """Offset of the first used slot of the host table."""
    at, size = spans(DATA)["hosts"]
    return next(
        n for n in range(0, size, HOST.size) if struct.unpack_from("<I", DATA, at + n + 12)[0]
    )


def host_of_two() -> int:
    at, size = spans(DATA)["hosts"]
    return next(
        n for n in range(0, size, HOST.size) if struct.unpack_from("<I", DATA, at + n + 24)[0]
    )


TABLES = list(TABLE.iter_unpack(DATA[spans(DATA)["tables"][0] :][: spans(DATA)["tables"][1]]))
SET = next(n for n, row in enumerate(TABLES) if row[0] == 1)
RANGES = next(n for n, row in enumerate(TABLES) if row[0] == 2 and row[3])
SLOT = next(
    n for n in range(TABLES[SET][1])
    if struct.unpack_from("<I", DATA, spans(DATA)["data"][0] + TABLES[SET][4] + 16 * n + 8)[0]
)  # fmt: skip


@pytest.mark.parametrize(("section", "offset", "layout", "value"), [
    # rows that point outside
    ("apps", 0, "<Q", FAR), ("apps", 0, "<Q", 1), ("apps", 8, "<I", 10), ("apps", 8, "<I", FAR),
    ("apps", 12, "<I", FAR), ("apps", 16, "<I", FAR), ("imports", 0, "<I", FAR),
    ("hosts", used_host() + 8, "<I", FAR), ("hosts", used_host() + 12, "<I", FAR),
    ("hosts", used_host() + 16, "<I", 99), ("hosts", host_of_two() + 20, "<I", FAR),
    ("hosts", host_of_two() + 24, "<I", FAR), ("hosts", used_host() + 28, "<I", FAR),
    ("hosts", used_host() + 32, "<I", FAR),
    ("paths", 0, "<I", FAR), ("paths", 4, "<I", FAR), ("paths", 8, "<I", 99), ("paths", 12, "<I", 1),
    ("routes", 0, "<I", 0), ("routes", 0, "<I", 4), ("routes", 4, "<I", 7), ("routes", 8, "<I", 65536),
    ("routes", 12, "<I", 1000), ("routes", 28, "<I", FAR), ("routes", 36, "<I", FAR), ("routes", 76, "<I", FAR),
    # tables
    ("tables", TABLE.size * SET, "<I", 0), ("tables", TABLE.size * SET, "<I", 3),
    ("tables", TABLE.size * SET + 4, "<I", 0), ("tables", TABLE.size * SET + 4, "<I", 3),
    ("tables", TABLE.size * SET + 4, "<I", 1 << 30), ("tables", TABLE.size * SET + 8, "<I", 99),
    ("tables", TABLE.size * SET + 16, "<Q", FAR), ("tables", TABLE.size * SET + 16, "<Q", 4),
    ("tables", TABLE.size * SET + 24, "<Q", FAR),
    ("tables", TABLE.size * SET + 24, "<Q", 16 * TABLES[SET][1]),
    ("data", TABLES[SET][4] + 16 * SLOT + 8, "<I", FAR), ("data", TABLES[SET][4] + 16 * SLOT + 12, "<i", -1),
    ("data", TABLES[SET][4] + 16 * TABLES[SET][1] + 4, "<I", FAR),
    ("tables", TABLE.size * RANGES + 12, "<I", 4), ("tables", TABLE.size * RANGES + 4, "<I", 4),
    ("data", TABLES[RANGES][4], "<Q", (1 << 64) - 1), ("data", TABLES[RANGES][4] + 32, "<i", -1),
    ("data", TABLES[RANGES][4] + 16, "<Q", (1 << 64) - 1),
    ("data", TABLES[RANGES][4] + 40 * TABLES[RANGES][3], "<I", 0xFFFFFFFF),
    ("data", TABLES[RANGES][4] + 40 * TABLES[RANGES][3] + 4, "<I", 0xFFFFFFFF),
    ("data", TABLES[RANGES][4] + 40 * TABLES[RANGES][3] + 8, "<i", -1),
    # the fragment's head
    ("fragments", 8, "<I", 99), ("fragments", 12, "<I", 99), ("fragments", 12, "<I", RANGES), ("fragments", 16, "<I", FAR), ("fragments", 24, "<I", FAR),
    ("fragments", 36, "<I", 63), ("fragments", 44, "<I", 0), ("fragments", 40, "<I", FAR),
    ("fragments", 48, "<I", 1), ("fragments", 52, "<I", FAR), ("fragments", 60, "<I", FAR),
    ("fragments", 60, "<I", 1), ("fragments", 68, "<I", 2000), ("fragments", 76, "<I", 300),
    ("fragments", 84, "<I", FAR), ("fragments", ORIGINS, "<I", FAR), ("fragments", TEXTS, "<I", FAR),
    # instructions
    ("fragments", FRAGMENT + 4, "<i", -1), ("fragments", FRAGMENT + 8, "<I", 77),
    ("fragments", FRAGMENT + 8, "<I", SET if RANGES != SET else 77), ("fragments", FRAGMENT + 64 + 16, "<I", FAR),
    ("fragments", FRAGMENT + 32, "<I", FAR), ("fragments", FRAGMENT + 48, "<I", FAR),
    ("fragments", FRAGMENT + 1, "<B", 1),   # one address, without its 32 bytes
    # blocks
    ("fragments", POLICIES, "<B", 0), ("fragments", POLICIES, "<B", 5), ("fragments", POLICIES, "<B", 1 + 0),
    ("fragments", POLICIES + 4, "<i", -1), ("fragments", POLICIES + 8, "<I", FAR),
    ("fragments", POLICIES + 16, "<I", FAR), ("fragments", POLICIES + 24, "<I", FAR),
    ("fragments", POLICIES + 28, "<I", FAR), ("fragments", POLICIES + 40, "<I", FAR),
    ("fragments", POLICIES + 44, "<I", FAR), ("fragments", GROUPS, "<B", 1), ("fragments", GROUPS + 1, "<B", 9),
])  # fmt: skip
def test_what_points_outside_is_refused(section: str, offset: int, layout: str, value: int) -> None:
    """With a SHA-256 that fits: a snapshot written wrongly is noticed before a request follows it."""
    data = changed(section, offset, layout, value)
    if section == "fragments" and (offset, value) == (POLICIES, 1):
        # an allow first and then an allow is an order that may be; no longer this configuration's
        Snapshot(data)
        return
    with pytest.raises(SnapshotDamaged):
        Snapshot(data)


@pytest.mark.parametrize("change", [
    lambda s: s | {"settings": b"\xc1"}, lambda s: s | {"settings": b"\x01"},
    lambda s: s | {"hosts": s["hosts"] + b"\0" * HOST.size}, lambda s: s | {"hosts": b""},
    lambda s: s | {"apps": s["apps"][:-8]}, lambda s: s | {"routes": s["routes"] + b"\0" * 8},
])  # fmt: skip
def test_sections_that_are_not_whole(change: Any) -> None:
    from edge.config.compile import sealed

    parts = {name: DATA[at : at + size] for name, (at, size) in spans(DATA).items()}
    with pytest.raises(SnapshotDamaged):
        Snapshot(sealed(7, DATA[32:48], change(parts)))


def test_a_section_outside_the_file_is_refused() -> None:
    for at in range(80, HEADER_SIZE, 8):
        damaged = bytearray(DATA)
        struct.pack_into("<Q", damaged, at, 1 << 62)
        with pytest.raises(SnapshotDamaged):
            Snapshot(resealed(damaged))


def test_random_damage_never_crashes() -> None:
    """Whatever is let through decides something: no crash, no exception, and no permit without a verdict."""
    dice = random.Random(2)
    survived = 0
    for _ in range(3_000):
        damaged = bytearray(DATA)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(HEADER_SIZE, len(DATA))] = dice.randrange(256)
        try:
            shot = Snapshot(resealed(damaged))
        except SnapshotDamaged:
            continue
        survived += 1
        for path in ("/", "/in/x/side"):
            got = judge(shot, "app.example.com", path, FACTS)
            assert got["permit"] == (got["verdict"] in ("allow", "bypass", "service"))
    assert survived > 100


def test_sets() -> None:
    key = bytes(16)
    data, slots, count = set_table(key, [b"a", b"b", b"a"], [5, 6, 3])
    assert (slots, count) == (4, 2)
    assert len(data) == 16 * 4 + 4 + 5 + 5
    assert set_table(key, [], []) == (bytes(32) + bytes(4), 2, 0)
    for wrong in ((b"short", [], []), (key, [b"a"], [])):
        with pytest.raises(ValueError, match="16 bytes"):
            set_table(*wrong)


def test_explain_reads_what_people_wrote() -> None:
    told = explain(Snapshot(DATA), "app.example.com", "/", FACTS)
    texts = [rule["text"] for rule in told["policies"][0]["include"]]
    assert texts == [rule["ip"] for rule in NETWORKS]
