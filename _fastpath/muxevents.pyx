"""What the owner of a session hears."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.stream cimport Stream


cdef class MuxEvents:
    """Hears about nothing and does nothing: the base of a session's owner."""

    cdef int on_open(self, Stream s) except -1:
        return 0

    cdef int on_data(self, Stream s, const uint8_t* p, size_t n) except -1:
        return 0

    cdef int on_end(self, Stream s) except -1:
        return 0

    cdef int on_reset(self, Stream s, int reason) except -1:
        return 0

    cdef int on_closed(self, Stream s) except -1:
        return 0

    cdef int on_writable(self, Stream s) except -1:
        return 0

    cdef int on_pong(self, uint64_t round_trip) except -1:
        return 0

    cdef int on_goaway(self, uint32_t code) except -1:
        return 0

    cdef int on_output(self) except -1:
        return 0
