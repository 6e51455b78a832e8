"""How large a stream's receive window should be."""

from libc.stdint cimport uint64_t

from _fastpath.limits cimport INITIAL_WINDOW, MAX_LINK_GROWTH, MAX_WINDOW


cdef void window_tune(Stream s, uint64_t now, const Pulse* pulse, uint64_t* grown, bint may_grow) noexcept:
    """Double it when the half came within two round trips although the owner keeps up; halve it again when that
    took ages."""
    cdef uint64_t elapsed = now - s.paced_from
    s.paced, s.paced_from = 0, now
    if pulse.round_trip == 0:
        return
    if elapsed < 2 * pulse.round_trip:
        if (may_grow and s.held <= s.window // 2 and s.window <= MAX_WINDOW // 2
                and grown[0] + s.window <= MAX_LINK_GROWTH):
            grown[0] += s.window
            s.window *= 2
    elif elapsed > 64 * pulse.round_trip and elapsed > MEASURE_EVERY and s.window > INITIAL_WINDOW:
        s.window //= 2
        grown[0] -= s.window
