"""The engine of one TLS 1.2/1.3 connection, sans-IO: bytes in, bytes out, no socket."""

from libc.stdint cimport uint8_t

from _fastpath.contexts cimport Hello, TlsClientContext, TlsContexts
from _fastpath.openssl cimport BIO, SSL
from _fastpath.slice cimport Slice


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


cdef class Tls(Hello):
    cdef SSL* ssl
    cdef BIO* bio            # owned by ssl
    cdef Channel channel
    cdef size_t unasked      # bytes that libssl queued by itself while it read, MAX_TLS_UNASKED at most
    cdef bint done           # handshake completed and its certificate rules hold
    cdef bint failed         # nothing more may come out of this connection
    cdef readonly bint plain  # the first bytes were an HTTP request, not TLS: a short 400 is due
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
