"""One yamux stream: its two windows, its queue, its state. Owned by one Mux."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef class Stream:
    cdef readonly uint32_t id
    cdef object user                                    # the owner's: whoever hears about this stream
    cdef int write(self, const uint8_t* p, size_t n) except -1   # queues a copy; the scheduler sends it within the send window
    cdef bint full(self) noexcept                       # queued bytes above the high-water mark
    cdef size_t queued(self) noexcept
    cdef int end(self) except -1                        # FIN after what is queued
    cdef int reset(self) except -1                      # RST, drops what is queued
    cdef int consumed(self, size_t n) except -1         # receiver used n bytes: opens the receive window again
    cdef bint open_for_write(self) noexcept
