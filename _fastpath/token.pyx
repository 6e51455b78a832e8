"""Application tokens, verified once and then found by their bytes. Nothing here does I/O or knows the time."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memset

from _fastpath.buffer cimport need
from _fastpath.errors cimport *
from _fastpath.jwt cimport (
    PublicKey, Token, public_key, read_object, read_token, segment_bytes, signature_holds,
)
from _fastpath.limits cimport MAX_REFUSALS, MAX_TOKEN, MAX_TOKENS
from _fastpath.openssl cimport RAND_bytes
from _fastpath.revocations cimport Revocations
from _fastpath.slice cimport Slice, slice_of

cdef extern from "<stdint.h>" nogil:
    const uint32_t NONE "UINT32_MAX"         # no entry


# -- the keyed hash of the cache: two lanes of folded multiplication; the key is random in every process ---------

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint64_t token_read(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
    static inline uint64_t token_fold(uint64_t a, uint64_t b) {
        unsigned __int128 m = (unsigned __int128)a * b;
        return (uint64_t)m ^ (uint64_t)(m >> 64);
    }
    static uint64_t token_hash(const uint8_t *p, size_t n, const uint64_t *key) {
        uint64_t a = key[0] ^ (uint64_t)n, b = key[1];
        uint8_t tail[32];
        size_t left = n;
        for (; left >= 32; p += 32, left -= 32) {
            a = token_fold(token_read(p) ^ key[2], token_read(p + 8) ^ a);
            b = token_fold(token_read(p + 16) ^ key[3], token_read(p + 24) ^ b);
        }
        if (left) {
            memset(tail, 0, sizeof tail);
            memcpy(tail, p, left);
            a = token_fold(token_read(tail) ^ key[2], token_read(tail + 8) ^ a);
            b = token_fold(token_read(tail + 16) ^ key[3], token_read(tail + 24) ^ b);
        }
        return token_fold(a ^ key[1], b ^ key[0] ^ (uint64_t)n);
    }
    """
    uint64_t token_hash(const uint8_t* p, size_t n, const uint64_t* key) noexcept nogil


# -- the cache -------------------------------------------------------------------------------------------------

