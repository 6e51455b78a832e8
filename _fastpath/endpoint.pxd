"""Byte endpoints: one small interface behind which TCP, Unix sockets, TLS and mux streams stack and interchange.

A Pipe is written to; its Receiver hears what arrives. Lifetimes: a pipe holds its receiver and a receiver its
pipe; on_lost() is the last call a receiver gets, and there the pair lets go of each other."""

from libc.stdint cimport uint8_t, uint64_t

from _fastpath.tls cimport Tls


cdef class Receiver:
    """Hears from one Pipe. on_data must take all n bytes (copy what it can't use now, then pause the pipe)."""
    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1
    cdef int on_eof(self, Pipe pipe) except -1        # the other side will send no more (half-close)
    cdef int on_writable(self, Pipe pipe) except -1   # queued() fell to the low-water mark after it was above the high one
    cdef int on_lost(self, Pipe pipe, int reason) except -1   # closed for any reason; once; errors.Reason or 0


cdef class Pipe:
    """One two-way stream of bytes."""
    cdef Receiver receiver
    cdef int write(self, const uint8_t* p, size_t n) except -1   # takes all; copies what can't go now; ignored once closing
    cdef size_t queued(self) noexcept                  # bytes taken that have not gone yet
    cdef bint full(self) noexcept                      # queued() is above the high-water mark: stop writing until on_writable
    cdef int pause(self) except -1                     # stop on_data (idempotent)
    cdef int resume(self) except -1
    cdef int end(self) except -1                       # half-close after what is queued (TLS: close_notify)
    cdef int close(self) except -1                     # close after what is queued has gone
    cdef int abort(self, int reason) except -1         # close now
    cdef bint alive(self) noexcept
