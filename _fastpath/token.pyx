"""Application tokens: strict RS256 JWTs (RFC 7515, 7519, 8725), verified once and then found by their bytes.

Only what this installation makes is accepted: three segments of canonical base64url, a header of alg RS256, kid and
perhaps typ JWT, a key that the snapshot names, type "app", one audience. The signature is checked before the claims are
read. Nothing here does I/O or knows the time."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memset

from _fastpath.errors cimport *
from _fastpath.limits cimport MAX_TOKEN, MAX_TOKENS, MAX_REFUSALS
from _fastpath.openssl cimport *
from _fastpath.policy cimport FactSet
from _fastpath.slice cimport Slice, slice_of

import json

cdef enum:
    LEEWAY = 60              # seconds that nbf and iat may lie in the future; exp has none
    MAX_DEPTH = 8            # nesting of claims
    MAX_TEXT = 512           # characters of one text claim that we read
    MIN_KEY_BITS = 2048
    MAX_KEY_BITS = 8192

cdef extern from "<stdint.h>" nogil:
    const uint32_t NONE "UINT32_MAX"         # no entry
    const uint32_t ALL_EPOCHS "UINT32_MAX"   # an entry without an epoch voids every token


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


cdef void* need(void* p) except NULL:
    """p, or MemoryError when an allocation gave NULL."""
    if p == NULL:
        raise MemoryError
    return p


def run_out_of_memory() -> None:
    """Raise MemoryError as a failing allocation does: a test's way to the one line that else only that reaches."""
    need(NULL)


# -- base64url and JSON, strict ----------------------------------------------------------------------------------

cdef signed char DIGIT[256]


cdef void make_digits() noexcept:
    cdef int i
    cdef const char* alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    memset(DIGIT, 0xff, sizeof(DIGIT))
    for i in range(64):
        DIGIT[<uint8_t>alphabet[i]] = <signed char>i


make_digits()


cdef Py_ssize_t segment_decode(const uint8_t* p, size_t n, uint8_t* out) noexcept nogil:
    """Decode canonical, unpadded base64url (RFC 7515 §2) to out (n bytes of room); -1 when it isn't."""
    cdef size_t i = 0, written = 0
    cdef int a, b, c, d
    if n % 4 == 1:
        return -1
    while i + 4 <= n:
        a = DIGIT[p[i]]
        b = DIGIT[p[i + 1]]
        c = DIGIT[p[i + 2]]
        d = DIGIT[p[i + 3]]
        if (a | b | c | d) < 0:
            return -1
        out[written] = <uint8_t>(a << 2 | b >> 4)
        out[written + 1] = <uint8_t>((b & 15) << 4 | c >> 2)
        out[written + 2] = <uint8_t>((c & 3) << 6 | d)
        written += 3
        i += 4
    if i < n:
        a = DIGIT[p[i]]
        b = DIGIT[p[i + 1]]
        c = DIGIT[p[i + 2]] if n - i == 3 else 0
        # Bits that the last digit has too many must be zero: one token, one spelling.
        if (a | b | c) < 0 or (b & 15 if n - i == 2 else c & 3) != 0:
            return -1
        out[written] = <uint8_t>(a << 2 | b >> 4)
        written += 1
        if n - i == 3:
            out[written] = <uint8_t>((b & 15) << 4 | c >> 2)
            written += 1
    return <Py_ssize_t>written


cdef bytes segment_bytes(const uint8_t* p, size_t n):
    """The decoded segment, or None when it is empty or not canonical."""
    cdef uint8_t* out
    cdef Py_ssize_t size
    if n == 0:
        return None
    out = <uint8_t*>need(malloc(n))
    size = segment_decode(p, n, out)
    try:
        return out[:size] if size >= 0 else None
    finally:
        free(out)


cdef bint shallow(bytes text) noexcept:
    """True when brackets outside strings nest no deeper than MAX_DEPTH."""
    cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(text)
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(text)
    cdef int depth = 0
    cdef bint inside = False, escaped = False
    for i in range(n):
        if inside:
            if escaped:
                escaped = False
            elif p[i] == 92:
                escaped = True
            elif p[i] == 34:
                inside = False
        elif p[i] == 34:
            inside = True
        elif p[i] == 123 or p[i] == 91:
            depth += 1
            if depth > MAX_DEPTH:
                return False
        elif p[i] == 125 or p[i] == 93:
            depth -= 1
    return True


