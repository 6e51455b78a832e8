"""yamux version 0: one session, sans-IO (MUX.md). Bytes and the time in; bytes, events and a deadline out."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice
from _fastpath.stream cimport Stream


cdef class MuxEvents:
    """The session's owner (tunnel.pyx) derives from this; calls come from inside Mux.feed and Mux.tick.
    None may feed the same Mux again; open, write, end, reset and consumed are allowed."""
    cdef int on_open(self, Stream s) except -1                                    # the other side opened s
    cdef int on_data(self, Stream s, const uint8_t* p, size_t n) except -1        # borrowed; call s.consumed(n) when used
    cdef int on_end(self, Stream s) except -1                                     # FIN: no more data
    cdef int on_reset(self, Stream s, int reason) except -1                       # RST or session gone; last call for s
    cdef int on_writable(self, Stream s) except -1                                # s.full() became false
    cdef int on_pong(self, uint64_t round_trip) except -1                         # microseconds
    cdef int on_goaway(self, uint32_t code) except -1                             # no new streams from us
    cdef int on_output(self) except -1                                            # there is something to send: arrange one flush this loop turn


cdef class Mux:
    # built by mux_new(events, client, accept_streams, max_streams, now)
    cdef int feed(self, const uint8_t* p, size_t n, uint64_t now) except -1       # now: monotonic microseconds; raises WireError on a session error (GoAway is queued)
    cdef Stream open(self, uint64_t now)                                          # a new stream; raises at limits or after goaway
    cdef size_t fill(self, uint8_t* out, size_t room) except? 0                   # next frames to send, control first, then deficit round robin
    cdef bint wants_send(self) noexcept
    cdef int ping(self, uint64_t now) except -1
    cdef int goaway(self, uint32_t code) except -1
    cdef int tick(self, uint64_t now) except -1                                   # time-outs: ping, dead peer, half-closed streams
    cdef uint64_t deadline(self) noexcept                                         # when tick() is due; 0 = never
    cdef int lost(self) except -1                                                 # transport gone: resets every stream
