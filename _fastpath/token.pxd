"""Application tokens (RS256 JWT), service tokens, revocations.

A request's use: cookie_find (cookie.pxd), TokenCache.find; when that gives None with reason 0 (never seen),
TokenCache.verify, which checks the signature. Both give a Token or a reason, never both; no Token, no identity."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.openssl cimport EVP_PKEY
from _fastpath.policy cimport FactSet
from _fastpath.slice cimport Slice


cdef class Token:
    """A token whose signature and claims held. Immutable but for `facts`, `checked` and `void`."""
    cdef readonly bytes raw          # as received: the assertion that origins get
    cdef FactSet facts               # as sworn, or the fuller ones that control answered with
    cdef readonly int64_t exp        # unix seconds
    cdef readonly int64_t iat
    cdef readonly bytes aud          # AUD of the one application it is for
    cdef readonly bytes kid
    cdef readonly bytes sub          # account
    cdef readonly bytes email        # empty when the provider gave none
    cdef readonly bytes nonce        # identity_nonce: the application session
    cdef readonly bytes sid          # global session
    cdef readonly uint32_t epoch     # of the user
    cdef readonly uint32_t app_epoch
    cdef uint64_t checked            # Revocations.generation at which `void` was found
    cdef int void                    # Reason, 0 = not revoked


cdef enum Revoked:                   # kinds of entry
    REVOKED_SESSION = 1
    REVOKED_NONCE
    REVOKED_USER
    REVOKED_APPLICATION
    REVOKED_SERVICE_TOKEN
    REVOKED_CREDENTIAL
    REVOKED_ADMINISTRATOR


cdef class Revocations:
    """Everything revoked that this worker has heard of."""
    cdef readonly uint64_t generation        # grows with every change; the O(1) test of a request or an open stream
    cdef readonly uint64_t seq               # of the last list applied
    cdef dict entries                        # (kind, id) -> (epoch, until)
    cdef int check(self, Token token) except -1              # Reason or 0; O(1) unless generation moved since
    cdef bint listed(self, int kind, bytes ident)            # service token, credential, administrator


cdef class PublicKey:
    cdef readonly bytes kid
    cdef bytes material              # what it was made of: a key that changed under its kid is another key
    cdef EVP_PKEY* key
    cdef size_t size                 # bytes of a signature


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
