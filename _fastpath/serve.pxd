"""A client connection that speaks HTTP/1.1."""

from libc.stdint cimport uint8_t

from _fastpath.checkpoint cimport Arrival
from _fastpath.downstream cimport Core, Downstream
from _fastpath.endpoint cimport Pipe


cdef class Serving(Downstream):
    cdef size_t read_heads(self, const uint8_t* p, size_t n) except? 0
    cdef size_t begin(self, const uint8_t* p, size_t head, size_t n) except? 0
    cdef int refuse(self, int reason) except -1
    cdef bint hears_tls(self, const uint8_t* p, size_t n) noexcept

    @staticmethod
    cdef Serving new(Core core, Pipe pipe, Arrival arrival)
