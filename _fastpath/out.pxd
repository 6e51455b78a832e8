"""Writing heads: bytes that go out in one piece, gathered in a block of fixed size."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from _fastpath.slice cimport Slice


cdef struct Out:             # bytes being written into a block of fixed size
    uint8_t* ptr
    size_t len
    size_t room
    bint over                # something did not fit: what is there must not be sent


cdef inline void put(Out* o, const void* p, size_t n) noexcept nogil:
    if n > o.room - o.len:
        o.over = True
        return
    memcpy(o.ptr + o.len, p, n)
    o.len += n


cdef inline void put_slice(Out* o, Slice s) noexcept nogil:
    if s.len:
        put(o, s.ptr, s.len)


cdef inline void put_bytes(Out* o, bytes b) noexcept:
    put(o, <const char*>b, len(b))


cdef inline void put_number(Out* o, uint64_t n) noexcept nogil:
    cdef uint8_t digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <uint8_t>(48 + n % 10)
        n //= 10
        if n == 0:
            break
    put(o, digits + at, 20 - at)


cdef inline uint8_t hex_digit(uint8_t n) noexcept nogil:
    return 48 + n if n < 10 else 87 + n


cdef inline void put_safe(Out* o, Slice s) noexcept nogil:
    """A value that we build: control bytes, non-ASCII and '%' are percent-coded, never raw (C15)."""
    cdef size_t i
    cdef uint8_t c
    cdef uint8_t coded[3]
    for i in range(s.len):
        c = s.ptr[i]
        if c > 0x20 and c < 0x7F and c != b"%":
            put(o, &c, 1)
        else:
            coded[0] = b"%"
            coded[1] = hex_digit(c >> 4)
            coded[2] = hex_digit(c & 15)
            put(o, coded, 3)
