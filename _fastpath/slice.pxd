"""Borrowed bytes: a pointer and a length. Whoever holds a Slice says from whom it is borrowed."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp


cdef struct Slice:
    const uint8_t* ptr       # borrowed: dies at the owner's next consume()
    size_t len


cdef inline Slice slice_of(const uint8_t* ptr, size_t length) noexcept nogil:
    cdef Slice s
    s.ptr = ptr
    s.len = length
    return s


cdef inline bint slice_eq(Slice a, Slice b) noexcept nogil:
    return a.len == b.len and (a.len == 0 or memcmp(a.ptr, b.ptr, a.len) == 0)


cdef inline uint8_t lower(uint8_t c) noexcept nogil:
    return c | 0x20 if c >= 65 and c <= 90 else c


cdef inline bint slice_is(Slice a, const char* text, size_t n) noexcept nogil:
    """True when a equals the n bytes of text, which is lower case, in any case of a."""
    cdef size_t i
    if a.len != n:
        return False
    for i in range(n):
        if lower(a.ptr[i]) != <uint8_t>text[i]:
            return False
    return True


cdef inline bytes slice_bytes(Slice s):
    return s.ptr[:s.len] if s.len else b""


cdef inline Slice of_bytes(bytes b) noexcept:          # borrowed: dies with b
    return slice_of(<const uint8_t*><const char*>b, len(b))
