"""A request before the checkpoint: judge() says what is to be done with it, and fills in its Permit when it may go on."""

from _fastpath.exchange cimport Exchange
from _fastpath.head cimport Head
from _fastpath.slice cimport Slice
from _fastpath.snapshot cimport Place, Snapshot


cdef int judge(Exchange x, Head* h) except -1                     # Step. After STEP_WAIT: again, with the same head
cdef int place_request(Exchange x, Head* h) except -1             # host, path, route; 0 or a Reason
cdef bint find_encoded_slash(Slice path) noexcept nogil
cdef bint slash_is_harmless(Snapshot snapshot, Slice host, Slice path, const Place* place) noexcept nogil
    # an encoded '/' that the application lets through, read as '/' by whoever does: is it the same application?
