"""WebSocket frame boundaries: where a close frame of ours may stand."""

import random

from _fastpath.relay import boundaries


def frame(size: int, masked: bool = False) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, mask | size])
    elif size < 65536:
        head = bytes([0x82, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x82, mask | 127]) + size.to_bytes(8, "big")
    return head + (b"MASK" if masked else b"") + bytes(size)


def test_every_whole_frame_ends_at_a_boundary() -> None:
    sizes = [0, 1, 125, 126, 127, 65535, 65536, 70000]
    assert boundaries([frame(n, masked) for n in sizes for masked in (False, True)]) == [True] * 16


def test_no_place_inside_a_frame_is_a_boundary() -> None:
    for size in (0, 5, 126, 300):
        wire = frame(size, masked=True)
        pieces = [wire[i : i + 1] for i in range(len(wire))]
        assert boundaries(pieces) == [False] * (len(wire) - 1) + [True]


def test_arbitrary_cuts_see_the_same_ends() -> None:
    rng = random.Random(7)
    for _ in range(200):
        frames = [
            frame(rng.choice([0, 3, 125, 126, 1000, 65536])) for _ in range(rng.randint(1, 6))
        ]
        ends = {sum(map(len, frames[: i + 1])) for i in range(len(frames))}
        wire = b"".join(frames)
        cuts = (
            sorted({rng.randrange(1, len(wire)) for _ in range(5)} | {len(wire)})
            if len(wire) > 1
            else [len(wire)]
        )
        pieces = [wire[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        assert boundaries(pieces) == [cut in ends for cut in cuts]


def test_H06_a_declared_length_of_2_to_63_allocates_nothing() -> None:
    assert boundaries([bytes([0x82, 127]) + (2**63).to_bytes(8, "big"), bytes(100)]) == [
        False,
        False,
    ]
