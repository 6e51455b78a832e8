"""One TLS 1.2/1.3 connection on libssl, sans-IO: ciphertext in and out through a BIO of our own.

Where a certificate is required it is read again after the handshake, resumed or not (DESIGN §4.1)."""

cimport cython
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from _fastpath.contexts cimport (
    PROFILE_CLIENT, PROFILE_CLIENT_CA, PROFILE_NONE, PROFILE_TUNNEL, Hello, TlsClientContext, TlsContexts, name_normal,
)
from _fastpath.openssl cimport *
from _fastpath.limits cimport MAX_TLS_UNASKED
from _fastpath.pem cimport last_error
from _fastpath.slice cimport Slice, slice_of

from _fastpath.pem import TlsError

cdef enum:
    CHANNEL_START = 16384    # bytes of a channel's first buffer
    MAX_SPARE = 32           # first buffers that nobody uses, kept for the next connection that has bytes
    CHANNEL_KEEP = 131072    # bytes that a drained buffer may keep until idle()
    MAX_SSL_WRITE = 1 << 30


# -- the channel: a BIO whose two ends are our own buffers ------------------------------------------------------

cdef uint8_t* SPARE[MAX_SPARE]
cdef int spares = 0


cdef inline void channel_rest(uint8_t** block, size_t* at, size_t* end, size_t* room) noexcept nogil:
    """Lend a drained first buffer to whoever has bytes next; a larger one stays until idle().

    A buffer of its own that a connection kept for a second would be freed between blocks that live as long as the
    connection: 4 to 8 kB of hole for each idle one."""
    global spares
    at[0] = end[0] = 0
    if block[0] == NULL or room[0] != CHANNEL_START:
        return
    if spares < MAX_SPARE:
        SPARE[spares] = block[0]
        spares += 1
    else:
        free(block[0])
    block[0] = NULL
    room[0] = 0


cdef inline int channel_room(uint8_t** block, size_t* at, size_t* end, size_t* room, size_t n) noexcept nogil:
    """Make place for n bytes after *end; 0 when memory is out."""
    global spares
    cdef size_t size
    cdef uint8_t* grown
    if block[0] == NULL and spares > 0 and n <= CHANNEL_START:
        spares -= 1
        block[0] = SPARE[spares]
        room[0] = CHANNEL_START
        return 1
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
    SSL_set_ex_data(t.ssl, 0, <void*><Hello>t)  # borrowed: the SSL dies with t
    return t


cdef Tls tls_accept(TlsContexts contexts):
    cdef Tls t = tls_new(contexts.initial, contexts)
    SSL_set_accept_state(t.ssl)
    return t


cdef Tls tls_connect(TlsClientContext context, bytes server_name):
    cdef Tls t = tls_new(context.context, context)
    cdef X509_VERIFY_PARAM* param = SSL_get0_param(t.ssl)
    cdef uint8_t name[256]
    cdef int size
    t.chosen = PROFILE_CLIENT
    if server_name.startswith(b"[") and server_name.endswith(b"]"):
        server_name = server_name[1:len(server_name) - 1]
    if not X509_VERIFY_PARAM_set1_ip_asc(param, server_name):
        ERR_clear_error()
        size = name_normal(<const uint8_t*><const char*>server_name, len(server_name), name)
        if size < 0:
            raise TlsError(f"{server_name!r} is neither a host name nor an address")
        t.name = name[:size]
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
cdef class Tls(Hello):
    def __cinit__(self):
        self.ssl = NULL
        self.bio = NULL
        memset(&self.channel, 0, sizeof(Channel))
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
        if self.channel.in_at == self.channel.in_end:
            channel_rest(&self.channel.inbound, &self.channel.in_at, &self.channel.in_end, &self.channel.in_room)
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
                asked = self.name.decode("ascii") or "this address"
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
        cdef size_t waiting = self.channel.out_end - self.channel.out_at
        got[0] = 0
        if self.failed or not self.done:
            return TLS_FAILED if self.failed else TLS_AGAIN
        if self.channel.in_at == self.channel.in_end and not SSL_has_pending(self.ssl):
            return TLS_AGAIN
        ERR_clear_error()
        rc = SSL_read_ex(self.ssl, out, room, got)
        # Each KeyUpdate asks for an answer (RFC 8446 4.6.3): who sends nothing else and doesn't read would fill our memory.
        self.unasked += self.channel.out_end - self.channel.out_at - waiting
        if self.unasked > MAX_TLS_UNASKED:
            self.failed = True
            got[0] = 0
            self.why = "too many key updates"
            return TLS_FAILED
        if self.channel.in_at == self.channel.in_end:
            channel_rest(&self.channel.inbound, &self.channel.in_at, &self.channel.in_end, &self.channel.in_room)
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
            channel_rest(&c.outbound, &c.out_at, &c.out_end, &c.out_room)
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
        return slice_of(<const uint8_t*><const char*>self.name, len(self.name))

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

    def renew_keys(self) -> None:
        """Send a KeyUpdate that asks the other end for one (TLS 1.3)."""
        if SSL_key_update(self.tls.ssl, SSL_KEY_UPDATE_REQUESTED) != 1 or SSL_do_handshake(self.tls.ssl) != 1:
            raise TlsError("no KeyUpdate is possible now")

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
        return self.tls.name

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
