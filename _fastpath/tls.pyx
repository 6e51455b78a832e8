"""TLS 1.2/1.3 on libssl, sans-IO. What must be true here, and why, is DESIGN §4.1:

* Rules of a connection come from the SNI of its ClientHello, in one callback. Verify mode, lowest version, tickets and
  session id context don't follow SSL_set_SSL_CTX and are set on the SSL there; ticket keys lie on the initial context.
* A session resumes only under the profile, the client CAs and the very name that it was made for.
* Where a certificate is required it is read again after the handshake, resumed or not.
* Missing client CAs refuse everybody: they never mean "no client certificates"."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from _fastpath.openssl cimport *
from _fastpath.slice cimport Slice, lower, slice_of

import hashlib

cdef enum:
    TICKET_KEY = 80          # bytes of one ticket key
    MAX_TICKET_KEYS = 8
    CHANNEL_START = 4096     # bytes of a channel's first buffer
    CHANNEL_KEEP = 131072    # bytes that a drained buffer may keep until idle()
    MAX_SSL_WRITE = 1 << 30

cdef const char* CIPHERS_12 = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305")
cdef const char* CIPHERS_13 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
cdef const char* GROUPS = b"X25519:P-256:P-384"

PROFILES = {"application": PROFILE_APPLICATION, "client_ca": PROFILE_CLIENT_CA, "tunnel": PROFILE_TUNNEL}


class TlsError(ValueError):
    """A certificate, key or CA file that libssl can't use; the text says which and why."""


# -- the channel: a BIO whose two ends are our own buffers ------------------------------------------------------

cdef inline int channel_room(uint8_t** block, size_t* at, size_t* end, size_t* room, size_t n) noexcept nogil:
    """Make place for n bytes after *end; 0 when memory is out."""
    cdef size_t size
    cdef uint8_t* grown
    if at[0] == end[0]:
        at[0] = 0
        end[0] = 0
    elif at[0] > 0 and end[0] + n > room[0]:
        memmove(block[0], block[0] + at[0], end[0] - at[0])
        end[0] -= at[0]
        at[0] = 0
    if end[0] + n <= room[0]:
        return 1
    size = room[0] if room[0] else CHANNEL_START
    while size < end[0] + n:
        size *= 2
    grown = <uint8_t*>realloc(block[0], size)
    if grown == NULL:
        return 0
    block[0] = grown
    room[0] = size
    return 1


cdef int channel_read(BIO* b, char* out, int n) noexcept nogil:
    cdef Channel* c = <Channel*>BIO_get_data(b)
    cdef size_t have
    BIO_clear_retry_flags(b)
    if c == NULL or n <= 0:
        return 0
    have = c.in_end - c.in_at
    if have == 0:
        BIO_set_retry_read(b)
        return -1
    if have > <size_t>n:
        have = n
    memcpy(out, c.inbound + c.in_at, have)
    c.in_at += have
    return <int>have


cdef int channel_write(BIO* b, const char* p, int n) noexcept nogil:
    cdef Channel* c = <Channel*>BIO_get_data(b)
    BIO_clear_retry_flags(b)
    if c == NULL or n <= 0:
        return 0
    if not channel_room(&c.outbound, &c.out_at, &c.out_end, &c.out_room, n):
        return -1
    memcpy(c.outbound + c.out_end, p, n)
    c.out_end += n
    return n


cdef long channel_ctrl(BIO* b, int command, long n, void* p) noexcept nogil:
    return 1 if command == BIO_CTRL_FLUSH else 0


cdef BIO_METHOD* CHANNEL = NULL


cdef BIO* channel_bio(Channel* c) except NULL:
    global CHANNEL
    cdef BIO* bio
    if CHANNEL == NULL:
        CHANNEL = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, b"sekisho channel")
        if CHANNEL == NULL:
            raise MemoryError
        BIO_meth_set_read(CHANNEL, channel_read)
        BIO_meth_set_write(CHANNEL, channel_write)
        BIO_meth_set_ctrl(CHANNEL, channel_ctrl)
    bio = BIO_new(CHANNEL)
    if bio == NULL:
        raise MemoryError
    BIO_set_data(bio, c)
    BIO_set_init(bio, 1)
    return bio


