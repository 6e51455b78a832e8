"""The control stream's messages: every kind there and back, and the oldest set for ever."""

from typing import Any

import msgpack
import pytest

from edge.wire import messages as wire
from edge.wire.errors import BadMessage
from edge.wire.framing import MAX_MESSAGE, pack, unpack

# The bytes of release 0.1, protocol version 1. Never change these: a connector of that release
# must be understood by every later edge of version 1, and the other way round.
OLDEST: list[tuple[str, wire.Message]] = [
    (
        "87a174a87265676973746572a876657273696f6e739101a674756e6e656ca174a77265706c696361a172a873"
        "6f667477617265ad73656b6973686f2f302e312e30a5636c6f636bcb41d9000000000000a870726576696f75"
        "73a0",
        wire.Register((1,), "t", "r", "sekisho/0.1.0", 1677721600.0, ""),
    ),
    (
        "84a174a57461626c65a776657273696f6e03a7656e74726965739184a5696e64657800a8686f73746e616d65"
        "a6612e74657374a470617468a0a773657276696365aa687474703a2f2f613a31a56f776e6572a466696c65",
        wire.Table(
            3, ({"index": 0, "hostname": "a.test", "path": "", "service": "http://a:1"},), "file"
        ),
    ),
    (
        "87a174a86163636570746564a776657273696f6e01a4736c6f7400a5736c6f747302a5636c6f636bcb00000000"
        "00000000aa73746174697374696373cb4024000000000000a465646765a0",
        wire.Accepted(1, 0, 2),
    ),
    (
        "85a174a772656675736564a6726561736f6eac6c696e6b2d7265766f6b6564a474657874a178ab72657472795f"
        "6166746572cb0000000000000000a566696e616cc3",
        wire.Refused("link-revoked", "x", 0.0, True),
    ),
    ("82a174a5647261696ea77365636f6e6473cb403e000000000000", wire.Drain(30.0, "")),
    (
        "83a174ae7461626c655f6163636570746564a776657273696f6e01a8756e726f7574656491a161",
        wire.TableAccepted(1, ("a",)),
    ),
]


@pytest.mark.parametrize(("text", "message"), OLDEST, ids=lambda one: type(one).__name__)
def test_the_oldest_message_set_is_understood(text: str, message: wire.Message) -> None:
    assert unpack(bytes.fromhex(text)) == message


EVERY: list[wire.Message] = [
    wire.Register((1,), "t", "r", "s", 1.5, "link-lost"),
    wire.Table(7, ({"index": 0, "service": "http://a:1"},), "edge"),
    wire.Configured(3, "table-not-allowed", "why"),
    wire.CertificateRequest(b"\x30\x00"),
    wire.Accepted(1, 1, 4, 2.5, 10.0, "edge-1"),
    wire.Refused("link-clock", "text", 3.0, True),
    wire.TableAccepted(2, ("a.test", "b.test")),
    wire.TableRefused(2, "table-invalid", "text"),
    wire.Config(5, ({"service": "http://a:1"},)),
    wire.Certificate(b"pem", b"ca", 9.0),
    wire.Drain(3.0, "edge-stopping"),
    wire.Statistics(100, 2, 50, {"x": 1}),
]


@pytest.mark.parametrize("message", EVERY, ids=lambda one: one.kind)
def test_there_and_back(message: wire.Message) -> None:
    framed = pack(message)
    assert int.from_bytes(framed[:4], "big") == len(framed) - 4
    assert unpack(framed[4:]) == message


def test_every_kind_is_tried() -> None:
    assert {type(one) for one in EVERY} == set(wire.KINDS)


def test_unknown_kinds_and_keys_are_ignored() -> None:
    assert unpack(msgpack.packb({"t": "of-next-year", "x": [1]})) is None
    known = {"t": "drain", "seconds": 5, "reason": "r", "of-next-year": {"a": 1}}
    assert unpack(msgpack.packb(known)) == wire.Drain(5, "r")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x80",
        msgpack.packb([1]),
        msgpack.packb({"t": 1}),
        msgpack.packb({"t": "register"}),
        msgpack.packb({"t": "register", "versions": 1, "tunnel": "t", "replica": "r"}),
        msgpack.packb({"t": "register", "versions": ["1"], "tunnel": "t", "replica": "r"}),
        msgpack.packb({"t": "register", "versions": [True], "tunnel": "t", "replica": "r"}),
        msgpack.packb({"t": "table", "version": 1, "entries": [1]}),
        msgpack.packb({"t": "table", "version": 1.5, "entries": []}),
        msgpack.packb({"t": "drain", "seconds": "5"}),
        msgpack.packb({"t": "certificate_request", "request": "text"}),
        msgpack.packb({"t": "drain"}) + b"x",
        msgpack.packb({"t": "refused", "reason": b"bytes"}),
        b"\x81\xa1t\xa3\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 2000,
    ],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(BadMessage):
        unpack(body)


def test_no_message_above_the_limit() -> None:
    with pytest.raises(BadMessage):
        pack(wire.Config(1, ({"service": "x" * MAX_MESSAGE},)))
    with pytest.raises(BadMessage):
        unpack(b"x" * (MAX_MESSAGE + 1))


def test_fields_keep_their_names_and_types() -> None:
    """A renamed or retyped field would break the neighbouring release: add a new one instead."""
    shape: dict[str, Any] = {
        kind.kind: {name: str(one.type) for name, one in kind.__dataclass_fields__.items()
                    if "ClassVar" not in str(one.type)}
        for kind in wire.KINDS
    }  # fmt: skip
    for kind, fields in VERSION_1.items():
        assert fields.items() <= shape[kind].items(), kind


VERSION_1 = {
    "register": {
        "versions": "tuple[int, ...]", "tunnel": "str", "replica": "str", "software": "str",
        "clock": "float", "previous": "str",
    },
    "table": {"version": "int", "entries": "tuple[dict[str, Any], ...]", "owner": "str"},
    "configured": {"version": "int", "reason": "str", "text": "str"},
    "certificate_request": {"request": "bytes"},
    "accepted": {
        "version": "int", "slot": "int", "slots": "int", "clock": "float", "statistics": "float",
        "edge": "str",
    },
    "refused": {"reason": "str", "text": "str", "retry_after": "float", "final": "bool"},
    "table_accepted": {"version": "int", "unrouted": "tuple[str, ...]"},
    "table_refused": {"version": "int", "reason": "str", "text": "str"},
    "config": {"version": "int", "entries": "tuple[dict[str, Any], ...]"},
    "certificate": {"certificate": "bytes", "anchors": "bytes", "until": "float"},
    "drain": {"seconds": "float", "reason": "str"},
    "statistics": {"round_trip": "int", "streams": "int", "total": "int"},
}  # fmt: skip
