"""What the owner of a session hears."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.stream cimport Stream


cdef class MuxEvents:
    """The session's owner (tunnel.pyx) derives from this; every method does nothing here. Calls come from inside
    Mux.feed, Mux.tick, Mux.lost, and (on_writable, on_closed) from the end of Mux.fill.
    None may feed or fill the same Mux again; open, accept, write, end, reset, consumed, ping and goaway are allowed."""
    cdef int on_open(self, Stream s) except -1            # the other side opened s: accept() it or reset() it
    cdef int on_data(self, Stream s, const uint8_t* p, size_t n) except -1
        # borrowed; call s.consumed(n) when used
    cdef int on_end(self, Stream s) except -1             # FIN: no more data
    cdef int on_reset(self, Stream s, int reason) except -1
        # RST, time-out or session gone; last call for s
    cdef int on_closed(self, Stream s) except -1
        # both sides ended and our FIN has left; last call for s
    cdef int on_writable(self, Stream s) except -1        # s.full() said yes and its queue is low again
    cdef int on_pong(self, uint64_t round_trip) except -1
        # microseconds
    cdef int on_goaway(self, uint32_t code) except -1
        # open() raises from now on; code > 0: the session is over, call lost()
    cdef int on_output(self) except -1
        # there is something to send: arrange one flush this loop turn
