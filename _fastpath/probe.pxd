"""A stream driven from Python."""

from libc.stdint cimport uint64_t

from _fastpath.endpoint cimport Pipe, Receiver


cdef class Probe(Receiver):
    """A stream opened from Python: what tests (and a link check) send requests through."""
    cdef Pipe pipe
    cdef readonly bytearray received
    cdef readonly uint64_t count
    cdef readonly bint ended
    cdef readonly object lost                 # reason; "" while the stream lives
    cdef object waiter
