"""Host and path -> application and route: see route.pxd for the rules."""

from libc.string cimport memchr, memcmp, memcpy, memset

from _fastpath.limits cimport MAX_TARGET
from _fastpath.slice cimport lower, slice_of


cdef inline uint64_t rotate(uint64_t x, int n) noexcept nogil:
    return (x << n) | (x >> (64 - n))


cdef inline void sip_round(uint64_t* v) noexcept nogil:
    v[0] += v[1]
    v[1] = rotate(v[1], 13) ^ v[0]
    v[0] = rotate(v[0], 32)
    v[2] += v[3]
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = rotate(v[1], 17) ^ v[2]
    v[2] = rotate(v[2], 32)


cdef uint64_t text_hash(const uint64_t* key, const uint8_t* p, size_t n) noexcept nogil:
    # The four words are "somepseudorandomlygeneratedbytes", as the SipHash paper has them; written in halves because an
    # integer literal above 2**63 becomes a Python object.
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef size_t left = n
    v[0] = key[0] ^ ((<uint64_t>0x736f6d65 << 32) | <uint64_t>0x70736575)
    v[1] = key[1] ^ ((<uint64_t>0x646f7261 << 32) | <uint64_t>0x6e646f6d)
    v[2] = key[0] ^ ((<uint64_t>0x6c796765 << 32) | <uint64_t>0x6e657261)
    v[3] = key[1] ^ ((<uint64_t>0x74656462 << 32) | <uint64_t>0x79746573)
    while left >= 8:
        memcpy(&word, p, 8)
        v[3] ^= word
        sip_round(v)
        v[0] ^= word
        p += 8
        left -= 8
    word = 0
    if left:
        memcpy(&word, p, left)
    word |= <uint64_t>(n & 0xff) << 56
    v[3] ^= word
    sip_round(v)
    v[0] ^= word
    v[2] ^= 0xff
    sip_round(v)
    sip_round(v)
    sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef const HostRow* host_row(const Hosts* h, Slice name) noexcept nogil:
    cdef uint64_t hash = text_hash(h.key, name.ptr, name.len)
    cdef uint32_t at = <uint32_t>hash & h.mask
    cdef uint32_t left = h.mask + 1
    cdef const HostRow* row
    while left:
        row = &h.rows[at]
        if row.name_len == 0:
            return NULL
        if (row.hash == hash and row.name_len == name.len
                and memcmp(h.strings + row.name, name.ptr, name.len) == 0):
            return row
        at = (at + 1) & h.mask
        left -= 1
    return NULL


cdef inline bint covers(const uint8_t* text, size_t n, Slice path) noexcept nogil:
    """True when path is text or lies below it, by whole segments."""
    return n <= path.len and memcmp(text, path.ptr, n) == 0 and (n == path.len or path.ptr[n] == c"/")


cdef int order(const uint8_t* text, size_t n, Slice path) noexcept nogil:
    """Compare with '/' before every other byte, so that what lies below a path follows it without a gap."""
    cdef size_t i
    cdef size_t shorter = n if n < path.len else path.len
    for i in range(shorter):
        if text[i] != path.ptr[i]:
            if text[i] == c"/":
                return -1
            if path.ptr[i] == c"/":
                return 1
            return -1 if text[i] < path.ptr[i] else 1
    return 0 if n == path.len else (-1 if n < path.len else 1)


cdef const PathRow* plain_path(const Hosts* h, const HostRow* row, Slice path) noexcept nogil:
    """The longest plain path that covers this one.

    It is the greatest row that is not after path, or one above that row: every row between the answer and path begins
    with the answer and a slash."""
    cdef const PathRow* rows = h.paths + row.paths
    cdef uint32_t low = 0, high = row.n_paths, middle
    while low < high:
        middle = (low + high) // 2
        if order(h.strings + rows[middle].text, rows[middle].text_len, path) <= 0:
            low = middle + 1
        else:
            high = middle
    # parent is always a lower number (checked at load), so this ends
    while low and not covers(h.strings + rows[low - 1].text, rows[low - 1].text_len, path):
        low = rows[low - 1].parent
    return &rows[low - 1] if low else NULL


cdef bint pattern_covers(const uint8_t* text, size_t n, bint folded, Slice path) noexcept nogil:
    """True when path, or a path above it, is what the pattern stands for.

    The leftmost place for what stands between two stars is as good as any other, so one place to go back to is enough."""
    cdef size_t i = 0, j = 0, star = 0, mark = 0
    cdef bint starred = False
    while True:
        if j < n and text[j] == c"*":
            starred, star, mark = True, j + 1, i
            j += 1
            if j == n:
                return True
            continue
        if j == n and (i == path.len or path.ptr[i] == c"/"):
            return True
        if j < n and i < path.len and text[j] == (lower(path.ptr[i]) if folded else path.ptr[i]):
            i += 1
            j += 1
            continue
        if not starred or mark >= path.len:
            return False
        mark += 1
        i, j = mark, star


