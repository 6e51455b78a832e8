"""What a listener makes of a new connection, until it can be served."""

from libc.stdint cimport uint64_t

from _fastpath.buffer cimport Buffer
from _fastpath.downstream cimport Core
from _fastpath.endpoint cimport TcpPipe, TlsPipe


cdef class PlainServerPipe(TcpPipe):
    cdef Core core
    cdef int kind
    cdef bint preface                     # a PROXY header must come first
    cdef Buffer early
    cdef bytes address                    # as counted in core.addresses (accept.counted)
    cdef uint64_t deadline
    cdef object client                    # address that a PROXY header gave, or None


cdef class TlsServerPipe(TlsPipe):
    cdef Core core
    cdef bint preface
    cdef Buffer early
    cdef bytes address
    cdef uint64_t deadline
    cdef object client


cdef int end_handshakes(Core core, uint64_t now) except -1
