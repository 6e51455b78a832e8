"""Whether the other side lives, and how far away it is."""

from libc.stdint cimport uint32_t, uint64_t

from _fastpath.limits cimport PEER_DEAD, PING_IDLE, PING_UNANSWERED

cdef enum:
    MS = 1000                        # microseconds


cdef bint pulse_ask(Pulse* p, uint64_t now) noexcept nogil:
    if p.ping_sent:
        return False
    p.ping_value += 1
    p.ping_sent = p.ping_last = now
    return True


cdef uint64_t pulse_answer(Pulse* p, uint32_t value, uint64_t now) noexcept nogil:
    cdef uint64_t sample
    if p.ping_sent == 0 or value != p.ping_value:
        return 0
    sample = max(<uint64_t>1, now - p.ping_sent)
    p.round_trip = (7 * p.round_trip + sample) // 8 if p.round_trip else sample
    p.measured, p.ping_sent = now, 0
    return sample


cdef bint pulse_quiet(const Pulse* p, uint64_t now) noexcept nogil:
    return now - max(p.heard, p.ping_last) >= <uint64_t>PING_IDLE * MS


cdef const char* pulse_failure(const Pulse* p, uint64_t now) noexcept nogil:
    if now - p.heard >= <uint64_t>PEER_DEAD * MS:
        return "nothing heard"
    if p.ping_sent and now - p.ping_sent >= <uint64_t>PING_UNANSWERED * MS:
        return "ping not answered"
    return NULL


cdef uint64_t pulse_deadline(const Pulse* p) noexcept nogil:
    cdef uint64_t due = min(p.heard + <uint64_t>PEER_DEAD * MS, max(p.heard, p.ping_last) + <uint64_t>PING_IDLE * MS)
    return min(due, p.ping_sent + <uint64_t>PING_UNANSWERED * MS) if p.ping_sent else due
