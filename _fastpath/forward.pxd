"""A request that may go on: to its origin, or to control."""

from libc.stdint cimport uint8_t

from _fastpath.downstream cimport Downstream
from _fastpath.out cimport Out


cdef int choose(Downstream d, bint fresh) except -1
    # d.up is ready (1), or is being made (1, D_CONNECT); 0: the exchange holds an answer instead
cdef size_t send_request(Downstream d, const uint8_t* p, size_t head, size_t n) except? 0      # bytes used
cdef size_t read_body(Downstream d, const uint8_t* p, size_t n, Out* o) except? 0              # bytes used
cdef int upstream_failed(Downstream d, int reason) except -1
