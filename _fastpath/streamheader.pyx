"""The header of a stream: a msgpack map written without Python objects."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from _fastpath.slice cimport Slice


cdef void header_start(Header* h) noexcept nogil:
    h.n = 1                                # the map's size comes last
    h.bytes[0] = 0x80
    h.fits = True


cdef void header_name(Header* h, const char* name, size_t n) noexcept nogil:
    h.bytes[0] += 1
    h.bytes[h.n] = <uint8_t>(0xa0 | n)
    memcpy(&h.bytes[h.n + 1], name, n)
    h.n += 1 + n


cdef void header_number(Header* h, const char* name, size_t n, uint64_t value) noexcept nogil:
    cdef int i
    if h.n + n + 10 > HEADER_ROOM:
        h.fits = False
        return
    header_name(h, name, n)
    if value < 128:
        h.bytes[h.n] = <uint8_t>value
        h.n += 1
        return
    h.bytes[h.n] = 0xcf
    for i in range(8):
        h.bytes[h.n + 1 + i] = <uint8_t>((value >> (56 - 8 * i)) & 255)
    h.n += 9


cdef void header_text(Header* h, const char* name, size_t n, Slice value) noexcept nogil:
    if value.len > 65535 or h.n + n + value.len + 4 > HEADER_ROOM:
        h.fits = False
        return
    header_name(h, name, n)
    h.bytes[h.n] = 0xda
    h.bytes[h.n + 1] = <uint8_t>(value.len >> 8)
    h.bytes[h.n + 2] = <uint8_t>(value.len & 255)
    if value.len:
        memcpy(&h.bytes[h.n + 3], value.ptr, value.len)
    h.n += 3 + value.len


cdef bytes header_bytes(const Header* h):
    return h.bytes[:h.n]