def _once(pairs):
    """An object's members; ValueError when a name comes twice (L11)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse(text):
    raise ValueError(f"{text} is no JSON number that a claim may have")


def _integer(text):
    if len(text) > 18:
        raise ValueError("a number too large for any claim")
    return int(text)


cdef object decode_json = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_refuse, parse_int=_integer, strict=True).decode


cdef dict read_object(bytes text):
    """The JSON object that text is; ValueError when it is anything else."""
    if not shallow(text):
        raise ValueError("nested too deep")
    found = decode_json(text.decode("utf-8"))
    if type(found) is not dict:
        raise ValueError("not an object")
    return <dict>found


cdef bytes text_claim(dict claims, str name, bint needed):
    """A text claim as UTF-8 without control characters; ValueError. Absent or null and not needed: empty."""
    value = claims.get(name)
    if value is None and not needed:
        return b""
    if type(value) is not str or len(<str>value) > MAX_TEXT or (needed and not value):
        raise ValueError(f"{name} is missing or no text")
    if not (<str>value).isprintable():      # it goes into a header and into the log
        raise ValueError(f"{name} has a control character")
    return (<str>value).encode("utf-8")


cdef int64_t time_claim(dict claims, str name) except? -1:
    value = claims.get(name)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is missing or no whole number")
    return value


cdef uint32_t epoch_claim(dict claims, str name) except? 0xffffffff:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 0xffffffff:
        raise ValueError(f"{name} is missing or no small whole number")
    return value


# -- keys --------------------------------------------------------------------------------------------------------

@cython.final
cdef class PublicKey:
    def __cinit__(self):
        self.key = NULL

    def __dealloc__(self):
        if self.key != NULL:
            EVP_PKEY_free(self.key)


cdef EVP_PKEY* rsa_key(bytes n, bytes e) except NULL:
    cdef OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new()
    cdef BIGNUM* modulus = BN_bin2bn(<const unsigned char*>PyBytes_AS_STRING(n), <int>len(n), NULL)
    cdef BIGNUM* exponent = BN_bin2bn(<const unsigned char*>PyBytes_AS_STRING(e), <int>len(e), NULL)
    cdef EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(NULL, b"RSA", NULL)
    cdef OSSL_PARAM* params = NULL
    cdef EVP_PKEY* key = NULL
    if (build != NULL and modulus != NULL and exponent != NULL and context != NULL
            and OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus)
            and OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent)):
        params = OSSL_PARAM_BLD_to_param(build)
        if params != NULL and EVP_PKEY_fromdata_init(context) > 0:
            EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params)
    OSSL_PARAM_free(params)
    OSSL_PARAM_BLD_free(build)
    BN_free(modulus)
    BN_free(exponent)
    EVP_PKEY_CTX_free(context)
    ERR_clear_error()
    return <EVP_PKEY*>need(key)      # libssl builds a key of any two numbers; public_key judges them


cdef bytes jwk_number(object jwk, str name):
    cdef bytes text = jwk[name].encode("ascii")
    cdef bytes number = segment_bytes(<const uint8_t*>PyBytes_AS_STRING(text), len(text))
    if number is None:
        raise ValueError(f"{name} of a key is not base64url")
    return number


cdef PublicKey public_key(str kid, object jwk):
    """The RSA key of a JWK (RFC 7517); ValueError when it is no RSA key of 2048 to 8192 bits."""
    cdef PublicKey made = PublicKey.__new__(PublicKey)
    cdef bytes n = jwk_number(jwk, "n"), e = jwk_number(jwk, "e")
    cdef int bits
    if jwk.get("kty", "RSA") != "RSA":
        raise ValueError(f"key {kid} is not an RSA key")
    made.kid = kid.encode("utf-8")
    made.material = n + b"/" + e
    made.key = rsa_key(n, e)
    made.size = EVP_PKEY_get_size(made.key)
    bits = EVP_PKEY_get_bits(made.key)
    if not MIN_KEY_BITS <= bits <= MAX_KEY_BITS or len(e) > 4 or int.from_bytes(e, "big") < 3:
        raise ValueError(f"key {kid} has {bits} bits or an unusable exponent")
    return made


cdef bint signature_holds(PublicKey key, const uint8_t* data, size_t n, bytes signature) except -1:
    cdef EVP_MD_CTX* c = <EVP_MD_CTX*>need(EVP_MD_CTX_new())
    cdef int rc = 0
    if EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, key.key) == 1:
        rc = EVP_DigestVerify(c, <const unsigned char*>PyBytes_AS_STRING(signature), len(signature), data, n)
    EVP_MD_CTX_free(c)
    ERR_clear_error()
    return rc == 1


# -- revocations -------------------------------------------------------------------------------------------------

KINDS = {
    "session": REVOKED_SESSION, "nonce": REVOKED_NONCE, "user": REVOKED_USER, "application": REVOKED_APPLICATION,
    "service_token": REVOKED_SERVICE_TOKEN, "credential": REVOKED_CREDENTIAL, "administrator": REVOKED_ADMINISTRATOR,
}


@cython.final
cdef class Revocations:
    def __cinit__(self):
        self.generation = 1
        self.seq = 0
        self.entries = {}

    @property
    def size(self) -> int:
        """Entries in force. (No __len__: an empty list of revocations must not be false.)"""
        return len(self.entries)

    def apply(self, entries, full: bool = False, seq: int = 0, now: int = 0) -> None:
        """Add entries (maps of kind, id, epoch?, until), or with full=True have exactly these.

        Entries whose `until` is not after now are forgotten; kinds that this release doesn't know are skipped.
        Raises and changes nothing when an entry has no kind, id or until."""
        cdef dict changed = {} if full else dict(self.entries)
        for entry in entries:
            kind = KINDS.get(entry["kind"])
            ident, until = entry["id"], int(entry["until"])
            epoch = entry.get("epoch")
            if kind is None:
                continue
            key = (kind, ident.encode("utf-8") if isinstance(ident, str) else bytes(ident))
            old = changed.get(key, (0, 0))
            changed[key] = (max(old[0], ALL_EPOCHS if epoch is None else int(epoch)), max(old[1], until))
        self.entries = {key: value for key, value in changed.items() if value[1] > now}
        self.seq = seq
        self.generation += 1

    cdef int check(self, Token token) except -1:
        cdef int void = 0
        if token.checked == self.generation:
            return token.void
        if (REVOKED_SESSION, token.sid) in self.entries or (REVOKED_NONCE, token.nonce) in self.entries:
            void = R_SESSION_REVOKED
        else:
            user = self.entries.get((REVOKED_USER, token.sub))
            application = self.entries.get((REVOKED_APPLICATION, token.aud))
            if user is not None and token.epoch < user[0]:
                void = R_SESSION_REVOKED if user[0] == ALL_EPOCHS else R_SESSION_OUTDATED
            elif application is not None and token.app_epoch < application[0]:
                void = R_SESSION_REVOKED if application[0] == ALL_EPOCHS else R_SESSION_OUTDATED
        token.void = void
        token.checked = self.generation
        return void

    cdef bint listed(self, int kind, bytes ident):
        return (kind, ident) in self.entries

    def lists(self, kind: str, ident: str) -> bool:
        """True when this id (service token, credential, administrator …) is revoked."""
        return self.listed(KINDS[kind], ident.encode("utf-8"))

    def check_token(self, Token token not None) -> str | None:
        """Reason for which the token is void, or None."""
        cdef int reason = self.check(token)
        return said(reason)


# -- tokens ------------------------------------------------------------------------------------------------------

@cython.final
@cython.no_gc
cdef class Token:
    """No cycles: everything that a token holds is bytes, or a FactSet that holds bytes."""


cdef Token read_token(Slice raw, PublicKey key, bytes payload, bytes issuer, int64_t now, int* reason):
    """The Token of verified claims; None and *reason, or ValueError, when they are not an application's of ours."""
    cdef dict claims = read_object(payload)
    cdef Token token = Token.__new__(Token)
    cdef object own = claims.get("sekisho")
    cdef object audience = claims.get("aud")
    reason[0] = R_TOKEN_ISSUER
    if type(claims.get("iss")) is not str or text_claim(claims, "iss", True) != issuer:
        return None
    reason[0] = R_TOKEN_TYPE
    if claims.get("type") != "app" or claims.get("common_name") is not None:
        return None                     # a service token's assertion is for origins, and admits nobody here
    reason[0] = R_TOKEN_AUDIENCE
    if type(audience) is not list or len(<list>audience) != 1 or type((<list>audience)[0]) is not str:
        return None
    reason[0] = R_TOKEN_CLAIMS
    token.exp = time_claim(claims, "exp")
    token.iat = time_claim(claims, "iat")
    if type(own) is not dict:
        return None
    token.aud = (<str>(<list>audience)[0]).encode("utf-8")
    token.sub = text_claim(claims, "sub", True)
    token.email = text_claim(claims, "email", False)
    token.nonce = text_claim(claims, "identity_nonce", True)
    token.sid = text_claim(<dict>own, "sid", True)
    token.epoch = epoch_claim(<dict>own, "epoch")
    token.app_epoch = epoch_claim(<dict>own, "app_epoch")
    token.kid = key.kid
    token.raw = PyBytes_FromStringAndSize(<const char*>raw.ptr, raw.len)
    token.facts = FactSet.from_claims(claims)
    if time_claim(claims, "nbf") > now + LEEWAY or token.iat > now + LEEWAY:
        reason[0] = R_TOKEN_NOT_YET_VALID
        return None
    if token.exp <= now:
        reason[0] = R_SESSION_EXPIRED
        return None
    reason[0] = 0
    return token


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
        return token, said(reason)

    def prove(self, const uint8_t[::1] raw, aud: bytes, now: int) -> tuple[Token | None, str | None]:
        """(Token, None) or (None, reason): the Python door of verify."""
        cdef int reason = 0
        cdef Token token = self.verify(raw_slice(raw), slice_of(aud, len(aud)), now, &reason)
        return token, said(reason)

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


cdef str said(int reason):
    return (<bytes>reason_name(reason)).decode("ascii") if reason else None


# -- service tokens ----------------------------------------------------------------------------------------------

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
        return (None if token is None else token.id.decode("utf-8")), said(reason)

    @property
    def size(self) -> int:
        return len(self.tokens)


def _digest(value) -> bytes:
    digest = bytes.fromhex(value) if isinstance(value, str) else bytes(value)
    if len(digest) != 32:
        raise ValueError("a service token's secret is kept as a SHA-256")
    return digest
