"""HTTP/1.1 (RFC 9112): bytes <-> Head, and body framing. Strict: what is ambiguous is an error code."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.head cimport Head
from _fastpath.slice cimport Slice


cdef int request_parse(const uint8_t* p, size_t n, Head* h) noexcept nogil
    # > 0: bytes of the head, h is filled; 0: more bytes are needed (the limits of limits.pxd are already
    # enforced on what is here); < 0: Wire code (errors.pxd).
cdef int response_parse(const uint8_t* p, size_t n, int request_method, Head* h) noexcept nogil
    # The same for a response. 1xx are returned like any other (framing none; 101 too).


cdef enum BodyState:
    BODY_DONE = 0            # nothing (more) to come
    BODY_MORE
    BODY_BAD

cdef struct Body:            # decoder of one message body; zero = no body
    uint8_t framing          # Framing
    uint8_t state            # the codec's own
    uint64_t left            # bytes left of the length or of the current chunk
    uint32_t overhead        # bytes of chunk extensions and size lines so far, against MAX_CHUNK_OVERHEAD
    uint32_t trailer         # bytes of trailer section so far, against MAX_HEAD
    uint8_t line[24]         # the codec's own

cdef void body_start(Body* b, int framing, uint64_t length) noexcept nogil
cdef int body_feed(Body* b, const uint8_t* p, size_t n, Slice* data, size_t* used) noexcept nogil
    # Decode the next run of payload: data borrows from p (may be empty), used <= n bytes are consumed.
    # Returns BODY_MORE, BODY_DONE (bytes after `used` belong to the next message) or a Wire code < 0.
    # Call again while used < n and BODY_MORE. Trailers are parsed strictly and dropped (A32).
cdef bint body_done(const Body* b) noexcept nogil

cdef size_t chunk_head(uint8_t* out, size_t n) noexcept nogil
    # Write "<hex n>\r\n"; at most 18 bytes; returns how many.
