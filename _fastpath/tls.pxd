"""TLS 1.2/1.3 on libssl with memory BIOs: bytes in, bytes out, no socket.

A TlsContexts holds what all connections of a worker share (certificates by SNI, ticket keys, profiles);
a Tls is one connection's engine."""

from libc.stdint cimport uint8_t, uint64_t

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


cdef class TlsContexts:      # server side; built by python code (tls.pyi), immutable while in use
    cdef object _self
    # fields: see tls.pyx's owner


cdef class Tls:
    cdef int feed(self, const uint8_t* p, size_t n) except -1
        # Ciphertext in. Copies into the read BIO.
    cdef int handshake(self) except? -3
        # Advance: 1 done, 0 needs more bytes, -1 failed (why is set; flush to_send first, an alert may be there)
    cdef int read(self, uint8_t* out, size_t room, size_t* got) except? -3
        # One SSL_read: a TlsRead value. Loop until TLS_AGAIN (one record per SSL_read).
    cdef int write(self, const uint8_t* p, size_t n) except -1
        # Encrypt n bytes; ciphertext waits in to_send.
    cdef Slice to_send(self) noexcept
        # Ciphertext waiting; borrowed until the next call to anything but sent().
    cdef void sent(self, size_t n) noexcept
        # n bytes of to_send have gone.
    cdef int shutdown(self) noexcept
        # Queue close_notify.
    cdef bint established(self) noexcept
    cdef int profile(self) noexcept                 # TlsProfile
    cdef Slice server_name(self) noexcept           # SNI, lower case, without trailing dot; empty if none
    cdef void idle(self) noexcept                   # free the BIO buffers of a quiet connection (design §8)
