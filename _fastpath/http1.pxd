"""HTTP/1.1 (RFC 9112): bytes -> Head. Strict: what is ambiguous is an error code."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr

from _fastpath.head cimport Head
from _fastpath.limits cimport MAX_HEAD


cdef int request_parse(const uint8_t* p, size_t n, Head* h) noexcept nogil
    # > 0: bytes of the head, h is filled; 0: more bytes are needed (the limits of limits.pxd are already
    # enforced on what is here); < 0: Wire code (errors.pxd).
cdef int response_parse(const uint8_t* p, size_t n, int request_method, Head* h) noexcept nogil
    # The same for a response. 1xx are returned like any other (framing none; 101 too).


cdef inline bint head_worth_parsing(const uint8_t* p, size_t n, size_t before) noexcept nogil:
    """False when `before` of these n bytes were parsed already (with result 0) and the rest ends no line:
    a head that trickles in byte by byte then costs at most one parse a line, not one a byte."""
    return before == 0 or n >= MAX_HEAD or memchr(p + before, 10, n - before) != NULL
