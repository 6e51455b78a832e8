"""Verified application tokens by their bytes.

A request's use: cookie_find (cookie.pxd), TokenCache.find; when that gives None with reason 0 (never seen),
TokenCache.verify, which checks the signature. Both give a Token or a reason, never both; no Token, no identity."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from _fastpath.jwt cimport PublicKey, Token
from _fastpath.revocations cimport Revocations
from _fastpath.slice cimport Slice


cdef struct CacheEntry:
    uint64_t hash
    PyObject* token                  # owned; NULL = free
    uint32_t chain                   # next in bucket, or next free
    uint32_t newer                   # neighbours in order of use
    uint32_t older

cdef struct Refusal:                 # negative cache, direct-mapped
    uint64_t hash
    uint64_t check                   # second hash under another key
    int reason


cdef class TokenCache:
    """Verified tokens by their bytes. Bounded by MAX_TOKENS, least recently used goes first."""
    cdef readonly Revocations revocations
    cdef dict keys                           # kid bytes -> PublicKey
    cdef dict headers                        # header segments whose token held -> PublicKey
    cdef readonly bytes issuer
    cdef CacheEntry* entries
    cdef uint32_t* buckets
    cdef Refusal* refusals
    cdef uint32_t capacity
    cdef uint32_t mask
    cdef uint32_t spare                      # first unused entry
    cdef uint32_t newest
    cdef uint32_t oldest
    cdef readonly uint32_t size
    cdef uint64_t secret[8]                  # two hash keys
    cdef readonly uint64_t hits
    cdef readonly uint64_t verified          # signatures checked
    cdef readonly uint64_t refused           # tokens refused, by signature or cache
    cdef Token find(self, Slice raw, Slice aud, int64_t now, int* reason)
        # A Token that holds now for aud; None with *reason a Reason (refused), or 0: not known, ask verify.
    cdef Token verify(self, Slice raw, Slice aud, int64_t now, int* reason)
        # Check everything, remember the result. None with *reason != 0 when refused.
    # private to token.pyx
    cdef Token examine(self, Slice raw, int64_t now, int* reason)
    cdef PublicKey key_of(self, bytes header, int* reason)
    cdef Token judge(self, Token token, Slice aud, int64_t now, int* reason)
    cdef uint32_t lookup(self, uint64_t hash, Slice raw) noexcept
    cdef void use(self, uint32_t index) noexcept
    cdef void unlink(self, uint32_t index) noexcept
    cdef void drop(self, uint32_t index) noexcept
    cdef void insert(self, uint64_t hash, Token token) noexcept
