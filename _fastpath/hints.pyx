"""What a head says of its sender besides the request: a person's browser or a program, which language, whose connection."""

from libc.string cimport memcmp

from _fastpath.head cimport *
from _fastpath.slice cimport Slice, lower, slice_is, slice_of


cdef bint contains(Slice s, const char* text, size_t n) noexcept nogil:
    cdef size_t i
    if s.len < n:
        return False
    for i in range(s.len - n + 1):
        if memcmp(s.ptr + i, text, n) == 0:
            return True
    return False


cdef bint is_navigation(Head* h) noexcept nogil:
    """A browser that wants a page for a person, as far as the fields tell."""
    cdef Slice v
    if h.upgrade_websocket or h.upgrade_tcp:
        return False
    if h.count[<int>F_CF_ACCESS_CLIENT_ID] or h.count[<int>F_CF_ACCESS_CLIENT_SECRET]:
        return False
    if h.count[<int>F_X_REQUESTED_WITH]:
        v = h.fields[h.first[<int>F_X_REQUESTED_WITH]].value
        if slice_is(v, b"xmlhttprequest", 14):
            return False
    if h.count[<int>F_SEC_FETCH_MODE]:
        return slice_is(h.fields[h.first[<int>F_SEC_FETCH_MODE]].value, b"navigate", 8)
    if h.count[<int>F_ACCEPT]:
        v = h.fields[h.first[<int>F_ACCEPT]].value
        return contains(v, b"text/html", 9) or contains(v, b"*/*", 3)
    return True


cdef bint has_preflight(Head* h) noexcept nogil:
    cdef int i
    for i in range(h.n_fields):
        if slice_is(h.fields[i].name, b"access-control-request-method", 29):
            return True
    return False


cdef bint prefers_japanese(Head* h) noexcept nogil:
    """Which of our two languages Accept-Language names first: browsers list them by weight."""
    cdef Slice v
    cdef size_t i
    cdef bint boundary = True
    cdef uint8_t c
    if h.count[<int>F_ACCEPT_LANGUAGE] == 0:
        return False
    v = h.fields[h.first[<int>F_ACCEPT_LANGUAGE]].value
    for i in range(v.len):
        c = lower(v.ptr[i])
        if boundary and i + 1 < v.len and (i + 2 == v.len or is_tag_end(v.ptr[i + 2])):
            if c == b"j" and lower(v.ptr[i + 1]) == b"a":
                return True
            if c == b"e" and lower(v.ptr[i + 1]) == b"n":
                return False
        boundary = c == b"," or (boundary and (c == b" " or c == b"\t"))
    return False


cdef inline bint is_tag_end(uint8_t c) noexcept nogil:
    return c == b"-" or c == b"," or c == b";" or c == b" "


cdef bint may_repeat(int method) noexcept nogil:
    """Idempotent and without a body of consequence (RFC 9110 9.2.2)."""
    return (method == METHOD_GET or method == METHOD_HEAD or method == METHOD_OPTIONS or method == METHOD_PUT
            or method == METHOD_DELETE)


cdef bint is_binding(Slice v) noexcept nogil:
    """NTLM and Negotiate authenticate the connection, not the request."""
    return ((v.len >= 4 and slice_is(slice_of(v.ptr, 4), b"ntlm", 4))
            or (v.len >= 9 and slice_is(slice_of(v.ptr, 9), b"negotiate", 9)))


cdef bint asks_for_binding(Head* h) noexcept nogil:
    return h.count[<int>F_AUTHORIZATION] > 0 and is_binding(h.fields[h.first[<int>F_AUTHORIZATION]].value)


cdef bint binds_connection(Head* h) noexcept nogil:
    cdef int i
    if h.count[<int>F_WWW_AUTHENTICATE] == 0:
        return False
    for i in range(h.first[<int>F_WWW_AUTHENTICATE], h.n_fields):
        if h.fields[i].id == F_WWW_AUTHENTICATE and is_binding(h.fields[i].value):
            return True
    return False