# -- PEM -------------------------------------------------------------------------------------------------------

cdef int no_password(char* out, int room, int writing, void* arg) noexcept nogil:
    return -1                # never ask on a terminal


cdef str last_error():
    """The newest entry of libssl's queue in words; the queue is emptied."""
    cdef const char* text = ERR_reason_error_string(ERR_peek_last_error())
    cdef str words = (<bytes>text).decode("ascii", "replace") if text != NULL else "no detail"
    ERR_clear_error()
    return words


cdef BIO* pem_bio(bytes pem) except NULL:
    cdef BIO* bio = BIO_new_mem_buf(<const char*>pem, <int>len(pem))
    if bio == NULL:
        raise MemoryError
    ERR_clear_error()
    return bio


cdef int use_certificate(SSL_CTX* ctx, bytes certificate, bytes key) except -1:
    """Give ctx a certificate chain (leaf first) and its key, both PEM."""
    cdef BIO* bio = pem_bio(certificate)
    cdef X509* x = NULL
    cdef EVP_PKEY* pkey = NULL
    cdef int count = 0, ok = 1
    while ok:
        x = PEM_read_bio_X509(bio, NULL, no_password, NULL)
        if x == NULL:
            break
        ok = SSL_CTX_use_certificate(ctx, x) if count == 0 else SSL_CTX_add1_chain_cert(ctx, x)
        X509_free(x)
        count += 1
    BIO_free(bio)
    if not ok:
        raise TlsError(f"certificate {count} can't be used: {last_error()}")
    if count == 0:
        raise TlsError(f"no certificate in the PEM text: {last_error()}")
    bio = pem_bio(key)
    pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL)
    BIO_free(bio)
    if pkey == NULL:
        raise TlsError(f"no usable private key in the PEM text: {last_error()}")
    ok = SSL_CTX_use_PrivateKey(ctx, pkey) and SSL_CTX_check_private_key(ctx)
    EVP_PKEY_free(pkey)
    if not ok:
        raise TlsError(f"the private key doesn't belong to the certificate: {last_error()}")
    return 0


cdef int add_anchors(SSL_CTX* ctx, bytes pem, bint announce) except -1:
    """Add every certificate of pem as a trust anchor; return how many. announce: name them to clients."""
    cdef BIO* bio = pem_bio(pem)
    cdef X509_STORE* store = SSL_CTX_get_cert_store(ctx)
    cdef X509* x
    cdef int count = 0, ok = 1
    while ok:
        x = PEM_read_bio_X509(bio, NULL, no_password, NULL)
        if x == NULL:
            break
        ok = X509_STORE_add_cert(store, x)
        if ok and announce:
            ok = SSL_CTX_add_client_CA(ctx, x)
        X509_free(x)
        count += 1
    BIO_free(bio)
    if not ok:
        raise TlsError(f"trust anchor {count} can't be used: {last_error()}")
    ERR_clear_error()
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN)     # an intermediate CA may be an anchor
    return count


cdef int add_revocations(SSL_CTX* ctx, bytes pem) except -1:
    """Add every CRL of pem and demand one for each issuer; return how many."""
    cdef BIO* bio = pem_bio(pem)
    cdef X509_STORE* store = SSL_CTX_get_cert_store(ctx)
    cdef X509_CRL* x
    cdef int count = 0, ok = 1
    while ok:
        x = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)
        if x == NULL:
            break
        ok = X509_STORE_add_crl(store, x)
        X509_CRL_free(x)
        count += 1
    BIO_free(bio)
    if not ok:
        raise TlsError(f"revocation list {count} can't be used: {last_error()}")
    ERR_clear_error()
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)
    return count


def certificate_names(pem: bytes) -> list[str]:
    """DNS names of the first certificate in pem (RFC 6125: subjectAltName only)."""
    from cryptography import x509
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.DNSName))


# -- callbacks: C called by libssl; every one turns any failure into an alert -----------------------------------

