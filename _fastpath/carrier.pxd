"""The mux over a transport: for edge, connector and sibling workers.

Three ends share `Carrier` (one Mux on one Pipe): the edge's end of a connector's link (tunnel.Link), the connector's
end of it (dialled.DialledLink), and a worker's end of a Unix socket to another worker (tunnel.Sibling)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport Buffer
from _fastpath.endpoint cimport Pipe, Receiver
from _fastpath.mux cimport Mux
from _fastpath.muxevents cimport MuxEvents
from _fastpath.limits cimport MAX_STREAMS
from _fastpath.stream cimport Ring, Stream, ring_linked


cdef class Ear(Receiver):
    """What a Carrier's pipe talks to (a class can't be a Receiver and a MuxEvents)."""
    cdef Carrier carrier


cdef class StreamPipe(Pipe):
    """The user of a stream, as a Carrier knows it."""
    cdef bint parted                                   # both FINs are through: the mux has forgotten the stream
    cdef int feed(self, const uint8_t* p, size_t n) except -1
    cdef int stream_end(self) except -1                # FIN came
    cdef int stream_writable(self) except -1
    cdef int finish(self, int reason) except -1        # the stream is gone; the last call


cdef class Carrier(MuxEvents):
    """One Mux on one Pipe: feeds, flushes once per loop turn, ticks, and lets go of everything when it is lost."""
    cdef Pipe pipe
    cdef Mux mux
    cdef Ear ear
    cdef object loop
    cdef object flush_call                             # bound method, made once
    cdef bint flush_planned
    cdef object timer                                  # handle of the next tick
    cdef uint64_t ticks
    cdef readonly bint lost                            # the transport is gone, or will be
    cdef int why                                       # errors.Reason of the loss; 0 = closed by the other side
    cdef readonly uint32_t round_trip                  # microseconds, smoothed; 0 = unknown
    cdef readonly uint32_t streams                     # that carry requests now
    cdef readonly uint64_t total                       # streams opened since the link began
    cdef readonly uint64_t number                      # of this carrier in this process, never reused
    cdef readonly bint draining                        # no new streams on this link
    cdef Ring resting                                  # pipes that wait in a pool, idle for longest first
    cdef Stream control                                # stream 1
    cdef Buffer control_in                             # bytes of a control message not yet whole
    cdef inline bint crowded(self) noexcept:
        """As many streams as may be, and none of them waits idle in a pool."""
        return self.streams >= MAX_STREAMS - 1 and not ring_linked(&self.resting)
    cdef int start(self, Pipe pipe, bint client, int accept_streams) except -1
    cdef int flush(self) except -1
    cdef int drop(self, int reason) except -1          # close the link now
    cdef int gone(self, int reason) except -1          # the pipe was lost; called once
    cdef int control_feed(self, const uint8_t* p, size_t n) except -1
    cdef int accept_stream(self, Stream s) except -1   # hook: the other side opened s, which is not the control stream
    cdef int control_message(self, bytes message) except -1     # hook: one whole message of the control stream
    cdef int ended(self) except -1                     # hook: after gone()


cdef int close_soon(Carrier carrier, int reason) except -1
