"""The FIFO of bytes: order, cap, and no memory while empty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath import buffer
from _fastpath.errors import WireError


def test_order_and_freedom() -> None:
    b = buffer.new(100)
    buffer.append(b, b"hello ")
    buffer.append(b, b"world")
    assert buffer.take(b, 3) == b"hel"
    assert buffer.waiting(b) == b"lo world"
    assert buffer.held(b) > 0
    assert buffer.take(b, 8) == b"lo world"
    assert buffer.held(b) == 0


def test_it_grows_with_what_waits() -> None:
    b = buffer.new(1 << 20)
    buffer.append(b, b"a" * 1000)
    buffer.append(b, b"b" * 5000)
    assert buffer.size(b) == 6000
    assert buffer.held(b) == 8192
    assert buffer.take(b, 1001) == b"a" * 1000 + b"b"


def test_over_the_cap_nothing_is_taken() -> None:
    b = buffer.new(10)
    buffer.append(b, b"12345678")
    with pytest.raises(WireError, match="buffer-full"):
        buffer.append(b, b"abc")
    with pytest.raises(WireError, match="buffer-full"):
        buffer.reserve(b, 2**63, b"")
    assert buffer.waiting(b) == b"12345678"
    buffer.append(b, b"ab")
    assert buffer.take(b, 10) == b"12345678ab"


def test_a_long_stream_through_a_small_buffer_stays_small() -> None:
    b = buffer.new(1 << 20)
    buffer.append(b, b"x")
    for _ in range(10_000):
        buffer.append(b, b"y" * 100)
        buffer.take(b, 100)
    assert buffer.held(b) <= 4096


@given(st.lists(st.one_of(st.binary(max_size=3000), st.integers(0, 4000))))
def test_like_a_bytearray(steps: list[bytes | int]) -> None:
    b, model = buffer.new(8000), bytearray()
    for number, step in enumerate(steps):
        if isinstance(step, int):
            n = min(step, len(model))
            assert buffer.take(b, n) == bytes(model[:n])
            del model[:n]
        elif len(model) + len(step) > 8000:
            with pytest.raises(WireError):
                buffer.append(b, step)
        else:
            if number % 2:
                buffer.append(b, step)
            else:
                buffer.reserve(b, len(step) or 1, step) if len(model) < 8000 else None
            model += step
        assert buffer.waiting(b) == bytes(model)


def test_a_failing_allocation_is_an_exception() -> None:
    with pytest.raises(MemoryError):
        buffer.run_out_of_memory()