@cython.final
cdef class TokenCache:
    def __cinit__(self, Revocations revocations not None, *, uint32_t capacity=MAX_TOKENS):
        cdef uint32_t i, size = 16
        if capacity < 1 or capacity > (1 << 24):
            raise ValueError("a cache holds 1 to 16,777,216 tokens")
        while size < capacity:
            size *= 2
        self.revocations = revocations
        self.keys = {}
        self.headers = {}
        self.issuer = b""
        self.capacity = capacity
        self.mask = size - 1
        self.size = 0
        self.hits = self.verified = self.refused = 0
        self.newest = self.oldest = NONE
        self.spare = 0
        self.entries = <CacheEntry*>need(calloc(capacity, sizeof(CacheEntry)))
        self.buckets = <uint32_t*>need(malloc(size * sizeof(uint32_t)))
        self.refusals = <Refusal*>need(calloc(MAX_REFUSALS, sizeof(Refusal)))
        memset(self.buckets, 0xff, size * sizeof(uint32_t))
        for i in range(capacity):
            self.entries[i].chain = i + 1 if i + 1 < capacity else NONE
        need(self.secret if RAND_bytes(<unsigned char*>self.secret, sizeof(self.secret)) == 1 else NULL)

    def __dealloc__(self):
        cdef uint32_t i
        if self.entries != NULL:
            for i in range(self.capacity):
                if self.entries[i].token != NULL:
                    Py_DECREF(<object>self.entries[i].token)
        free(self.entries)
        free(self.buckets)
        free(self.refusals)

    def configure(self, keys, issuer: str) -> None:
        """Verify with these keys ({kid: JWK} or a list of JWKs) and this issuer from now on.

        Tokens of a key that is gone, or of another issuer, are forgotten; so is every refusal. ValueError when a key
        can't be used, and then nothing changes."""
        cdef dict made = {}
        cdef uint32_t i
        cdef Token token
        cdef PublicKey key, old
        cdef bytes changed = issuer.encode("utf-8")
        named = keys.items() if isinstance(keys, dict) else [(jwk["kid"], jwk) for jwk in keys]
        for kid, jwk in named:
            key = public_key(kid, jwk)
            made[key.kid] = key
        for i in range(self.capacity):
            if self.entries[i].token != NULL:
                token = <Token>self.entries[i].token
                old = self.keys[token.kid]
                key = made.get(token.kid)
                if changed != self.issuer or key is None or key.material != old.material:
                    self.drop(i)
        memset(self.refusals, 0, MAX_REFUSALS * sizeof(Refusal))
        self.headers = {}
        self.keys = made
        self.issuer = changed

    cdef uint32_t lookup(self, uint64_t hash, Slice raw) noexcept:
        cdef uint32_t i = self.buckets[hash & self.mask]
        cdef bytes kept
        while i != NONE:
            if self.entries[i].hash == hash:
                kept = (<Token>self.entries[i].token).raw
                if (<size_t>PyBytes_GET_SIZE(kept) == raw.len
                        and memcmp(PyBytes_AS_STRING(kept), raw.ptr, raw.len) == 0):
                    return i
            i = self.entries[i].chain
        return NONE

    cdef void unlink(self, uint32_t index) noexcept:
        cdef CacheEntry* e = &self.entries[index]
        if e.newer != NONE:
            self.entries[e.newer].older = e.older
        else:
            self.newest = e.older
        if e.older != NONE:
            self.entries[e.older].newer = e.newer
        else:
            self.oldest = e.newer

    cdef void use(self, uint32_t index) noexcept:
        """Make this the entry used last."""
        cdef CacheEntry* e = &self.entries[index]
        e.newer = NONE
        e.older = self.newest
        if self.newest != NONE:
            self.entries[self.newest].newer = index
        else:
            self.oldest = index
        self.newest = index

    cdef void drop(self, uint32_t index) noexcept:
        cdef CacheEntry* e = &self.entries[index]
        cdef uint32_t* at = &self.buckets[e.hash & self.mask]
        cdef PyObject* token = e.token
        while at[0] != index:
            at = &self.entries[at[0]].chain
        at[0] = e.chain
        self.unlink(index)
        e.token = NULL
        e.chain = self.spare
        self.spare = index
        self.size -= 1
        Py_DECREF(<object>token)

    cdef void insert(self, uint64_t hash, Token token) noexcept:
        cdef uint32_t i
        if self.spare == NONE:
            self.drop(self.oldest)
        i = self.spare
        self.spare = self.entries[i].chain
        Py_INCREF(token)
        self.entries[i].token = <PyObject*>token
        self.entries[i].hash = hash
        self.entries[i].chain = self.buckets[hash & self.mask]
        self.buckets[hash & self.mask] = i
        self.use(i)
        self.size += 1

    cdef Token judge(self, Token token, Slice aud, int64_t now, int* reason):
        """What may change from one request to the next: application, time, revocation."""
        if (<size_t>PyBytes_GET_SIZE(token.aud) != aud.len
                or memcmp(PyBytes_AS_STRING(token.aud), aud.ptr, aud.len) != 0):
            reason[0] = R_TOKEN_AUDIENCE
        elif now >= token.exp:
            reason[0] = R_SESSION_EXPIRED
        else:
            reason[0] = self.revocations.check(token)
        return token if reason[0] == 0 else None

    cdef Token find(self, Slice raw, Slice aud, int64_t now, int* reason):
        cdef uint64_t hash = token_hash(raw.ptr, raw.len, self.secret)
        cdef uint32_t i = self.lookup(hash, raw)
        cdef Refusal* refusal
        if i != NONE:
            self.hits += 1
            if i != self.newest:
                self.unlink(i)
                self.use(i)
            return self.judge(<Token>self.entries[i].token, aud, now, reason)
        refusal = &self.refusals[hash % MAX_REFUSALS]
        reason[0] = 0
        if (refusal.reason != 0 and refusal.hash == hash
                and refusal.check == token_hash(raw.ptr, raw.len, self.secret + 4)):
            reason[0] = refusal.reason
            self.refused += 1
        return None

    cdef Token verify(self, Slice raw, Slice aud, int64_t now, int* reason):
        cdef uint64_t hash = token_hash(raw.ptr, raw.len, self.secret)
        cdef Refusal* refusal
        cdef Token token = None
        reason[0] = 0
        if self.lookup(hash, raw) != NONE:      # verified while this request waited in the queue
            return self.find(raw, aud, now, reason)
        try:
            token = self.examine(raw, now, reason)
        except MemoryError:
            raise
        except Exception:        # whatever a header or a claim made somebody trip over: it is no token
            token = None
        if token is None:
            reason[0] = reason[0] or R_TOKEN_MALFORMED
            self.refused += 1
            if reason[0] != R_TOKEN_NOT_YET_VALID:          # that one may hold later
                refusal = &self.refusals[hash % MAX_REFUSALS]
                refusal.hash = hash
                refusal.check = token_hash(raw.ptr, raw.len, self.secret + 4)
                refusal.reason = reason[0]
            return None
        self.insert(hash, token)
        return self.judge(token, aud, now, reason)

    cdef Token examine(self, Slice raw, int64_t now, int* reason):
        """Form, key, signature, then claims. *reason is set before each step, also where one raises."""
        cdef const uint8_t* dot
        cdef const uint8_t* second
        cdef const uint8_t* end = raw.ptr + raw.len
        cdef bytes header, payload, signature
        cdef PublicKey key
        cdef Token token
        reason[0] = R_TOKEN_MALFORMED
        if raw.len > MAX_TOKEN or raw.len == 0:
            return None
        dot = <const uint8_t*>memchr(raw.ptr, 46, raw.len)
        if dot == NULL:
            return None
        second = <const uint8_t*>memchr(dot + 1, 46, end - dot - 1)
        if second == NULL:
            return None
        header = raw.ptr[:dot - raw.ptr]
        payload = segment_bytes(dot + 1, second - dot - 1)
        signature = segment_bytes(second + 1, end - second - 1)     # a third dot is no base64url
        if payload is None or signature is None:
            return None
        key = self.headers.get(header)
        if key is None:
            key = self.key_of(header, reason)
            if key is None:
                return None
        self.verified += 1
        reason[0] = R_TOKEN_SIGNATURE
        if <size_t>len(signature) != key.size or not signature_holds(key, raw.ptr, second - raw.ptr, signature):
            return None
        reason[0] = R_TOKEN_CLAIMS
        token = read_token(raw, key, payload, self.issuer, now, reason)
        if token is not None:
            self.headers[header] = key
        return token

    cdef PublicKey key_of(self, bytes header, int* reason):
        """The key that a header segment names; None and *reason."""
        cdef bytes text = segment_bytes(<const uint8_t*>PyBytes_AS_STRING(header), len(header))
        cdef dict members
        cdef object kid
        cdef PublicKey key
        reason[0] = R_TOKEN_MALFORMED
        if text is None:
            return None
        members = read_object(text)
        reason[0] = R_TOKEN_ALGORITHM
        if type(members.get("alg")) is not str or members["alg"] != "RS256":
            return None
        reason[0] = R_TOKEN_TYPE
        if members.get("typ", "JWT") != "JWT":
            return None
        reason[0] = R_TOKEN_KEY_UNKNOWN
        kid = members.get("kid")
        key = self.keys.get((<str>kid).encode("utf-8")) if type(kid) is str else None
        if key is None:
            return None
        # crit, b64, jwk, jku, x5u, x5c …: nothing of ours carries them, and nothing of ours obeys them (L03, L05)
        reason[0] = R_TOKEN_MALFORMED
        return key if members.keys() <= {"alg", "typ", "kid"} else None

    def look(self, const uint8_t[::1] raw, aud: bytes, now: int) -> tuple[Token | None, str | None]:
        """(Token, None), (None, reason), or (None, None) for a token never seen: the Python door of find."""
        cdef int reason = 0
        cdef Token token = self.find(raw_slice(raw), slice_of(aud, len(aud)), now, &reason)
        return token, reason_text(reason)

    def prove(self, const uint8_t[::1] raw, aud: bytes, now: int) -> tuple[Token | None, str | None]:
        """(Token, None) or (None, reason): the Python door of verify."""
        cdef int reason = 0
        cdef Token token = self.verify(raw_slice(raw), slice_of(aud, len(aud)), now, &reason)
        return token, reason_text(reason)

    def check(self, raw: bytes, aud: bytes, now: int) -> tuple[Token | None, str | None]:
        """(Token, None) or (None, reason): what a request does, find and then verify."""
        token, reason = self.look(raw, aud, now)
        return self.prove(raw, aud, now) if token is None and reason is None else (token, reason)

    def spin(self, const uint8_t[::1] raw, aud: bytes, now: int, int times) -> int:
        """find() `times` times without Python in between, for benchmarks; how many gave a token."""
        cdef Slice text = raw_slice(raw)
        cdef Slice wanted = slice_of(aud, len(aud))
        cdef int _i, reason, found = 0
        for _i in range(times):
            if self.find(text, wanted, now, &reason) is not None:
                found += 1
        return found


cdef Slice raw_slice(const uint8_t[::1] raw) noexcept:
    return slice_of(&raw[0] if raw.shape[0] else NULL, raw.shape[0])