cdef inline Tls tls_of(SSL* ssl):
    cdef void* p = SSL_get_ex_data(ssl, 0)
    return <Tls>p if p != NULL else None


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
    cdef Tls tls
    try:
        tls = tls_of(ssl)
        if tls is None:
            alert[0] = SSL_AD_INTERNAL_ERROR
            return SSL_CLIENT_HELLO_ERROR
        alert[0] = choose(tls, ssl)
        if alert[0] == 0:
            return SSL_CLIENT_HELLO_SUCCESS
        tls.refusal = alert[0]
        tls.chosen = PROFILE_NONE
    except BaseException:
        alert[0] = SSL_AD_INTERNAL_ERROR
    return SSL_CLIENT_HELLO_ERROR


cdef int choose(Tls tls, SSL* ssl) except -1:
    """Pick the entry for this ClientHello and put its rules on the SSL; return an alert, 0 when all is well."""
    cdef TlsContexts contexts = <TlsContexts>tls.contexts
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
    if tls.hello_seen:       # after a HelloRetryRequest nothing may change (I03)
        if <size_t>size != tls.name_len or memcmp(name, tls.name, size) != 0:
            return SSL_AD_ILLEGAL_PARAMETER
        return 0
    tls.hello_seen = True
    memcpy(tls.name, name, size)
    tls.name_len = size
    host = name[:size]
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
    tls.entry = entry
    tls.chosen = entry.profile
    return 0


cdef int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_len, const unsigned char* p,
                 unsigned int n, void* arg) noexcept:
    """Take the one protocol of this profile; anything else is no_application_protocol (I06)."""
    cdef Tls tls = tls_of(ssl)
    cdef const char* wanted = b"http/1.1"
    cdef size_t size = 8
    cdef unsigned int at = 0
    if tls is None or tls.chosen == PROFILE_NONE:
        return SSL_TLSEXT_ERR_ALERT_FATAL
    if tls.chosen == PROFILE_TUNNEL:
        wanted = b"sekisho-link/1"
        size = 14
    while at < n:
        if p[at] == size and at + 1 + size <= n and memcmp(p + at + 1, wanted, size) == 0:
            out[0] = p + at + 1
            out_len[0] = <unsigned char>size
            return SSL_TLSEXT_ERR_OK
        at += 1 + p[at]
    tls.refusal = SSL_AD_NO_APPLICATION_PROTOCOL
    return SSL_TLSEXT_ERR_ALERT_FATAL


cdef int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                   int encrypt) noexcept:
    """Key of one ticket: the first key makes new ones; an older one opens and has the ticket replaced."""
    cdef Tls tls = tls_of(ssl)
    cdef TicketKeys tickets
    cdef OSSL_PARAM params[3]
    cdef const uint8_t* key = NULL
    cdef int i = 0
    if tls is None or tls.chosen == PROFILE_NONE or tls.chosen == PROFILE_TUNNEL:
        return 0
    tickets = (<TlsContexts>tls.contexts).tickets
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
        elif verify and not SSL_CTX_set_default_verify_paths(self.context):
            raise TlsError(f"the system's trust anchors can't be read: {last_error()}")
        if certificate is not None:
            use_certificate(self.context, certificate, key or b"")
        SSL_CTX_set_verify(self.context, SSL_VERIFY_PEER if verify else SSL_VERIFY_NONE, NULL)

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)


# -- one connection --------------------------------------------------------------------------------------------

cdef Tls tls_new(SSL_CTX* context, object owner):
    cdef Tls t = Tls.__new__(Tls)
    cdef BIO* bio
    t.contexts = owner
    t.ssl = SSL_new(context)
    if t.ssl == NULL:
        raise MemoryError
    bio = channel_bio(&t.channel)
    SSL_set_bio(t.ssl, bio, bio)         # takes the one reference
    t.bio = bio
    SSL_set_ex_data(t.ssl, 0, <void*>t)  # borrowed: the SSL dies with t
    return t


cdef Tls tls_accept(TlsContexts contexts):
    cdef Tls t = tls_new(contexts.initial, contexts)
    SSL_set_accept_state(t.ssl)
    return t


