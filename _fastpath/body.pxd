"""HTTP/1.1 message bodies (RFC 9112 §6, §7): wire bytes <-> payload. Strict: what is ambiguous is an error code."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice


cdef enum BodyState:
    BODY_DONE = 0            # nothing (more) to come
    BODY_MORE
    BODY_BAD

cdef struct Body:            # decoder of one message body; zero = no body
    uint8_t framing          # Framing
    uint8_t state            # the codec's own
    uint8_t digits           # of the chunk size being read
    uint8_t fields           # of the trailer section so far, against MAX_TRAILER_FIELDS
    uint16_t why             # Reason of the first error: every later feed repeats it
    uint64_t left            # bytes left of the length or of the current chunk
    uint32_t overhead        # bytes of chunk extensions so far, against MAX_CHUNK_EXTENSION
    uint32_t trailer         # bytes of trailer section so far, against MAX_TRAILER

cdef void body_start(Body* b, int framing, uint64_t length) noexcept nogil
cdef int body_feed(Body* b, const uint8_t* p, size_t n, Slice* data, size_t* used) noexcept nogil
    # Decode the next run of payload: data borrows from p (may be empty), used <= n bytes are consumed.
    # Returns BODY_MORE, BODY_DONE (bytes after `used` belong to the next message) or a Wire code < 0.
    # Call again while used < n and BODY_MORE. Trailers are parsed strictly and dropped (A32).
cdef bint body_done(const Body* b) noexcept nogil    # for FRAMING_CLOSE never: end of file ends it

cdef size_t chunk_head(uint8_t* out, size_t n) noexcept nogil
    # Write "<hex n>\r\n"; at most 18 bytes; returns how many.
