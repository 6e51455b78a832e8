"""The header of a stream (MUX.md §9): a msgpack map written without Python objects."""

from libc.stdint cimport uint8_t, uint64_t

from _fastpath.slice cimport Slice


cdef enum:
    HEADER_ROOM = 1024


cdef struct Header:
    uint8_t bytes[1024]
    size_t n
    bint fits


cdef void header_start(Header* h) noexcept nogil
cdef void header_number(Header* h, const char* name, size_t n, uint64_t value) noexcept nogil
cdef void header_text(Header* h, const char* name, size_t n, Slice value) noexcept nogil
cdef bytes header_bytes(const Header* h)               # only when h.fits