cdef Tls tls_connect(TlsClientContext context, bytes server_name):
    cdef Tls t = tls_new(context.context, context)
    cdef X509_VERIFY_PARAM* param = SSL_get0_param(t.ssl)
    cdef int size
    t.chosen = PROFILE_CLIENT
    if server_name.startswith(b"[") and server_name.endswith(b"]"):
        server_name = server_name[1:len(server_name) - 1]
    if not X509_VERIFY_PARAM_set1_ip_asc(param, server_name):
        ERR_clear_error()
        size = name_normal(<const uint8_t*><const char*>server_name, len(server_name), t.name)
        if size < 0:
            raise TlsError(f"{server_name!r} is neither a host name nor an address")
        t.name_len = size
        t.name[size] = 0
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)
        if not (X509_VERIFY_PARAM_set1_host(param, <const char*>t.name, size)
                and SSL_set_tlsext_host_name(t.ssl, <const char*>t.name)):
            raise MemoryError
    SSL_set_connect_state(t.ssl)
    return t


cdef dict REFUSALS = {
    SSL_AD_UNRECOGNIZED_NAME: "no certificate here for the name that the client asked for",
    SSL_AD_NO_APPLICATION_PROTOCOL: "the client offers no protocol that is spoken here",
    SSL_AD_ILLEGAL_PARAMETER: "the client named another host in its second ClientHello",
    SSL_AD_DECODE_ERROR: "the client's server name is malformed",
    SSL_AD_INTERNAL_ERROR: "an internal error while choosing the certificate",
}