cdef const PathRow* best_path(const Hosts* h, const HostRow* row, Slice path) noexcept nogil:
    cdef const PathRow* plain = plain_path(h, row, path)
    cdef const PathRow* pattern
    cdef uint32_t i
    for i in range(row.n_patterns):
        pattern = &h.paths[row.patterns + i]
        if plain != NULL and (pattern.literal < plain.literal or (
                pattern.literal == plain.literal and pattern.parent <= plain.literal)):
            break                # sorted: none of the rest is more specific either
        if pattern_covers(h.strings + pattern.text, pattern.text_len, pattern.flags & PATH_FOLDED, path):
            return pattern
    return plain


cdef inline int digit(uint8_t c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    return c - c"A" + 10 if c"A" <= c <= c"F" else -1


cdef bint delimiter(int c) noexcept nogil:
    """The characters that mean the same to most origins, written out or as an escape; path_normal leaves both alone."""
    return c > 0 and memchr(b"!$&'()+,:;=@", c, 12) != NULL


cdef size_t matched_form(Slice path, uint8_t* out) noexcept nogil:
    """Write what is compared: the normal path without what origins may ignore or read the same way.

    `;parameters` and dots at a segment's end are left out (D07, D09), escaped delimiters decoded: /admin;x, /admin. and
    /adm%69n are all /admin. Never longer than path."""
    cdef size_t i = 0, n = 0, start = 0, end
    cdef int c
    cdef bint skip = False
    while i <= path.len:
        if i == path.len or path.ptr[i] == c"/":
            end = n
            while end > start and out[end - 1] == c".":
                end -= 1
            n = end if end > start else n          # a segment of dots alone stays
            if i == path.len:
                return n
            out[n] = c"/"
            n += 1
            start, skip = n, False
            i += 1
            continue
        c = path.ptr[i]
        if c == c"%" and i + 2 < path.len:
            c = digit(path.ptr[i + 1]) * 16 + digit(path.ptr[i + 2])
            if not delimiter(c):
                c = c"%"
            else:
                i += 2
        if c == c";":
            skip = True
        if not skip:
            out[n] = <uint8_t>c
            n += 1
        i += 1
    return n


cdef inline bint needs_form(Slice path) noexcept nogil:
    cdef size_t i
    cdef uint8_t c
    for i in range(path.len):
        c = path.ptr[i]
        if c == c"%" or c == c";" or (c == c"." and (i + 1 == path.len or path.ptr[i + 1] == c"/")):
            return True
    return False


cdef void hosts_find(const Hosts* h, Slice host, Slice path, Found* out) noexcept nogil:
    cdef const HostRow* exact
    cdef const HostRow* wild = NULL
    cdef const PathRow* found = NULL
    cdef size_t dot = 0
    cdef uint8_t form[MAX_TARGET]
    memset(out, 0, sizeof(Found))
    if host.len == 0 or host.ptr[0] == c".":     # rows of wildcards begin with a dot: never by their own name
        return
    if path.len > MAX_TARGET:                    # no request line holds it
        return
    if needs_form(path):
        path = slice_of(form, matched_form(path, form))
    exact = host_row(h, host)
    while dot < host.len and host.ptr[dot] != c".":
        dot += 1
    if dot and dot < host.len:
        wild = host_row(h, slice_of(host.ptr + dot, host.len - dot))
    if exact != NULL:
        out.host_known = True
        out.route = exact.route
        found = best_path(h, exact, path)
    if wild != NULL:
        out.host_known = True
        if out.route == 0:
            out.route = wild.route
        if found == NULL:
            found = best_path(h, wild, path)
    if found != NULL:
        out.app = found.app + 1


def hash_text(bytes key, bytes text) -> int:
    """Return text_hash of text under a key of 16 bytes: what the compiler writes into tables."""
    cdef uint64_t words[2]
    if len(key) != 16:
        raise ValueError("the key has 16 bytes")
    memcpy(words, <const uint8_t*>key, 16)
    return text_hash(words, <const uint8_t*>text, len(text))


def compared(bytes path) -> bytes:
    """Return the form of a normal path that application paths are compared with."""
    cdef uint8_t out[MAX_TARGET]
    cdef size_t n
    if len(path) > MAX_TARGET:
        raise ValueError("longer than any target")
    n = matched_form(slice_of(<const uint8_t*>path, len(path)), out)
    return out[:n]


def path_covers(bytes pattern, bytes path, bint folded=False) -> bool:
    """Tell whether a path pattern covers a path in normal form (the compiler's checks ask the same code)."""
    return pattern_covers(<const uint8_t*>pattern, len(pattern), folded,
                          slice_of(<const uint8_t*>path, len(path)))
