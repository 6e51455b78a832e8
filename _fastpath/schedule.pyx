"""Whose turn it is to send: deficit round robin in two rings."""

from libc.stdint cimport SIZE_MAX, int64_t

from _fastpath.limits cimport MUX_QUANTUM
from _fastpath.stream cimport S_CLOSED, ring_unlink


cdef size_t schedule_share(Schedule* q, Stream s, size_t wanted) noexcept:
    if s.deficit <= 0:
        s.deficit += MUX_QUANTUM
        ring_push(&q.bulk, &s.sends)
        return SIZE_MAX
    if s.sends.next != s.sends.prev or (q.sparse.next == &s.sends and ring_linked(&q.bulk)):
        return min(wanted, <size_t>s.deficit)            # somebody else waits
    return wanted


cdef void schedule_sent(Schedule* q, Stream s, size_t n, bint more) noexcept:
    s.deficit -= <int64_t>n
    if more:
        return
    # A stream that empties each time must not come back as sparse before the bulk ones had a turn.
    if q.sparse.next == &s.sends and ring_linked(&q.bulk) and s.state != S_CLOSED:
        ring_push(&q.bulk, &s.sends)
    else:
        ring_unlink(&s.sends)
