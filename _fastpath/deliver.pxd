"""An origin's answer, as it comes."""

from libc.stdint cimport uint8_t

from _fastpath.downstream cimport Downstream
from _fastpath.out cimport Out


cdef int read_answer(Downstream d, const uint8_t* p, size_t n) except -1                # its head, maybe in pieces
cdef int answer_bytes(Downstream d, const uint8_t* p, size_t n, Out* o) except -1       # its body
cdef int end_answer(Downstream d) except -1                                            # one that ends by closing
