"""What the two-way pump of an upgraded connection needs to know of WebSocket: where a frame ends (RFC 6455 5.2)."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t


cdef struct Frames:          # follows one direction; zero = at the start of a frame
    uint64_t left            # payload bytes of the current frame still to come
    uint8_t head[14]         # of a frame header that has not come whole
    uint8_t have
    uint8_t need             # 0 = not known yet


cdef void frames_feed(Frames* f, const uint8_t* p, size_t n) noexcept nogil
cdef bint frames_boundary(const Frames* f) noexcept nogil             # a frame of our own may be put in here
cdef size_t close_frame(uint8_t* out, uint16_t code, const char* text) noexcept nogil
    # A server's close frame; text is cut to 123 bytes; returns its length, at most 127.
