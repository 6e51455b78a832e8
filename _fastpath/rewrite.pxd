"""The two heads that go on: a request's to its origin, an answer's to its client."""

from _fastpath.exchange cimport Exchange
from _fastpath.head cimport Head
from _fastpath.out cimport Out
from _fastpath.slice cimport Slice


cdef int request_head(Exchange x, Head* h, Out* out, Slice host_header, bint chunked, bint control) except -1
cdef int response_head(
    Exchange x, Head* h, Out* out, bint keep, bint close_framing, bint chunked, bint control) except -1
