"""A stream that the other side opened, and the pump that joins it to where it leads."""

from _fastpath.carrier cimport Carrier
from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe
from _fastpath.muxpipe cimport Asked, MuxPipe
from _fastpath.stream cimport Stream


cdef class Side(Receiver):
    """One half of a pump between two pipes: what `here` receives goes to `there`."""
    cdef Pipe here
    cdef Pipe there
    cdef Side other
    cdef Inbound inbound                               # told once, when the first byte or the end of an origin comes
    cdef bint ended                                    # here has sent its end


cdef class Inbound(Asked):
    """A stream that the other side opened: its header, and its answer. Either accept() or refuse()."""
    cdef MuxPipe pipe
    cdef Side near                                     # receiver of the stream
    cdef Side far                                      # receiver of the origin's pipe
    cdef readonly bytes header                         # msgpack map
    cdef readonly Carrier link
    cdef readonly bint answered
    cdef bint transparent                              # a relay: the status byte comes from behind


cdef class OriginPipe(TcpPipe):
    """A connection to an origin: it hears from the first byte on, so that an origin that speaks first loses nothing."""


cdef class OriginTlsPipe(TlsPipe):
    """The same under TLS."""


cdef Inbound inbound_new(Carrier carrier, Stream s)
