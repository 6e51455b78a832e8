"""Client ids with secrets, for programs: see servicetoken.pxd for the contract."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t

from _fastpath.buffer cimport need
from _fastpath.errors cimport *
from _fastpath.openssl cimport *
from _fastpath.revocations cimport REVOKED_SERVICE_TOKEN, Revocations
from _fastpath.slice cimport Slice, slice_of


@cython.final
cdef class ServiceToken:
    pass


@cython.final
cdef class ServiceTokens:
    """Client ids with the hashes of their secrets; a rotated secret holds beside the new one until its own expiry."""

    def __cinit__(self, tokens=None):
        """tokens: {client id: [id, name (may be left out), [[sha256 as 32 bytes or 64 hex, expiry or 0], …]]}."""
        cdef ServiceToken made
        self.tokens = {}
        for client_id, row in (tokens or {}).items():
            made = ServiceToken.__new__(ServiceToken)
            made.client_id = client_id.encode("utf-8")
            made.id = row[0].encode("utf-8")
            made.name = (row[1] if len(row) > 2 else row[0]).encode("utf-8")
            made.secrets = tuple((_digest(digest), int(expiry or 0)) for digest, expiry in row[len(row) - 1])
            self.tokens[made.client_id] = made

    cdef ServiceToken check(self, Slice client_id, Slice secret, int64_t now, Revocations revocations,
                            int* reason):
        cdef unsigned char digest[32]
        cdef unsigned int size = 32
        cdef ServiceToken token
        cdef bint proved = False, fresh = False
        cdef bytes kept
        reason[0] = R_SERVICE_TOKEN_INCOMPLETE
        if client_id.len == 0 or secret.len == 0:
            return None
        need(digest if EVP_Digest(secret.ptr, secret.len, digest, &size, EVP_sha256(), NULL) == 1 else NULL)
        token = self.tokens.get(PyBytes_FromStringAndSize(<const char*>client_id.ptr, client_id.len))
        reason[0] = R_SERVICE_TOKEN_UNKNOWN
        if token is None:
            return None
        for kept, expiry in token.secrets:
            if CRYPTO_memcmp(digest, PyBytes_AS_STRING(kept), 32) == 0:
                proved = True
                fresh = fresh or expiry == 0 or now < expiry
        if not proved:
            return None
        if revocations.listed(REVOKED_SERVICE_TOKEN, token.client_id):
            reason[0] = R_SERVICE_TOKEN_REVOKED
            return None
        if not fresh:
            reason[0] = R_SERVICE_TOKEN_EXPIRED
            return None
        reason[0] = 0
        return token

    def prove(self, client_id: bytes, secret: bytes, now: int, Revocations revocations not None):
        """(id, None) or (None, reason): the Python door of check."""
        cdef int reason = 0
        cdef ServiceToken token = self.check(
            slice_of(client_id, len(client_id)), slice_of(secret, len(secret)), now, revocations, &reason)
        return (None if token is None else token.id.decode("utf-8")), reason_text(reason)

    @property
    def size(self) -> int:
        return len(self.tokens)


def _digest(value) -> bytes:
    digest = bytes.fromhex(value) if isinstance(value, str) else bytes(value)
    if len(digest) != 32:
        raise ValueError("a service token's secret is kept as a SHA-256")
    return digest
