"""Our cookies in a Cookie header (RFC 6265bis §5.5): found strictly, stripped generously."""

from libc.stdint cimport uint8_t

from _fastpath.slice cimport Slice


cdef int cookie_find(Slice header_value, Slice name, Slice* value) noexcept nogil
    # How many cookies of exactly this name the header holds; value is the last one's. Several Cookie fields: add up.
    # Unless the sum is 1, use none (K01). No other white space than SP is skipped, no quotes are read (K02, K03).
cdef size_t cookie_strip(Slice header_value, uint8_t* out, int* dropped) noexcept nogil
    # The Cookie header without ours, in out, which has room for header_value.len; 0: nothing is left, send no
    # Cookie field. What a laxer origin might read as one of ours goes too.
cdef bint cookie_sets_ours(Slice set_cookie) noexcept nogil
    # An origin's Set-Cookie value that would plant one of ours (K05), read as generously as stripping reads.
