"""Which certificate and which rules a TLS connection comes under. What must be true here, and why, is DESIGN §4.1:

* Rules of a connection come from the SNI of its ClientHello, in one callback. Verify mode, lowest version, tickets and
  session id context don't follow SSL_set_SSL_CTX and are set on the SSL there; ticket keys lie on the initial context.
* A session resumes only under the profile, the client CAs and the very name that it was made for.
* Missing client CAs refuse everybody: they never mean "no client certificates"."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from _fastpath.openssl cimport *
from _fastpath.pem cimport add_anchors, add_revocations, last_error, use_certificate
from _fastpath.slice cimport lower

import hashlib

from _fastpath.pem import TlsError

cdef enum:
    TICKET_KEY = 80          # bytes of one ticket key
    MAX_TICKET_KEYS = 8

cdef const char* CIPHERS_12 = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305")
cdef const char* CIPHERS_13 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
cdef const char* GROUPS = b"X25519:P-256:P-384"

PROFILES = {"application": PROFILE_APPLICATION, "client_ca": PROFILE_CLIENT_CA, "tunnel": PROFILE_TUNNEL}


cdef class Hello:
    def __cinit__(self):
        self.contexts = None
        self.entry = None
        self.chosen = PROFILE_NONE
        self.name = b""


# -- callbacks: C called by libssl; every one turns any failure into an alert -----------------------------------

cdef inline Hello hello_of(SSL* ssl):
    cdef void* p = SSL_get_ex_data(ssl, 0)
    return <Hello>p if p != NULL else None


cdef int name_normal(const uint8_t* p, size_t n, uint8_t* out) noexcept nogil:
    """Write the lower-case name without its trailing dot; return its length, -1 when it is no host name."""
    cdef size_t i
    cdef uint8_t c, before = 46
    if n > 0 and p[n - 1] == 46:
        n -= 1
    if n == 0 or n > 253:
        return -1
    for i in range(n):
        c = lower(p[i])
        if c == 46 and before == 46:
            return -1
        if not (97 <= c <= 122 or 48 <= c <= 57 or c == 45 or c == 46 or c == 95):
            return -1
        out[i] = c
        before = c
    return <int>n if before != 46 else -1


cdef int hello_name(SSL* ssl, uint8_t* out) noexcept nogil:
    """SNI (RFC 6066 §3) of the ClientHello: length, 0 when absent, -1 malformed, -2 not a host name."""
    cdef const unsigned char* p
    cdef size_t n, length
    if not SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n):
        return 0
    # One list with exactly one name of type host_name.
    if n < 5 or <size_t>((p[0] << 8) | p[1]) != n - 2 or p[2] != 0:
        return -1
    length = <size_t>((p[3] << 8) | p[4])
    if length != n - 5:
        return -1
    cdef int size = name_normal(p + 5, length, out)
    return size if size > 0 else -2


cdef int on_hello(SSL* ssl, int* alert, void* arg) noexcept:
    cdef Hello hello
    try:
        hello = hello_of(ssl)
        if hello is None:
            alert[0] = SSL_AD_INTERNAL_ERROR
            return SSL_CLIENT_HELLO_ERROR
        alert[0] = choose(hello, ssl)
        if alert[0] == 0:
            return SSL_CLIENT_HELLO_SUCCESS
        hello.refusal = alert[0]
        hello.chosen = PROFILE_NONE
    except BaseException:
        alert[0] = SSL_AD_INTERNAL_ERROR
    return SSL_CLIENT_HELLO_ERROR


cdef int choose(Hello hello, SSL* ssl) except -1:
    """Pick the entry for this ClientHello and put its rules on the SSL; return an alert, 0 when all is well."""
    cdef TlsContexts contexts = <TlsContexts>hello.contexts
    cdef TlsEntry entry = None
    cdef uint8_t name[256]
    cdef const unsigned char* p
    cdef size_t n
    cdef int size = hello_name(ssl, name)
    cdef bytes host, digest
    if size == -1:
        return SSL_AD_DECODE_ERROR
    if size == -2:
        size = 0
        if contexts.fallback is None:
            return SSL_AD_UNRECOGNIZED_NAME
    host = name[:size]
    if hello.hello_seen:     # after a HelloRetryRequest nothing may change (I03)
        return 0 if host == hello.name else SSL_AD_ILLEGAL_PARAMETER
    hello.hello_seen = True
    hello.name = host
    if size > 0:
        entry = contexts.exact.get(host)
        if entry is None:
            entry = contexts.wildcard.get(host.partition(b".")[2])
    if entry is None:
        entry = contexts.fallback
    if entry is None:
        return SSL_AD_UNRECOGNIZED_NAME
    if entry.profile == PROFILE_TUNNEL and not SSL_client_hello_get0_ext(
            ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &n):
        return SSL_AD_NO_APPLICATION_PROTOCOL
    if SSL_set_SSL_CTX(ssl, entry.context) == NULL:
        return SSL_AD_INTERNAL_ERROR
    digest = hashlib.sha256(entry.scope + host).digest()
    if not SSL_set_session_id_context(ssl, digest, 32):
        return SSL_AD_INTERNAL_ERROR
    if entry.profile == PROFILE_APPLICATION:
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL)
    else:
        SSL_set_verify(ssl, SSL_VERIFY_PEER | (SSL_VERIFY_FAIL_IF_NO_PEER_CERT if entry.require else 0), on_verify)
    if entry.profile == PROFILE_TUNNEL:
        SSL_set_options(ssl, SSL_OP_NO_TICKET)
        if not (SSL_set_min_proto_version(ssl, TLS1_3_VERSION) and SSL_set_num_tickets(ssl, 0)):
            return SSL_AD_INTERNAL_ERROR
    hello.entry = entry
    hello.chosen = entry.profile
    return 0


cdef int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_len, const unsigned char* p,
                 unsigned int n, void* arg) noexcept:
    """Take the one protocol of this profile; anything else is no_application_protocol (I06)."""
    cdef Hello hello = hello_of(ssl)
    cdef const char* wanted = b"http/1.1"
    cdef size_t size = 8
    cdef unsigned int at = 0
    if hello is None or hello.chosen == PROFILE_NONE:
        return SSL_TLSEXT_ERR_ALERT_FATAL
    if hello.chosen == PROFILE_TUNNEL:
        wanted = b"sekisho-link/1"
        size = 14
    while at < n:
        if p[at] == size and at + 1 + size <= n and memcmp(p + at + 1, wanted, size) == 0:
            out[0] = p + at + 1
            out_len[0] = <unsigned char>size
            return SSL_TLSEXT_ERR_OK
        at += 1 + p[at]
    hello.refusal = SSL_AD_NO_APPLICATION_PROTOCOL
    return SSL_TLSEXT_ERR_ALERT_FATAL


cdef int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                   int encrypt) noexcept:
    """Key of one ticket: the first key makes new ones; an older one opens and has the ticket replaced."""
    cdef Hello hello = hello_of(ssl)
    cdef TicketKeys tickets
    cdef OSSL_PARAM params[3]
    cdef const uint8_t* key = NULL
    cdef int i = 0
    if hello is None or hello.chosen == PROFILE_NONE or hello.chosen == PROFILE_TUNNEL:
        return 0
    tickets = (<TlsContexts>hello.contexts).tickets
    if tickets.count == 0:
        return 0
    if encrypt:
        memcpy(name, tickets.keys[0], 16)
        if RAND_bytes(iv, 16) != 1:
            return -1
    else:
        while i < tickets.count and memcmp(name, tickets.keys[i], 16) != 0:
            i += 1
        if i == tickets.count:
            return 0
    key = tickets.keys[i]
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, <void*>(key + 16), 32)
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, b"SHA256", 0)
    params[2] = OSSL_PARAM_construct_end()
    if not EVP_MAC_CTX_set_params(mac, params):
        return -1
    if encrypt:
        return 1 if EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + 48, iv) else -1
    if not EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + 48, iv):
        return -1
    return 1 if i == 0 else 2


cdef int on_verify(int holds, X509_STORE_CTX* c) noexcept:
    """libssl takes a client certificate without extended key usage for any purpose; we don't (I07)."""
    cdef X509* x
    cdef uint32_t usage
    if holds and X509_STORE_CTX_get_error_depth(c) == 0:
        x = X509_STORE_CTX_get_current_cert(c)
        usage = X509_get_extended_key_usage(x)
        if usage == <uint32_t>0xffffffff or not usage & XKU_SSL_CLIENT:
            X509_STORE_CTX_set_error(c, X509_V_ERR_INVALID_PURPOSE)
            return 0
    return holds


