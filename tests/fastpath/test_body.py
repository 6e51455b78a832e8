"""Body framing: A28–A35, A43, whole and at every cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath.body import BodyReader, chunk_line
from _fastpath.errors import WireError
from tests.kit.http_reference import Refused, read_chunked

TAIL = b"GET /next HTTP/1.1\r\n"


def feed(framing: str, data: bytes, size: int, length: int = 0) -> tuple[bytes, bytes, bool] | str:
    """(payload, what belongs to the next message, done) of data fed `size` bytes at a time."""
    reader, payload = BodyReader(framing, length), b""
    for at in range(0, len(data), size):
        if reader.done:
            return payload, data[at:], True
        try:
            got, rest = reader.feed(data[at : at + size])
        except WireError as error:
            with pytest.raises(WireError, match=error.reason):
                reader.feed(b"0\r\n\r\n")  # a broken body stays broken
            assert not reader.done
            return error.reason
        payload += got
        if rest:
            return payload, rest + data[at + size :], reader.done
    return payload, b"", reader.done


def every_way(framing: str, data: bytes, length: int = 0) -> tuple[bytes, bytes, bool] | str:
    whole = feed(framing, data, len(data) or 1, length)
    for size in (1, 2, 3, 5, 7):
        assert feed(framing, data, size, length) == whole, size
    return whole


GOOD = b"5\r\nhello\r\n1;a=b\r\n \r\n0\r\nX: y\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        *[
            pytest.param(
                line + b"\r\nhello\r\n0\r\n\r\n", "chunk-size-invalid", id=f"A28-{line!a}"
            )
            for line in (
                b"",
                b" 5",
                b"5 ",
                b"+5",
                b"-5",
                b"0x5",
                b"5_0",
                b"5g",
                b";",
                b"\t5",
                b"5\t",
                b"00000000000000005",
                b"10000000000000000",
                b"1000000000000000",
                b"ffffffffffffffff",
            )
        ],
        pytest.param(b"5\nhello\r\n0\r\n\r\n", "chunk-size-invalid", id="A29-size-by-LF"),
        pytest.param(b"5\rXhello\r\n", "chunk-end-invalid", id="A29-size-by-CR-X"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", "chunk-end-invalid", id="A29-data-by-LF"),
        pytest.param(b"5\r\nhello\rX0\r\n\r\n", "chunk-end-invalid", id="A29-data-by-CR-X"),
        pytest.param(b"5\r\nhelloXX0\r\n\r\n", "chunk-end-invalid", id="A29-two-other-bytes"),
        *[
            pytest.param(
                b"5;" + ext + b"\r\nhello\r\n0\r\n\r\n",
                "chunk-extension-invalid",
                id=f"A30-{ext!a}",
            )
            for ext in (
                b'a="x\r\ny"',
                b'a="x',
                b'a="x\\\ny"',
                b"",
                b" a",
                b"a ",
                b"a=",
                b'a="x"y',
                b"=b",
                b"a;",
                b"a=b;;c",
                b"a=b c",
                b'a="\x00"',
                b'a="\x7f"',
                b'a=x"',
                b"\n",
            )
        ],
        pytest.param(b"5 ;\r\r\nhello", "chunk-size-invalid", id="A30-CR-CR"),
        *[
            pytest.param(b"0\r\n" + line + b"\r\n\r\n", "trailer-invalid", id=f"A34-{line!a}")
            for line in (
                b" X: y",
                b": y",
                b"X",
                b"X y: z",
                b"X: \x00",
                b"X: y\nZ: a",
                b"X:\x7f",
                b"X: y\rz",
                b"\nGET / HTTP/1.1",
                b"GET / HTTP/1.1",
            )
        ],
        pytest.param(b"0\r\n\rX", "trailer-invalid", id="A29-end-by-CR-X"),
    ],
)
def test_refused(body: bytes, reason: str) -> None:
    assert every_way("chunked", body) == reason
    with pytest.raises(Refused):
        read_chunked(body)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (GOOD, b"hello "),
        (b"0\r\n\r\n", b""),
        (b'5;a=b;c;d="q\\"\t;x\xff";e=f\r\nhello\r\n0;z\r\n\r\n', b"hello"),
        (b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", b"hello"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"0\r\nX:POST / HTTP/1.1\r\n\r\n", b""),  # A34
        (
            b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: b\r\nID-user: a\r\n\r\n",
            b"",
        ),  # A32
        (b"0\r\nX: \t\xff \r\nY:\r\n\r\n", b""),
    ],
)
def test_a30_a32_a34_accepted(body: bytes, payload: bytes) -> None:
    assert every_way("chunked", body) == (payload, b"", True)
    # A43: what follows is the next message's, from the first extra byte on
    assert every_way("chunked", body + TAIL) == (payload, TAIL, True)
    assert every_way("chunked", body + b"X") == (payload, b"X", True)
    assert read_chunked(body + TAIL) == (payload, TAIL)


def test_a31_extensions_have_a_budget() -> None:
    chunk = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    assert every_way("chunked", chunk * 1048) == "chunk-overhead"
    assert feed("chunked", chunk * 16 + b"0\r\n\r\n", 99999) == (b"x" * 16, b"", True)


def test_small_chunks_without_extensions_have_none() -> None:
    assert feed("chunked", b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n", 4096) == (
        b"x" * 50_000,
        b"",
        True,
    )


@pytest.mark.parametrize("trailer", [b"X: " + b"a" * 16384 + b"\r\n", b"X: a\r\n" * 101])
def test_trailers_have_a_budget(trailer: bytes) -> None:
    assert every_way("chunked", b"0\r\n" + trailer + b"\r\n") == "trailer-too-large"


@pytest.mark.parametrize("cut", range(len(GOOD)))
def test_a33_a_body_cut_short_is_never_done(cut: int) -> None:
    payload, rest, done = every_way("chunked", GOOD[:cut])
    assert (rest, done) == (b"", False)
    assert b"hello ".startswith(payload)


def test_a35_a_length_counts_exactly() -> None:
    assert every_way("length", b"hell", 5) == (b"hell", b"", False)
    assert every_way("length", b"hello", 5) == (b"hello", b"", True)
    assert every_way("length", b"hello" + TAIL, 5) == (b"hello", TAIL, True)
    assert BodyReader("length", 0).done
    assert BodyReader("none").done
    assert BodyReader("length", 0).feed(b"") == (b"", b"")


def test_no_body_takes_nothing() -> None:
    assert BodyReader("none").feed(TAIL) == (b"", TAIL)
    assert BodyReader("length", 0).feed(TAIL) == (b"", TAIL)


def test_a_body_by_close_is_never_done() -> None:
    assert every_way("close", b"anything" + TAIL) == (b"anything" + TAIL, b"", False)


@given(st.integers(0, 2**64 - 1))
def test_chunk_line(size: int) -> None:
    assert chunk_line(size) == b"%x\r\n" % size


chunk = st.tuples(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"", b";a", b";a=b", b';q="\\"x"', b" ", b";", b"; a", b';"']),
    st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"", b"\r\r\n"]),
    st.sampled_from([b"%x", b"%X", b"0%x"] * 3 + [b" %x", b"0x%x", b"-%x", b"%x1"]),
)


@given(
    st.lists(chunk, max_size=5),
    st.sampled_from(
        [b"0\r\n\r\n"] * 3 + [b"0\r\nX: y\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\n\n", b""]
    ),
    st.binary(max_size=10),
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
)
def test_as_the_reference_reads_it(
    chunks: list[tuple[bytes, bytes, bytes, bytes]], end: bytes, tail: bytes, cuts: list[int]
) -> None:
    data = b"".join(
        form % len(payload) + ext + eol + payload + b"\r\n" for payload, ext, eol, form in chunks
    )
    data += end + tail
    reader, payload, at, failed = BodyReader("chunked"), b"", 0, False
    rest = b""
    turn = 0
    while at < len(data) and not reader.done and not failed:
        step = cuts[turn % len(cuts)]
        turn += 1
        try:
            got, rest = reader.feed(data[at : at + step])
            payload += got
        except WireError:
            failed = True
        at += step
    try:
        expected: tuple[bytes, bytes] | None = read_chunked(data)
    except Refused:
        expected = None
    if expected is None:
        assert failed or not reader.done
    else:
        assert reader.done
        assert (payload, rest + data[at:]) == expected
