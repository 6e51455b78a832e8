"""Ticket keys: equal everywhere, one period of overlap."""

from edge.server.tickets import PERIOD, SIZE, ticket_keys

SECRET = bytes(range(32))


def test_keys_are_derived_and_overlap():
    now = 1_800_000_000.0
    first = ticket_keys(SECRET, now)
    assert ticket_keys(SECRET, now) == first
    assert [len(key) for key in first] == [SIZE, SIZE]
    later = ticket_keys(SECRET, now + PERIOD)
    assert later[1] == first[0] and later[0] not in first
    assert not set(ticket_keys(bytes(32), now)) & set(first)