# -- contexts --------------------------------------------------------------------------------------------------

@cython.final
cdef class TicketKeys:
    def __cinit__(self, keys=()):
        self.count = 0
        self.replace(keys)

    def __dealloc__(self):
        OPENSSL_cleanse(self.keys, sizeof(self.keys))

    @property
    def size(self) -> int:
        return self.count

    def replace(self, keys) -> None:
        """Use these keys from now on, newest first: 80 random bytes each. Raises ValueError and changes nothing."""
        cdef list checked = [bytes(key) for key in keys]
        cdef bytes key
        cdef int i = 0
        if len(checked) > MAX_TICKET_KEYS:
            raise ValueError(f"at most {MAX_TICKET_KEYS} ticket keys, not {len(checked)}")
        for key in checked:
            if len(key) != TICKET_KEY:
                raise ValueError(f"a ticket key has {TICKET_KEY} bytes, not {len(key)}")
        OPENSSL_cleanse(self.keys, sizeof(self.keys))
        for key in checked:
            memcpy(self.keys[i], <const char*>key, TICKET_KEY)
            i += 1
        self.count = i


cdef SSL_CTX* server_context() except NULL:
    cdef SSL_CTX* c = SSL_CTX_new(TLS_server_method())
    if c == NULL:
        raise MemoryError
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE
                        | SSL_OP_PRIORITIZE_CHACHA)
    # Costs 0.4 us a request. SSL_free_buffers in idle() wouldn't, but leaves 16 KiB holes: 26 kB resident for
    # each idle connection instead of 19 (and frees what is in use in the middle of a record: CVE-2024-4741).
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS)
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF)
    # Both callbacks on every context: after SSL_set_SSL_CTX libssl asks the new one.
    SSL_CTX_set_client_hello_cb(c, on_hello, NULL)
    SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL)
    if not (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION)
            and SSL_CTX_set_cipher_list(c, CIPHERS_12) and SSL_CTX_set_ciphersuites(c, CIPHERS_13)
            and SSL_CTX_set1_groups_list(c, GROUPS)
            and SSL_CTX_set_tlsext_ticket_key_evp_cb(c, on_ticket)):
        SSL_CTX_free(c)
        raise TlsError(f"libssl refuses our settings: {last_error()}")
    return c


