"""Service tokens: client ids with the hashes of their secrets."""

from libc.stdint cimport int64_t

from _fastpath.revocations cimport Revocations
from _fastpath.slice cimport Slice


cdef class ServiceToken:
    cdef readonly bytes client_id
    cdef readonly bytes id                   # what policies name
    cdef readonly bytes name
    cdef tuple secrets                       # ((sha256, expiry in unix seconds or 0), ...)


cdef class ServiceTokens:
    cdef dict tokens                         # client id bytes -> ServiceToken
    cdef ServiceToken check(self, Slice client_id, Slice secret, int64_t now, Revocations revocations,
                            int* reason)
        # The service token that this pair proves, or None and *reason.
