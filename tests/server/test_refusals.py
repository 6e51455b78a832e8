"""Refusals are added up, and a flood of different ones stays bounded."""

import ipaddress

from edge.server.refusals import MAX_KEYS, Refusals, address_text

FOUR = ipaddress.IPv6Address("::ffff:192.0.2.7").packed
SIX = ipaddress.IPv6Address("2001:db8::1").packed


def test_same_refusals_are_one_event():
    refusals = Refusals()
    for _ in range(3):
        refusals.add(FOUR, b"app", b"eve@example.com", b"policy-no-match")
    refusals.add(SIX, b"app", b"", b"policy-no-match")
    assert refusals.take() == [
        {"kind": "refused", "address": "192.0.2.7", "application": "app",
         "who": "eve@example.com", "reason": "policy-no-match", "count": 3},
        {"kind": "refused", "address": "2001:db8::1", "application": "app", "who": "",
         "reason": "policy-no-match", "count": 1},
    ]
    assert refusals.take() == []


def test_flood_is_counted_in_one_event():
    refusals = Refusals()
    for number in range(MAX_KEYS + 50):
        refusals.add(number.to_bytes(16), b"app", b"", b"policy-no-match")
    events = refusals.take()
    assert len(events) == MAX_KEYS + 1
    assert events[-1]["reason"] == "too-many-to-tell-apart"
    assert events[-1]["count"] == refusals.lost == 50
    assert sum(event["count"] for event in events) == MAX_KEYS + 50


def test_addresses():
    assert address_text(FOUR) == "192.0.2.7"
    assert address_text(SIX) == "2001:db8::1"