@cython.final
cdef class Tls:
    def __cinit__(self):
        self.ssl = NULL
        self.bio = NULL
        memset(&self.channel, 0, sizeof(Channel))
        self.contexts = None
        self.entry = None
        self.chosen = PROFILE_NONE
        self.name_len = 0
        self.why = None

    def __dealloc__(self):
        if self.ssl != NULL:
            SSL_free(self.ssl)
        free(self.channel.inbound)
        free(self.channel.outbound)

    cdef int feed(self, const uint8_t* p, size_t n) except -1:
        cdef Channel* c = &self.channel
        if n == 0 or self.failed:
            return 0
        if not channel_room(&c.inbound, &c.in_at, &c.in_end, &c.in_room, n):
            raise MemoryError
        memcpy(c.inbound + c.in_end, p, n)
        c.in_end += n
        return 0

    cdef int handshake(self) except? -3:
        cdef int rc
        if self.done:
            return 1
        if self.failed:
            return -1
        ERR_clear_error()
        rc = SSL_do_handshake(self.ssl)
        if rc == 1:
            return self.admit()
        if SSL_get_error(self.ssl, rc) == SSL_ERROR_WANT_READ:
            return 0
        return self.fail()

    cdef int admit(self) except? -3:
        """The handshake is through: hold it to its profile's rules, resumed or not."""
        cdef X509* peer
        cdef Slice protocol
        if self.chosen == PROFILE_CLIENT_CA or self.chosen == PROFILE_TUNNEL:
            peer = SSL_get0_peer_certificate(self.ssl)
            if peer == NULL:
                if self.entry.require:
                    self.why = "the client sent no certificate"
            elif self.entry.refuses_all:
                self.why = "no client CA is configured that could be read: every client is refused"
            elif SSL_get_verify_result(self.ssl) != X509_V_OK:
                self.why = "the client's certificate isn't trusted"
            elif (X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0
                    or X509_cmp_current_time(X509_get0_notBefore(peer)) >= 0):
                self.why = "the client's certificate has expired or isn't valid yet"
        elif self.chosen == PROFILE_NONE:
            self.why = "no profile"
        if self.chosen == PROFILE_TUNNEL and self.why is None:
            protocol = self.alpn()
            if protocol.len != 14 or memcmp(protocol.ptr, b"sekisho-link/1", 14) != 0:
                self.why = "a link must speak sekisho-link/1"
        if self.why is not None:
            self.failed = True
            self.chosen = PROFILE_NONE
            return -1
        self.done = True
        return 1

    cdef int fail(self) except? -3:
        """Say why in plain words; nothing more comes out of this connection."""
        cdef unsigned long code = ERR_peek_error()
        cdef long result = SSL_get_verify_result(self.ssl)
        cdef str detail
        self.failed = True
        self.plain = not self.done and ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST
        if self.refusal:
            self.why = REFUSALS.get(self.refusal, "refused")
            ERR_clear_error()
        elif result != X509_V_OK and not self.done:
            detail = (<bytes>X509_verify_cert_error_string(result)).decode("ascii", "replace")
            if self.chosen == PROFILE_CLIENT:
                asked = self.name[:self.name_len].decode("ascii") or "this address"
                self.why = f"the certificate isn't valid for {asked}: {detail}"
            else:
                self.why = f"the client's certificate isn't trusted: {detail}"
            ERR_clear_error()
        else:
            self.why = last_error()
        if not self.done:
            self.chosen = PROFILE_NONE
        return -1

    cdef int read(self, uint8_t* out, size_t room, size_t* got) except? -3:
        cdef int rc, error
        got[0] = 0
        if self.failed or not self.done:
            return TLS_FAILED if self.failed else TLS_AGAIN
        if self.channel.in_at == self.channel.in_end and not SSL_has_pending(self.ssl):
            return TLS_AGAIN
        ERR_clear_error()
        rc = SSL_read_ex(self.ssl, out, room, got)
        if rc == 1:
            return TLS_DATA
        error = SSL_get_error(self.ssl, rc)
        if error == SSL_ERROR_WANT_READ:
            return TLS_AGAIN
        if error == SSL_ERROR_ZERO_RETURN:
            return TLS_CLOSED
        self.fail()
        return TLS_FAILED

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        cdef size_t written = 0, step
        if not self.done or self.failed:
            raise TlsError("write on a TLS connection that isn't open: " + (self.why or "handshake not done"))
        while n > 0:
            step = n if n < MAX_SSL_WRITE else MAX_SSL_WRITE
            ERR_clear_error()
            if SSL_write_ex(self.ssl, p, step, &written) != 1:
                self.fail()
                raise TlsError(f"libssl can't write: {self.why}")
            p += written
            n -= written
        return 0

    cdef Slice to_send(self) noexcept:
        return slice_of(self.channel.outbound + self.channel.out_at, self.channel.out_end - self.channel.out_at)

    cdef void sent(self, size_t n) noexcept:
        cdef Channel* c = &self.channel
        c.out_at += n
        if c.out_at >= c.out_end:
            c.out_at = 0
            c.out_end = 0
            if c.out_room > CHANNEL_KEEP:
                free(c.outbound)
                c.outbound = NULL
                c.out_room = 0

    cdef int shutdown(self) noexcept:
        if self.done and not self.failed:
            ERR_clear_error()
            SSL_shutdown(self.ssl)
            ERR_clear_error()
        return 0

    cdef bint established(self) noexcept:
        return self.done and not self.failed

    cdef int profile(self) noexcept:
        return self.chosen

    cdef Slice server_name(self) noexcept:
        return slice_of(self.name, self.name_len)

    cdef Slice alpn(self) noexcept:
        cdef const unsigned char* p = NULL
        cdef unsigned int n = 0
        SSL_get0_alpn_selected(self.ssl, &p, &n)
        return slice_of(p, n)

    cdef void idle(self) noexcept:
        cdef Channel* c = &self.channel
        if c.inbound != NULL and c.in_at == c.in_end:
            free(c.inbound)
            c.inbound = NULL
            c.in_at = c.in_end = c.in_room = 0
        if c.outbound != NULL and c.out_at == c.out_end:
            free(c.outbound)
            c.outbound = NULL
            c.out_at = c.out_end = c.out_room = 0

    cpdef bytes peer_certificate(self):
        return certificate_der(SSL_get0_peer_certificate(self.ssl))

    cpdef bytes peer_issuer(self):
        cdef stack_x509* chain = SSL_get0_verified_chain(self.ssl)
        if chain == NULL or sk_X509_num(chain) < 2:
            return None
        return certificate_der(sk_X509_value(chain, 1))


