"""Sets and address ranges as the snapshot holds them. A table is known by the digest of its
content."""

import hashlib
import heapq
import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from _fastpath.snapshot import set_table

TABLE_SET, TABLE_RANGES = 1, 2  # snapshot.pxd, enum TableKind
RANGE4, RANGE6 = struct.Struct("<IIi"), struct.Struct("<QQQQiI")
LOW = (1 << 64) - 1

Range = tuple[int, int, int, int]  # IP version, first, last, rule


@dataclass(frozen=True, slots=True)
class Built:
    """A table's row and bytes."""

    kind: int
    slots: int
    count: int
    n6: int
    data: bytes


def set_digest(values: Sequence[bytes], rules: Sequence[int]) -> bytes:
    digest = hashlib.blake2b(b"set", digest_size=16)
    for value, rule in zip(values, rules, strict=True):
        digest.update(struct.pack("<Ii", len(value), rule))
        digest.update(value)
    return digest.digest()


def ranges_digest(ranges: Sequence[Range]) -> bytes:
    digest = hashlib.blake2b(b"ranges", digest_size=16)
    for version, first, last, rule in ranges:
        digest.update(b"%d %x %x %d;" % (version, first, last, rule))
    return digest.digest()


FULL_SIEVE = (1 << 128) - 1


def set_sieve(hashes: Iterable[int]) -> int:
    """Return 128 bits: n is set where a hash begins with the seven bits n."""
    sieve = 0
    for one in hashes:
        sieve |= 1 << (one >> 57)
    return sieve


def ranges_sieve(ranges: Iterable[Range]) -> int:
    """The same over the first seven bits of addresses; IPv4 and IPv6 share it."""
    sieve = 0
    for version, first, last, _ in ranges:
        shift = 25 if version == 4 else 121
        low, high = first >> shift, last >> shift
        sieve |= (1 << (high + 1)) - (1 << low)
    return sieve


def build_set(key: bytes, values: Sequence[bytes], rules: Sequence[int]) -> Built:
    data, slots, count = set_table(key, list(values), list(rules))
    return Built(TABLE_SET, slots, count, 0, data)


def build_ranges(ranges: Sequence[Range]) -> Built:
    four = disjoint([(first, last, rule) for version, first, last, rule in ranges if version == 4])
    six = disjoint([(first, last, rule) for version, first, last, rule in ranges if version == 6])
    data = b"".join(
        RANGE6.pack(first >> 64, first & LOW, last >> 64, last & LOW, rule, 0)
        for first, last, rule in six
    ) + b"".join(RANGE4.pack(*one) for one in four)
    return Built(TABLE_RANGES, len(four), len(four) + len(six), len(six), data)


def disjoint(ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return sorted ranges that don't overlap; where some did, the lowest rule number stays.

    A sweep over all borders, with the rules that are open at each in a heap."""
    opening = sorted(ranges)
    borders = sorted({first for first, _, _ in ranges} | {last + 1 for _, last, _ in ranges})
    out: list[tuple[int, int, int]] = []
    open_now: list[tuple[int, int]] = []  # (rule, last)
    at = 0
    for border, following in itertools.pairwise(borders):
        while at < len(opening) and opening[at][0] <= border:
            heapq.heappush(open_now, (opening[at][2], opening[at][1]))
            at += 1
        while open_now and open_now[0][1] < border:
            heapq.heappop(open_now)
        if not open_now:
            continue
        rule = open_now[0][0]
        if out and out[-1][1] == border - 1 and out[-1][2] == rule:
            out[-1] = (out[-1][0], following - 1, rule)
        else:
            out.append((border, following - 1, rule))
    return out
