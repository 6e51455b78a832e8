"""The mux over a transport, and the pipes that its streams are: for edge, connector and sibling workers.

Three ends share `Carrier` (one Mux on one Pipe): the edge's end of a connector's link (tunnel.Link), the connector's
end of it (`DialledLink`), and a worker's end of a Unix socket to another worker (tunnel.Sibling)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport Buffer
from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe
from _fastpath.mux cimport Mux, MuxEvents
from _fastpath.stream cimport Stream


cdef enum Waiting:           # what must come on a stream before its payload
    WAIT_NOTHING = 0
    WAIT_STATUS = 1          # we opened it: the status byte, and after a refusal its reason
    WAIT_HEADER = 2          # the other side did: 2-byte length and the msgpack map


cdef class Ear(Receiver):
    """What a Carrier's pipe talks to (a class can't be a Receiver and a MuxEvents)."""
    cdef Carrier carrier


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
    cdef Stream control                                # stream 1
    cdef Buffer control_in                             # bytes of a control message not yet whole
    cdef int start(self, Pipe pipe, bint client, int accept_streams) except -1
    cdef int flush(self) except -1
    cdef int drop(self, int reason) except -1          # close the link now
    cdef int gone(self, int reason) except -1          # the pipe was lost; called once
    cdef int control_feed(self, const uint8_t* p, size_t n) except -1
    cdef int accept_stream(self, Stream s) except -1   # hook: the other side opened s, which is not the control stream
    cdef int control_message(self, bytes message) except -1     # hook: one whole message of the control stream
    cdef int ended(self) except -1                     # hook: after gone()


cdef class Way:
    """Where a stream leads beyond its carrier: a link in another worker."""
    cdef bint closed                                   # nothing new may go there


cdef class MuxPipe(Pipe):
    """A mux stream behind the Pipe interface, with back-pressure both ways: while paused it keeps what arrives
    (never more than the receive window) and lets the window run out."""
    cdef Carrier carrier
    cdef Stream stream
    cdef Buffer held                                   # arrived and not yet handed up
    cdef size_t debt                                   # bytes handed up whose window has not been given back
    cdef uint8_t waiting                               # what comes before the payload: see the enum in tunnel.pyx
    cdef bint paused
    cdef bint delivering                               # inside receiver.on_data: no second delivery
    cdef bint saw_end                                  # FIN came
    cdef bint told_end                                 # ... and the receiver knows
    cdef bint ending                                   # end() was called
    cdef bint closing                                  # close() was called: what still comes is dropped
    cdef bint finished                                 # the receiver had its last call
    cdef bint turn_planned
    cdef bint parted                                   # both FINs are through: the mux has forgotten the stream
    cdef Way way                                       # of a relayed stream; else None
    cdef Inbound inbound                               # who takes the stream header, at the accepting end; else None
    cdef int feed(self, const uint8_t* p, size_t n) except -1
    cdef int hand_up(self) except -1
    cdef int preface(self) except -1
    cdef int refused(self, bytes text) except -1
    cdef int settle(self) except -1
    cdef int stream_end(self) except -1
    cdef int stream_writable(self) except -1
    cdef int plan_turn(self) except -1
    cdef int finish(self, int reason) except -1


cdef class Side(Receiver):
    """One half of a pump between two pipes: what `here` receives goes to `there`."""
    cdef Pipe here
    cdef Pipe there
    cdef Side other
    cdef Inbound inbound                               # told once, when the first byte or the end of an origin comes
    cdef bint ended                                    # here has sent its end


cdef class Inbound:
    """A stream that the other side opened: its header, and its answer. Either accept() or refuse()."""
    cdef MuxPipe pipe
    cdef Side near                                     # receiver of the stream
    cdef Side far                                      # receiver of the origin's pipe
    cdef readonly bytes header                         # msgpack map
    cdef readonly Carrier link
    cdef readonly bint answered
    cdef bint transparent                              # a relay: the status byte comes from behind
    cdef int open_up(self) except -1


cdef class DialledLink(Carrier):
    """The connector's end of a link."""
    cdef object hooks                                  # message(link, bytes), stream(link, Inbound), lost(link, reason)


cdef class OriginPipe(TcpPipe):
    """A connection to an origin: it hears from the first byte on, so that an origin that speaks first loses nothing."""


cdef class OriginTlsPipe(TlsPipe):
    """The same under TLS."""


cdef MuxPipe stream_open(Carrier carrier, bytes header, Receiver receiver)  # raises WireError at limits or after goaway
cdef Inbound inbound_new(Carrier carrier, Stream s)
cdef int close_soon(Carrier carrier, int reason) except -1
