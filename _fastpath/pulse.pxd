"""Whether the other side lives, and how far away it is: pings, round trips, silence (MUX.md §7). Microseconds."""

from libc.stdint cimport uint32_t, uint64_t


cdef struct Pulse:
    uint64_t heard               # last byte from the other side
    uint64_t ping_sent           # 0 = none under way
    uint64_t ping_last           # when the last one was sent, repeated ones included
    uint32_t ping_value
    uint64_t round_trip          # smoothed; 0 = not known
    uint64_t measured            # when


cdef bint pulse_ask(Pulse* p, uint64_t now) noexcept nogil
    # begin a ping of p.ping_value; False when one is under way
cdef uint64_t pulse_answer(Pulse* p, uint32_t value, uint64_t now) noexcept nogil
    # the round trip of the ping that this answers; 0: nobody asked
cdef bint pulse_quiet(const Pulse* p, uint64_t now) noexcept nogil
    # nothing was heard for so long that a ping is due
cdef const char* pulse_failure(const Pulse* p, uint64_t now) noexcept nogil
    # why the other side counts as dead; NULL while it lives
cdef uint64_t pulse_deadline(const Pulse* p) noexcept nogil
    # when one of the two above changes; may be early, never late
