"""A worker's core, whole: what control and the master tell it, and what time does to it."""

from libc.stdint cimport uint64_t

from _fastpath.downstream cimport Core, Downstream
from _fastpath.exchange cimport Exchange


cdef class WorkerCore(Core):
    cdef object timer
    cdef object memory                    # owner of Core.out_block
    cdef list unswept                     # connections that the look under way has still to look at
    cdef uint64_t sweep_began             # microseconds
    cdef uint64_t sweep_turn              # microseconds, SWEEP_TURN
    cdef bint sweep_again                 # something changed since it began: another one follows
    cdef int guarded(self, Downstream d, uint64_t now) except -1
    cdef int ends(self, Exchange x) except -1