@cython.final
cdef class TlsEntry:
    def __cinit__(self):
        self.context = NULL
        self.profile = PROFILE_NONE
        self.scope = b""
        self.require = True
        self.refuses_all = False

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)


@cython.final
cdef class TlsContexts:
    def __cinit__(self, tickets=None):
        self.initial = server_context()
        self.exact = {}
        self.wildcard = {}
        self.fallback = None
        self.tickets = TicketKeys() if tickets is None else tickets

    def __dealloc__(self):
        if self.initial != NULL:
            SSL_CTX_free(self.initial)

    def add(self, names, certificate: bytes, key: bytes, *, profile: str = "application",
            client_ca: bytes | None = None, revoked: bytes | None = None, require: bool = True,
            fallback: bool = False) -> TlsEntry:
        """Serve certificate (PEM chain, leaf first) for names (`host` or `*.parent`); TlsError when it can't be used.

        client_ca: PEM anchors for client certificates (profiles client_ca, tunnel); none readable refuses everybody.
        revoked: PEM revocation lists, one for each anchor; given but unreadable refuses everybody.
        fallback: also serve clients without SNI, or with a name that nothing here covers."""
        cdef TlsEntry entry = TlsEntry.__new__(TlsEntry)
        cdef bytes name
        entry.profile = PROFILES[profile]
        entry.context = server_context()
        entry.require = require or entry.profile == PROFILE_TUNNEL
        use_certificate(entry.context, certificate, key)
        entry.scope = hashlib.sha256(b"%d/%d/" % (entry.profile, entry.require) + (client_ca or b"") + b"/"
                                     + (revoked or b"")).digest()
        if entry.profile != PROFILE_APPLICATION:
            entry.refuses_all = add_anchors(entry.context, client_ca or b"", True) == 0
            if revoked is not None and add_revocations(entry.context, revoked) == 0:
                entry.refuses_all = True
        for text in names:
            name = text.lower().rstrip(".").encode("ascii")
            if name.startswith(b"*."):
                self.wildcard[name[2:]] = entry
            else:
                self.exact[name] = entry
        if fallback:
            self.fallback = entry
        return entry


@cython.final
cdef class TlsClientContext:
    def __cinit__(self, *, trust: bytes | None = None, certificate: bytes | None = None, key: bytes | None = None,
                  alpn=(), verify: bool = True, minimum: str = "1.2"):
        """trust: PEM anchors, None for the system's; certificate and key: our own, PEM; alpn: protocols, best first;
        verify=False takes any certificate; minimum: "1.2" or "1.3". Raises TlsError."""
        cdef bytes wire = b"".join(bytes([len(p)]) + p for p in (q.encode("ascii") for q in alpn))
        cdef int read
        self.verify = verify
        self.context = SSL_CTX_new(TLS_client_method())
        if self.context == NULL:
            raise MemoryError
        SSL_CTX_set_options(self.context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)
        SSL_CTX_set_mode(self.context, SSL_MODE_RELEASE_BUFFERS)
        SSL_CTX_set_session_cache_mode(self.context, SSL_SESS_CACHE_OFF)
        if not (SSL_CTX_set_min_proto_version(
                self.context, {"1.2": TLS1_2_VERSION, "1.3": TLS1_3_VERSION}[minimum])
                and SSL_CTX_set1_groups_list(self.context, GROUPS)):
            raise TlsError(f"libssl refuses our settings: {last_error()}")
        # set_alpn_protos is 0 when all is well
        if wire and SSL_CTX_set_alpn_protos(self.context, wire, <unsigned int>len(wire)) != 0:
            raise TlsError("the list of protocols can't be used")
        if trust is not None:
            if add_anchors(self.context, trust, False) == 0 and verify:
                raise TlsError("no certificate in the trust anchors' PEM text")
        elif verify:
            with nogil:                # 20 ms of reading files, in a thread when it is done again
                read = SSL_CTX_set_default_verify_paths(self.context)
            if not read:
                raise TlsError(f"the system's trust anchors can't be read: {last_error()}")
        if certificate is not None:
            use_certificate(self.context, certificate, key or b"")
        SSL_CTX_set_verify(self.context, SSL_VERIFY_PEER if verify else SSL_VERIFY_NONE, NULL)

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)
