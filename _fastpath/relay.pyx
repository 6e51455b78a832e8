"""WebSocket frame boundaries: a revoked stream gets a clean close frame instead of a cut in the middle of one."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, strlen


cdef void frames_feed(Frames* f, const uint8_t* p, size_t n) noexcept nogil:
    cdef uint64_t take
    cdef uint8_t short
    cdef int i
    while n:
        if f.left:
            take = f.left if f.left < n else n
            f.left -= take
            p += take
            n -= take
            continue
        f.head[f.have] = p[0]
        f.have += 1
        p += 1
        n -= 1
        if f.have == 2:
            short = f.head[1] & 127
            f.need = 2 + (4 if f.head[1] & 128 else 0) + (2 if short == 126 else 8 if short == 127 else 0)
        if f.have >= 2 and f.have == f.need:
            short = f.head[1] & 127
            if short < 126:
                f.left = short
            else:
                f.left = 0
                for i in range(2, 4 if short == 126 else 10):
                    f.left = (f.left << 8) | f.head[i]
            f.have = 0
            f.need = 0


cdef bint frames_boundary(const Frames* f) noexcept nogil:
    return f.left == 0 and f.have == 0


cdef size_t close_frame(uint8_t* out, uint16_t code, const char* text) noexcept nogil:
    cdef size_t n = strlen(text)
    if n > 123:
        n = 123
    out[0] = 0x88
    out[1] = <uint8_t>(n + 2)
    out[2] = <uint8_t>(code >> 8)
    out[3] = <uint8_t>(code & 255)
    memcpy(out + 4, text, n)
    return n + 4


# -- door for tests --------------------------------------------------------------------------------


def boundaries(list pieces):
    """Feed the pieces to one Frames; return for each whether it ended at a frame's end."""
    cdef Frames f
    cdef bytes piece
    f.left = 0
    f.have = f.need = 0
    out = []
    for piece in pieces:
        frames_feed(&f, piece, len(piece))
        out.append(frames_boundary(&f))
    return out
