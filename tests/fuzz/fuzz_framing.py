"""A chunked body gives the reference's payload and ends at the reference's byte, or is refused;
neither depends on how it was cut; the payload is never longer than the bytes; an error is final.

The first byte says how the rest is cut: into pieces of that many bytes, but
at most 256 pieces."""

from _fastpath.body import BodyReader, chunk_line
from _fastpath.errors import WireError
from tests.kit.http_reference import Refused, read_chunked

TOKENS = [
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"1\r\nx\r\n", b"\r\n", b";a=b", b';a="b\\"c"', b"X: y\r\n",
    b"00000000", b"fffffff", b"1000000000000000", b";", b'"', b"\\", b" ", b"\t", b"\r", b"\n",
    b"=",
]  # fmt: skip


def run(data: bytes, size: int) -> tuple[bytes, bytes | None, str]:
    """(payload, bytes left over or None when it isn't done, reason of the error)."""
    reader, payload = BodyReader("chunked"), b""
    for at in range(0, len(data), size):
        try:
            got, rest = reader.feed(data[at : at + size])
        except WireError as error:
            assert not reader.done
            try:
                reader.feed(b"0\r\n\r\n")
            except WireError as again:
                assert again.reason == error.reason
                return b"", None, error.reason
            raise AssertionError("an error was forgotten") from error
        payload += got
        assert len(payload) <= at + size
        if reader.done:
            return payload, rest + data[at + size :], ""
        assert rest == b""
    return payload, None, ""


def fuzz(data: bytes) -> None:
    if not data:
        return
    size, body = data[0], data[1:]
    whole = run(body, len(body) or 1)
    assert run(body, max(size, 1, len(body) // 256)) == whole
    payload, rest, reason = whole
    try:
        expected: tuple[bytes, bytes] | None = read_chunked(body)
    except Refused:
        expected = None
    if expected is None:
        assert rest is None, (payload, rest)
    else:
        assert (payload, rest, reason) == (*expected, "")
        again = chunk_line(len(payload)) + payload + b"\r\n0\r\n\r\n" if payload else b"0\r\n\r\n"
        assert run(again, 3) == (payload, b"", "")
