"""An upgraded connection: bytes go both ways under a decision that stays watched."""

from libc.stdint cimport uint8_t

from _fastpath.downstream cimport Downstream
from _fastpath.head cimport Head
from _fastpath.upstream cimport Upstream


cdef int switch(Downstream d, Head* h, const uint8_t* p, size_t n) except -1
cdef int pump_up(Downstream d, const uint8_t* p, size_t n) except -1
cdef int pump_down(Downstream d, Upstream up, const uint8_t* p, size_t n) except -1
cdef int end_upgraded(Downstream d, int reason) except -1
cdef int cut(Downstream d, int reason) except -1
