"""Whose turn it is to send: deficit round robin in two rings, as fq_codel has them (RFC 8290 §4.2; MUX.md §4)."""

from _fastpath.limits cimport MUX_QUANTUM
from _fastpath.stream cimport Ring, Stream, ring_clear, ring_init, ring_linked, ring_push


cdef struct Schedule:            # holds no reference: a stream leaves its ring before its Mux lets go of it
    Ring sparse                  # streams that just got something to send
    Ring bulk                    # streams that used up their share at least once


cdef inline void schedule_init(Schedule* q) noexcept nogil:
    ring_init(&q.sparse, NULL)
    ring_init(&q.bulk, NULL)


cdef inline void schedule_clear(Schedule* q) noexcept nogil:
    ring_clear(&q.sparse)
    ring_clear(&q.bulk)


cdef inline bint schedule_idle(const Schedule* q) noexcept nogil:
    return not ring_linked(&q.sparse) and not ring_linked(&q.bulk)


cdef inline void schedule_again(Schedule* q, Stream s) noexcept:
    """s goes on where its window stopped it: its share used or not, it isn't sparse."""
    ring_push(&q.bulk, &s.sends)


cdef inline void schedule_fresh(Schedule* q, Stream s) noexcept:
    """s has something to send after it had nothing."""
    s.deficit = MUX_QUANTUM
    ring_push(&q.sparse, &s.sends)


cdef inline Stream schedule_next(Schedule* q):
    """Who is first; None when nobody wants to send."""
    if ring_linked(&q.sparse):
        return <Stream>q.sparse.next.stream
    if ring_linked(&q.bulk):
        return <Stream>q.bulk.next.stream
    return None


cdef size_t schedule_share(Schedule* q, Stream s, size_t wanted) noexcept
    # how many of those bytes s, the first, may send now; -1 (SIZE_MAX): its share is used up, ask for the next
cdef void schedule_sent(Schedule* q, Stream s, size_t n, bint more) noexcept
    # s, the first, sent n bytes; `more`: it could go on at once