cdef bytes certificate_der(X509* x):
    cdef unsigned char* p = NULL
    cdef int n
    if x == NULL:
        return None
    n = i2d_X509(x, &p)
    if n <= 0:
        ERR_clear_error()
        raise TlsError("the certificate can't be encoded")
    try:
        return p[:n]
    finally:
        OPENSSL_free(p)


# -- the Python door -------------------------------------------------------------------------------------------

@cython.final
cdef class TlsEnd:
    """One end of a TLS connection for Python: what tests and small tools use; the data path uses Tls itself."""
    cdef Tls tls

    @staticmethod
    def server(TlsContexts contexts not None) -> TlsEnd:
        cdef TlsEnd end = TlsEnd.__new__(TlsEnd)
        end.tls = tls_accept(contexts)
        return end

    @staticmethod
    def client(TlsClientContext context not None, server_name: str) -> TlsEnd:
        cdef TlsEnd end = TlsEnd.__new__(TlsEnd)
        end.tls = tls_connect(context, server_name.encode("ascii"))
        return end

    def feed(self, const uint8_t[::1] data) -> None:
        if data.shape[0]:
            self.tls.feed(&data[0], data.shape[0])

    def handshake(self) -> int:
        return self.tls.handshake()

    def read(self, size_t room=65536) -> tuple[int, bytes]:
        """One (TlsRead, data) step."""
        cdef bytearray out = bytearray(room)
        cdef size_t got = 0
        cdef int rc = self.tls.read(<uint8_t*><char*>out, room, &got)
        return rc, bytes(out[:got])

    def write(self, const uint8_t[::1] data) -> None:
        if data.shape[0]:
            self.tls.write(&data[0], data.shape[0])

    def take(self, most=None) -> bytes:
        """Ciphertext to send, at most `most` bytes."""
        cdef Slice s = self.tls.to_send()
        cdef size_t n = s.len if most is None else min(s.len, <size_t>most)
        cdef bytes out = s.ptr[:n] if n else b""
        self.tls.sent(n)
        return out

    def spin(self, list wires, const uint8_t[::1] answer) -> int:
        """Read each of wires and write answer, without Python in between, for benchmarks; bytes read."""
        cdef uint8_t plain[16384]
        cdef const uint8_t* p
        cdef bytes wire
        cdef size_t got, total = 0
        for wire in wires:
            p = wire
            self.tls.feed(p, len(wire))
            while self.tls.read(plain, sizeof(plain), &got) == TLS_DATA:
                total += got
            self.tls.write(&answer[0], answer.shape[0])
            self.tls.sent(self.tls.to_send().len)
        return total

    def shutdown(self) -> None:
        self.tls.shutdown()

    def idle(self) -> None:
        self.tls.idle()

    def peer_certificate(self) -> bytes | None:
        return self.tls.peer_certificate()

    def peer_issuer(self) -> bytes | None:
        return self.tls.peer_issuer()

    @property
    def established(self) -> bool:
        return self.tls.established()

    @property
    def profile(self) -> int:
        return self.tls.profile()

    @property
    def server_name(self) -> bytes:
        return self.tls.name[:self.tls.name_len]

    @property
    def alpn(self) -> bytes:
        cdef Slice s = self.tls.alpn()
        return s.ptr[:s.len] if s.len else b""

    @property
    def why(self) -> str | None:
        return self.tls.why

    @property
    def plain(self) -> bool:
        return self.tls.plain

    @property
    def resumed(self) -> bool:
        return SSL_session_reused(self.tls.ssl) == 1

    @property
    def version(self) -> str:
        return (<bytes>SSL_get_version(self.tls.ssl)).decode("ascii")

    @property
    def cipher(self) -> str:
        return (<bytes>SSL_get_cipher_name(self.tls.ssl)).decode("ascii")

    @property
    def buffered(self) -> int:
        """Bytes of memory that the two channel buffers hold."""
        return self.tls.channel.in_room + self.tls.channel.out_room
