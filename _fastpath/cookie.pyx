"""Our cookies in a Cookie header. Borrowed bytes, no allocation.

Finding is strict, because what we read decides: a pair is what stands between semicolons, only SP may precede its name,
and its value is taken as it stands. Stripping is generous, because the origin may read more than we do: white space,
quotes and case around a name of ours don't save it."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy

from _fastpath.slice cimport Slice, lower, slice_of

cdef enum:
    SP = 32
    QUOTE = 34
    SEMICOLON = 59
    EQUALS = 61


cdef inline size_t pair_end(const uint8_t* p, size_t n) noexcept nogil:
    cdef const uint8_t* semicolon = <const uint8_t*>memchr(p, SEMICOLON, n)
    return <size_t>(semicolon - p) if semicolon != NULL else n


cdef int cookie_find(Slice header_value, Slice name, Slice* value) noexcept nogil:
    cdef const uint8_t* p = header_value.ptr
    cdef size_t left = header_value.len, n, i
    cdef int count = 0
    value[0] = slice_of(NULL, 0)
    while left > 0:
        n = pair_end(p, left)
        i = 0
        while i < n and p[i] == SP:
            i += 1
        if (n - i > name.len and p[i + name.len] == EQUALS and memcmp(p + i, name.ptr, name.len) == 0
                and not (n - i > name.len + 1 and p[i + name.len + 1] == QUOTE)):
            value[0] = slice_of(p + i + name.len + 1, n - i - name.len - 1)
            count += 1
        if n == left:
            break
        p += n + 1
        left -= n + 1
    return count


cdef inline bint is_noise(uint8_t c) noexcept nogil:
    """What some server trims from, or skips in front of, a cookie's name."""
    return c <= SP or c >= 127 or c == QUOTE or c == EQUALS


cdef bint starts(const uint8_t* p, size_t n, const char* text, size_t size, bint whole) noexcept nogil:
    cdef size_t i
    if n < size or (whole and n != size):
        return False
    for i in range(size):
        if lower(p[i]) != <uint8_t>text[i]:
            return False
    return True


cdef bint is_ours(const uint8_t* p, size_t n) noexcept nogil:
    """True when some reader could take this pair for CF_Authorization*, __Host-CF_* or another of Cloudflare's names."""
    cdef const uint8_t* equals
    while n > 0 and is_noise(p[0]):
        p += 1
        n -= 1
    equals = <const uint8_t*>memchr(p, EQUALS, n)
    if equals != NULL:
        n = <size_t>(equals - p)
    while n > 0 and is_noise(p[n - 1]):
        n -= 1
    if n < 10:                           # the shortest of them
        return False
    return (starts(p, n, b"cf_authorization", 16, False) or starts(p, n, b"cf_appsession", 13, True)
            or starts(p, n, b"cf_binding", 10, True) or starts(p, n, b"cf_session", 10, True)
            or starts(p, n, b"__host-cf_", 10, False))


cdef bint cookie_sets_ours(Slice set_cookie) noexcept nogil:
    return is_ours(set_cookie.ptr, pair_end(set_cookie.ptr, set_cookie.len)) if set_cookie.len else False


cdef size_t cookie_strip(Slice header_value, uint8_t* out, int* dropped) noexcept nogil:
    cdef const uint8_t* p = header_value.ptr
    cdef size_t left = header_value.len, n, i, written = 0
    dropped[0] = 0
    while left > 0:
        n = pair_end(p, left)
        if is_ours(p, n):
            dropped[0] += 1
        else:
            i = 0
            while i < n and p[i] == SP:
                i += 1
            if i < n:
                # "; " between pairs never needs more room than the ';' (and a SP) that stood before this one,
                # but for "a;b": there the space is left out.
                if written > 0:
                    out[written] = SEMICOLON
                    written += 1
                    if i > 0:
                        out[written] = SP
                        written += 1
                memcpy(out + written, p + i, n - i)
                written += n - i
        if n == left:
            break
        p += n + 1
        left -= n + 1
    return written


def find_cookie(header: bytes, name: bytes) -> tuple[int, bytes]:
    """(count, value of the last) of cookies of exactly this name: the Python door of cookie_find."""
    cdef Slice value
    cdef int count = cookie_find(slice_of(header, len(header)), slice_of(name, len(name)), &value)
    return count, (value.ptr[:value.len] if value.len else b"")


def strip_cookies(header: bytes) -> tuple[bytes, int]:
    """(header without our cookies, how many were dropped): the Python door of cookie_strip."""
    cdef bytearray out = bytearray(len(header) + 1)
    cdef int dropped
    cdef size_t n = cookie_strip(slice_of(header, len(header)), <uint8_t*><char*>out, &dropped)
    return bytes(out[:n]), dropped
