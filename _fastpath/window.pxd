"""How large a stream's receive window should be: it follows the pace at which data comes (MUX.md §5)."""

from libc.stdint cimport uint64_t

from _fastpath.pulse cimport Pulse
from _fastpath.stream cimport Stream


cdef enum:
    MEASURE_EVERY = 1000000          # microseconds between the pings that tuning asks for


cdef void window_tune(Stream s, uint64_t now, const Pulse* pulse, uint64_t* grown, bint may_grow) noexcept
    # half a window came: double it, halve it or leave it. `grown` is the link's sum over the initial windows
