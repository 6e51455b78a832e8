"""Everything that was revoked, applied whole; the question of a request or an open stream costs one comparison."""

cimport cython
from libc.stdint cimport uint64_t

from _fastpath.jwt cimport Token


cdef enum Revoked:                   # kinds of entry
    REVOKED_SESSION = 1
    REVOKED_NONCE
    REVOKED_USER
    REVOKED_APPLICATION
    REVOKED_SERVICE_TOKEN
    REVOKED_CREDENTIAL
    REVOKED_ADMINISTRATOR


@cython.final
cdef class Revocations:
    """Everything revoked that this worker has heard of."""
    cdef readonly uint64_t generation        # grows with every change; the O(1) test of a request or an open stream
    cdef readonly uint64_t seq               # of the last list applied
    cdef dict entries                        # (kind, id) -> (epoch, until)
    cdef int look_up(self, Token token) except -1            # private: what check() asks after a change
    cdef bint listed(self, int kind, bytes ident)            # service token, credential, administrator

    cdef inline int check(self, Token token) except -1:
        """The Reason for which token is void, or 0. O(1), and inline, unless the generation moved since."""
        return token.void if token.checked == self.generation else self.look_up(token)
