"""Set-Cookie values that take away a cookie of ours which a sibling site may have planted (K01).

A browser knows a cookie by name, domain and path together and tells us the name alone. So every place is cleared from
which it could have come: the prefixes of the path, at the host itself and at each parent domain. For rare answers only.
`Clear-Site-Data: "cookies"` is no way: it empties the whole registrable domain, every other application's cookies too."""


cdef bint is_path(bytes segment):
    """Nothing that ends the attribute: `;` would begin another one."""
    cdef int c
    for c in segment:
        if c <= 32 or c >= 127 or c == 59:
            return False
    return True


cdef list prefixes(bytes path):
    """Every cookie path that matches this request path, as far as the bounds go (RFC 6265bis 5.1.4)."""
    cdef list found = [b"/"]
    cdef bytes prefix = b"", segment, one
    cdef list segments = path.split(b"/", MAX_CLEARED_SEGMENTS + 1)
    cdef Py_ssize_t i
    for i in range(1, min(len(segments), MAX_CLEARED_SEGMENTS + 1)):
        segment = segments[i]
        prefix = prefix + b"/" + segment
        if not is_path(segment) or len(prefix) >= MAX_CLEARED_PATH:
            break
        for one in (prefix, prefix + b"/") if i + 1 < len(segments) else (prefix,):
            if one not in found:
                found.append(one)
    return found


cpdef list clearings(bytes name, bytes host, bytes path):
    cdef list found = [], labels = host.split(b".")
    cdef list domains = [b""] + [b"; Domain=" + b".".join(labels[i:]) for i in range(len(labels) - 1)]
    cdef bytes place, domain, line
    cdef Py_ssize_t size = 0
    for place in prefixes(path):
        for domain in domains:
            line = b"%s=; Path=%s%s; Max-Age=0; Secure; HttpOnly; SameSite=Lax" % (name, place, domain)
            size += len(line)
            if len(found) == MAX_CLEARED_LINES or size > MAX_CLEARED_BYTES:
                return found
            found.append(line)
    return found
