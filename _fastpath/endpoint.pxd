"""Byte endpoints: one small interface behind which TCP, Unix sockets, TLS and mux streams stack and interchange.

A Pipe is written to; its Receiver hears what arrives. Lifetimes: a pipe holds its receiver and a receiver its
pipe; on_lost() is the last call a receiver gets, and there the pair lets go of each other."""

from libc.stdint cimport uint8_t, uint64_t

from _fastpath.tls cimport Tls

cdef class Pipe


cdef class Receiver:
    """Hears from one Pipe. on_data must take all n bytes: what can't be used now is copied, and the pipe paused."""
    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1
    cdef int on_eof(self, Pipe pipe) except -1        # the other side will send no more (half-close)
    cdef int on_writable(self, Pipe pipe) except -1   # full() became false
    cdef int on_lost(self, Pipe pipe, int reason) except -1   # closed, whoever did it; once; errors.Reason or 0


cdef class Pipe:
    """One two-way stream of bytes."""
    cdef Receiver receiver
    cdef int write(self, const uint8_t* p, size_t n) except -1  # takes all; copies what must wait; ignored once closing
    cdef size_t queued(self) noexcept                  # bytes taken that have not gone yet
    cdef bint full(self) noexcept                      # too much is queued: stop writing until on_writable
    cdef int pause(self) except -1                     # no more on_data after this returns (idempotent)
    cdef int resume(self) except -1                    # on_data comes again, never from inside this call
    cdef int end(self) except -1                       # half-close after what is queued (TLS: close_notify)
    cdef int close(self) except -1                     # close after what is queued has gone
    cdef int abort(self, int reason) except -1         # close now; on_lost(reason) comes, maybe inside this call
    cdef bint alive(self) noexcept                     # writing still makes sense
    cdef bint torn(self) noexcept                      # the end that on_eof told of may be anybody's doing: no close_notify
    cdef int rest(self) except -1                      # quiet for a while: free what it doesn't need until it wakes


cdef class ReadBuffer:
    """The one block that every socket of a loop reads into: uvloop fills it, on_data uses it, then it is free."""
    cdef bytearray block
    cdef uint8_t* ptr
    cdef size_t size


cdef class TcpPipe(Pipe):
    """A TCP or Unix socket on a uvloop transport; also the asyncio protocol of that transport."""
    cdef ReadBuffer buffer
    cdef object loop
    cdef object transport
    cdef int fd                # valid only while the transport lives; -1 else
    cdef bint handed           # transport.write was used and its queue may not be empty
    cdef bint choked           # the transport called pause_writing
    cdef bint paused
    cdef bint closing
    cdef bint lost
    cdef bint ended            # our half is shut
    cdef int reason            # why it was aborted, for on_lost
    cdef int full_reads        # consecutive reads that filled the block: a budget against one busy socket
    cdef object ready          # future of dial(), or None

    cdef int incoming(self, const uint8_t* p, size_t n) except -1    # bytes from the socket
    cdef int outgoing(self, const uint8_t* p, size_t n) except -1    # bytes to the socket
    cdef int fail(self) except -1                                    # an exception in a callback: abort, never log only


cdef class TlsPipe(TcpPipe):
    """The same under TLS: the engine of tls.pyx between the socket and the receiver."""
    cdef Tls tls
    cdef bint open             # handshake done
    cdef bint end_wanted       # end() before the handshake was done
    cdef bint notified         # close_notify came
    cdef bint cable_ended      # the socket gave all that it will
    cdef bint told             # the receiver heard on_eof
    cdef object why            # words of a failed handshake, or None
    cdef int drain(self) except -1
    cdef int flush(self) except -1
    cdef int tell_end(self) except -1
    cdef int on_open(self) except -1                                  # handshake done: choose the receiver


cdef uint64_t now_us() noexcept nogil                                 # CLOCK_MONOTONIC, microseconds
cdef ReadBuffer shared_buffer()
