"""Host and path -> application and route. Pure look-ups in the tables of a snapshot; nothing here allocates.

A host is found exactly, else by its one-label wildcard (`*.example.com`). Within a host the most specific path wins:
the longest literal beginning, then the longest literal text. A path covers itself and what lies below it, by whole
segments (D13), parameters and dots at their ends not counted (matched_form). `*` in a path stands for any bytes, `/` included, also none."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice


cdef enum PathFlag:
    PATH_FOLDED = 1          # compare in any ASCII case; the text is lower case


cdef struct HostRow:         # slot of the host table, 40 bytes; name_len 0 = free
    uint64_t hash            # text_hash of the name
    uint32_t name            # offset in strings: "wiki.example.com", or ".example.com" for *.example.com
    uint32_t name_len
    uint32_t route           # index + 1; 0 = no route
    uint32_t paths           # first row in paths: the plain ones, sorted ('/' sorts before every other byte) ...
    uint32_t n_paths
    uint32_t patterns        # ... and first of those with '*' or PATH_FOLDED, the most specific first
    uint32_t n_patterns
    uint32_t reserved


cdef struct PathRow:         # 24 bytes
    uint32_t text            # offset in strings; normal form without a slash at its end; "" is the whole host
    uint32_t text_len
    uint32_t app             # index
    uint32_t parent          # plain paths: row (from the host's first) + 1 of the longest one above it; 0 = none.
                             # patterns: bytes that are not '*'
    uint32_t literal         # bytes before the first '*' (all, without one)
    uint32_t flags           # PathFlag


cdef struct Hosts:           # borrowed from the snapshot's bytes, checked by it
    uint64_t key[2]
    const HostRow* rows
    uint32_t mask            # slots - 1
    const PathRow* paths
    uint32_t n_paths
    const uint8_t* strings
    size_t strings_len


cdef struct Found:           # zero = nothing
    uint32_t app             # index + 1
    uint32_t route           # index + 1
    bint host_known          # some application or route names this host


cdef void hosts_find(const Hosts* h, Slice host, Slice path, Found* out) noexcept nogil
    # host as host_normal gives it, path as path_normal gives it.
cdef uint64_t text_hash(const uint64_t* key, const uint8_t* p, size_t n) noexcept nogil
    # SipHash-1-3 under two words of key: for tables only, every hit is compared in full.
