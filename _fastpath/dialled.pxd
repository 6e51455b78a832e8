"""The connector's end of a link, and the pipe to dial it with."""

from _fastpath.carrier cimport Carrier


cdef class DialledLink(Carrier):
    """The connector's end of a link."""
    cdef object hooks                                  # message(link, bytes), stream(link, Inbound), lost(link, reason)
