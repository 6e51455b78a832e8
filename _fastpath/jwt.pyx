"""Application tokens as text: strict RS256 JWTs (RFC 7515, 7519, 8725), their keys and their claims.

Only what this installation makes is accepted: three segments of canonical base64url, a header of alg RS256, kid and
perhaps typ JWT, a key that the snapshot names, type "app", one audience. The signature is checked before the claims are
read. Nothing here does I/O or knows the time."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset

from _fastpath.buffer cimport need
from _fastpath.errors cimport *
from _fastpath.openssl cimport *
from _fastpath.facts cimport FACT_KNOWN, FactSet
from _fastpath.slice cimport Slice

import json

cdef enum:
    LEEWAY = 60              # seconds that nbf and iat may lie in the future; exp has none
    MAX_DEPTH = 8            # nesting of claims
    MAX_TEXT = 512           # characters of one text claim that we read
    MIN_KEY_BITS = 2048
    MAX_KEY_BITS = 8192


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
    """Decode canonical, unpadded base64url (RFC 7515 §2) to out (room for n * 3 // 4 bytes); -1 when it isn't."""
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
    cdef bytes out
    if n == 0:
        return None
    out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(n * 3 // 4))     # what n digits decode to, not one byte less
    return out if segment_decode(p, n, <uint8_t*>PyBytes_AS_STRING(out)) >= 0 else None


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


# -- claims -----------------------------------------------------------------------------------------------------

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
    if token.facts.person.method_state != FACT_KNOWN:
        return None                     # whoever can't say how they signed in may not outlive a provider's removal
    if time_claim(claims, "nbf") > now + LEEWAY or token.iat > now + LEEWAY:
        reason[0] = R_TOKEN_NOT_YET_VALID
        return None
    if token.exp <= now:
        reason[0] = R_SESSION_EXPIRED
        return None
    reason[0] = 0
    return token
