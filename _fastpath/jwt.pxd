"""One application token (RS256 JWT): its text, the keys that prove it, its claims."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from _fastpath.openssl cimport EVP_PKEY
from _fastpath.facts cimport FactSet
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


cdef class PublicKey:
    cdef readonly bytes kid
    cdef bytes material              # what it was made of: a key that changed under its kid is another key
    cdef EVP_PKEY* key
    cdef size_t size                 # bytes of a signature


cdef bytes segment_bytes(const uint8_t* p, size_t n)
    # The decoded base64url segment, or None when it is empty or not canonical.
cdef dict read_object(bytes text)
    # The JSON object that text is, every name once; ValueError when it is anything else.
cdef PublicKey public_key(str kid, object jwk)
    # The RSA key of a JWK (RFC 7517); ValueError when it is no RSA key of 2048 to 8192 bits.
cdef bint signature_holds(PublicKey key, const uint8_t* data, size_t n, bytes signature) except -1
cdef Token read_token(Slice raw, PublicKey key, bytes payload, bytes issuer, int64_t now, int* reason)
    # The Token of claims whose signature held; None and *reason, or ValueError, when they are not an application's of ours.
