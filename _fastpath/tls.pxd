"""TLS 1.2/1.3 on libssl, sans-IO: bytes in, bytes out, no socket.

A TlsContexts holds what all server connections of a worker share (certificates by SNI, ticket keys, profiles);
a TlsClientContext what dialled ones share; a Tls is one connection's engine. A Tls holds its contexts by reference,
so a reload builds a new TlsContexts, swaps one pointer, and running connections keep theirs."""

from libc.stdint cimport uint8_t, uint64_t

from _fastpath.openssl cimport BIO, SSL, SSL_CTX
from _fastpath.slice cimport Slice


cdef enum TlsProfile:        # which rules a connection came under; chosen by SNI in the ClientHello callback
    PROFILE_NONE = 0         # before the ClientHello, and after a refusal
    PROFILE_APPLICATION = 1  # browsers: no client certificate asked for
    PROFILE_CLIENT_CA = 2    # an application that asks for client certificates
    PROFILE_TUNNEL = 3       # tunnel.<auth_domain>, ALPN sekisho-link/1, TLS 1.3, client certificate required
    PROFILE_CLIENT = 4       # we dialled


cdef enum TlsRead:           # result of Tls.read
    TLS_DATA = 1             # *got bytes were written
    TLS_AGAIN = 0            # nothing more now
    TLS_CLOSED = -1          # close_notify
    TLS_FAILED = -2          # alert or protocol error: abort; Tls.why says it


cdef struct Channel:         # both directions of ciphertext of one Tls; its BIO reads and writes here
    uint8_t* inbound         # received, not yet decrypted
    size_t in_at             # first byte that libssl hasn't taken
    size_t in_end
    size_t in_room
    uint8_t* outbound        # encrypted, not yet sent
    size_t out_at
    size_t out_end
    size_t out_room


cdef class TicketKeys:
    """Session ticket keys, newest first, shared by all workers and kept over reloads: the first
    encrypts, all decrypt. Empty: no tickets."""
    cdef uint8_t keys[8][80]  # name 16, HMAC-SHA-256 key 32, AES-256 key 32
    cdef int count


cdef class TlsEntry:         # one certificate with the rules of its names; TlsContexts.add builds it
    cdef SSL_CTX* context
    cdef int profile         # TlsProfile
    cdef bytes scope         # part of the session id context: profile, client CAs, CRLs
    cdef bint require        # no client certificate, no handshake
    cdef readonly bint refuses_all  # certificates are asked for and there is nothing to check them against


cdef class TlsContexts:      # server side; built by Python code (tls.pyi), immutable once in use
    cdef SSL_CTX* initial    # every connection begins here: ticket keys, ClientHello callback
    cdef dict exact          # bytes host -> TlsEntry
    cdef dict wildcard       # bytes parent of "*." -> TlsEntry
    cdef TlsEntry fallback   # for no SNI and unknown names; None: alert unrecognized_name
    cdef readonly TicketKeys tickets


cdef class TlsClientContext:  # client side; built by Python code, shared by many connections
    cdef SSL_CTX* context
    cdef readonly bint verify


cdef class Tls:
    cdef SSL* ssl
    cdef BIO* bio            # owned by ssl
    cdef Channel channel
    cdef object contexts     # TlsContexts or TlsClientContext: keeps them alive
    cdef TlsEntry entry      # chosen in the ClientHello callback
    cdef int chosen          # TlsProfile
    cdef bint hello_seen     # a second ClientHello must name the same host
    cdef bint done           # handshake completed and its certificate rules hold
    cdef bint failed         # nothing more may come out of this connection
    cdef int refusal         # alert chosen by a callback, 0 = none
    cdef readonly bint plain  # the first bytes were an HTTP request, not TLS: a short 400 is due
    cdef uint8_t name[256]
    cdef size_t name_len
    cdef readonly str why    # plain words, after a failure; None before

    cdef int feed(self, const uint8_t* p, size_t n) except -1
        # Ciphertext in. Copies. Then call handshake() or read() until TLS_AGAIN.
    cdef int handshake(self) except? -3
        # Advance: 1 done, 0 needs more bytes, -1 failed (why is set; flush to_send first, an alert may be there)
    cdef int read(self, uint8_t* out, size_t room, size_t* got) except? -3
        # One SSL_read: a TlsRead value. Loop until TLS_AGAIN (one record per SSL_read).
    cdef int write(self, const uint8_t* p, size_t n) except -1
        # Encrypt n bytes; ciphertext waits in to_send. Raises before the handshake is done and after a failure.
    cdef Slice to_send(self) noexcept
        # Ciphertext waiting; borrowed until the next call to anything but sent().
    cdef void sent(self, size_t n) noexcept
        # n bytes of to_send have gone.
    cdef int shutdown(self) noexcept
        # Queue close_notify.
    cdef bint established(self) noexcept
    cdef int profile(self) noexcept                 # TlsProfile
    cdef Slice server_name(self) noexcept           # SNI, lower case, no trailing dot; empty if none
    cdef Slice alpn(self) noexcept                  # protocol agreed on; empty if none was offered
    cdef void idle(self) noexcept                   # free the buffers of a quiet connection (design §8); cheap
    cpdef bytes peer_certificate(self)              # DER of the verified peer certificate; None if none
    cpdef bytes peer_issuer(self)                   # DER of the certificate that signed it, as verified; None if none
    # private to tls.pyx
    cdef int admit(self) except? -3
    cdef int fail(self) except? -3


cdef Tls tls_accept(TlsContexts contexts)           # server end
cdef Tls tls_connect(TlsClientContext context, bytes server_name)
    # client end: server_name (host or IP address as text) is sent as SNI when it is a name, and verified; the
    # ClientHello waits in to_send after the first handshake().
