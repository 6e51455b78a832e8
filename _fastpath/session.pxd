"""A Mux driven from Python: the door through which tests, fuzzing and measurements come. No part of a running edge."""

from libc.stdint cimport uint8_t

from _fastpath.mux cimport Mux
from _fastpath.muxevents cimport MuxEvents
from _fastpath.stream cimport Stream


cdef class Session(MuxEvents):
    cdef Mux mux
    cdef dict known                            # id -> Stream, until its last call
    cdef dict parted                           # closed while the test held bytes of them: reset when they are too many
    cdef readonly list events
    cdef readonly int outputs                  # how often on_output was called
    cdef public bint hold                      # True: received bytes are not consumed by themselves
    cdef public object react                   # called with each event as it happens, or None
    cdef public bint claim                     # True: streams of the other side are accepted as they come
    cdef int tell(self, tuple event) except -1


cdef class Answering(MuxEvents):
    """Consumes what comes and writes `answer` bytes for each piece of it."""
    cdef bytes answer
    cdef size_t got
