"""A request before the checkpoint: judge() says what is to be done with it, and fills in its Permit when it may go on."""

from _fastpath.exchange cimport Exchange
from _fastpath.head cimport Head


cdef int judge(Exchange x, Head* h) except -1                     # Step. After STEP_WAIT: again, with the same head
cdef int place_request(Exchange x, Head* h) except -1             # host, path, route; 0 or a Reason
