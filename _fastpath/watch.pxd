"""Whether an open stream may stay: asked at each tick, each revocation and each new snapshot."""

from _fastpath.checkpoint cimport Live
from _fastpath.exchange cimport Exchange
from _fastpath.slice cimport Slice


cdef int still_allowed(Exchange x) except -1                      # 0, or the Reason for which an open stream must end
cdef int rejudge(Exchange x, Live live, Slice host, Slice path) except -1000
    # the same facts under another snapshot: 0 when it still lets this stream be, -2 while facts are asked for (ask
    # again later), else the Reason
