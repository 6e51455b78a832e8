"""One mux stream behind the Pipe interface: what comes before its payload, and back-pressure both ways."""

from libc.stdint cimport uint8_t, uint32_t

from _fastpath.buffer cimport Buffer
from _fastpath.carrier cimport Carrier, StreamPipe
from _fastpath.endpoint cimport Receiver
from _fastpath.stream cimport Ring, Stream


cdef enum Waiting:           # what must come on a stream before its payload
    WAIT_NOTHING = 0
    WAIT_STATUS = 1          # we opened it: the status byte, and after a refusal its reason
    WAIT_HEADER = 2          # the other side did: 2-byte length and the msgpack map


cdef class Way:
    """Where a stream leads beyond its carrier: a link in another worker."""
    cdef bint closed                                   # nothing new may go there
    cdef Ring resting                                  # pipes to there that wait in a pool, idle for longest first
    cdef uint32_t rests                                # how many


cdef class Asked:
    """Who takes the header of a stream that the other side opened."""
    cdef int header_came(self, bytes header) except -1


cdef class MuxPipe(StreamPipe):
    """A mux stream behind the Pipe interface, with back-pressure both ways: while paused it keeps what arrives
    (never more than the receive window) and lets the window run out."""
    cdef Carrier carrier
    cdef Stream stream
    cdef Buffer held                                   # arrived and not yet handed up
    cdef size_t debt                                   # bytes handed up whose window has not been given back
    cdef uint8_t waiting                               # what comes before the payload: Waiting
    cdef bint paused
    cdef bint delivering                               # inside receiver.on_data: no second delivery
    cdef bint saw_end                                  # FIN came
    cdef bint told_end                                 # ... and the receiver knows
    cdef bint ending                                   # end() was called
    cdef bint closing                                  # close() was called: what still comes is dropped
    cdef bint finished                                 # the receiver had its last call
    cdef bint turn_planned
    cdef Way way                                       # of a relayed stream; else None
    cdef Ring resting                                  # in Carrier.resting while it waits in a pool
    cdef Ring resting_far                              # in Way.resting
    cdef Asked asked                                   # who takes the stream header, at the accepting end; else None
    cdef int hand_up(self) except -1
    cdef int preface(self) except -1
    cdef int refused(self, bytes text) except -1
    cdef int settle(self) except -1
    cdef int plan_turn(self) except -1
    cdef void wake(self) noexcept                      # it is used again, or gone


cdef MuxPipe pipe_new(Carrier carrier, Stream s, int waiting)
cdef MuxPipe stream_open(Carrier carrier, bytes header, Receiver receiver)  # raises WireError at limits or after goaway
