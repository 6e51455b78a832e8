"""Frame headers: every field, every refusal (J01, J08)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath import frame
from _fastpath.errors import WireError
from tests.kit.mux_script import ACK, DATA, FIN, GOAWAY, PING, RST, SYN, WINDOW

GOOD = [
    (DATA, 0, 1, 0),
    (DATA, SYN | FIN, 0xFFFFFFFF, 0xFFFFFFFF),
    (DATA, ACK, 2, 12),
    (WINDOW, SYN, 3, 0),
    (WINDOW, RST, 3, 0),
    (WINDOW, 0, 3, 0xFFFFFFFF),
    (PING, SYN, 0, 7),
    (PING, ACK, 0, 0xFFFFFFFF),
    (GOAWAY, 0, 0, 2),
]

BAD = {
    "J01-type-4": (frame.build(4, 0, 1, 0), "unknown frame type"),
    "J01-type-255": (frame.build(255, 0, 1, 0), "unknown frame type"),
    "J01-flag-16": (frame.build(DATA, 16, 1, 0), "unknown flags"),
    "J01-flag-high-byte": (frame.build(DATA, 0x0100, 1, 0), "unknown flags"),
    "J01-version-1": (b"\x01" + frame.build(DATA, 0, 1, 0)[1:], "version is not 0"),
    "J01-http": (b"GET / HTTP/1", "version is not 0"),
    "J08-data-on-0": (frame.build(DATA, 0, 0, 5), "stream 0"),
    "J08-window-on-0": (frame.build(WINDOW, 0, 0, 5), "stream 0"),
    "J08-syn-on-0": (frame.build(WINDOW, SYN, 0, 0), "stream 0"),
    "syn-and-ack": (frame.build(DATA, SYN | ACK, 1, 0), "SYN and ACK"),
    "ping-on-a-stream": (frame.build(PING, SYN, 1, 0), "belong to stream 0"),
    "goaway-on-a-stream": (frame.build(GOAWAY, 0, 1, 0), "belong to stream 0"),
    "ping-without-flag": (frame.build(PING, 0, 0, 0), "asks or answers"),
    "ping-with-both": (frame.build(PING, SYN | ACK, 0, 0), "asks or answers"),
    "ping-with-fin": (frame.build(PING, SYN | FIN, 0, 0), "asks or answers"),
    "goaway-with-flag": (frame.build(GOAWAY, FIN, 0, 0), "no flags"),
}


@pytest.mark.parametrize("fields", GOOD, ids=str)
def test_header_comes_back_as_it_was(fields: tuple[int, int, int, int]) -> None:
    assert frame.parse(frame.build(*fields)) == fields


def test_bytes_are_the_specification_s() -> None:
    assert frame.build(WINDOW, SYN | FIN, 0x01020304, 0x0A0B0C0D) == bytes.fromhex(
        "00 01 0005 01020304 0a0b0c0d"
    )


@pytest.mark.parametrize(("data", "why"), BAD.values(), ids=BAD)
def test_refused(data: bytes, why: str) -> None:
    with pytest.raises(WireError) as error:
        frame.parse(data)
    assert error.value.reason == "link-protocol"
    assert why in str(error.value)


def test_a_short_header_is_the_caller_s_mistake() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        frame.parse(b"\0" * 11)


@given(st.binary(min_size=12, max_size=12))
def test_what_is_accepted_is_written_the_same(data: bytes) -> None:
    """No two headers mean the same, none is accepted that we would not write."""
    try:
        fields = frame.parse(data)
    except WireError:
        return
    assert frame.build(*fields) == data


def test_a_header_that_is_not_whole() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        frame.parse(b"\0" * 11)
