"""The measurements that the door to a Mux offers count what they carry."""

from _fastpath.session import carry, converse


def test_every_question_is_answered() -> None:
    # One frame each way for each exchange at least, and the frames that open the streams.
    assert converse(4, 3, 1000, 300) >= 2 * 4 * 3


def test_every_byte_arrives() -> None:
    assert carry(3_000_000) >= 3_000_000
