"""What TLS connections share: certificates by name, ticket keys, rules.

A TlsContexts holds what all server connections of a worker share (certificates by SNI, ticket keys, profiles); a
TlsClientContext what dialled ones share. A connection holds its contexts by reference, so a reload builds a new
TlsContexts, swaps one pointer, and running connections keep theirs."""

from libc.stdint cimport uint8_t

from _fastpath.openssl cimport SSL_CTX


cdef enum TlsProfile:        # which rules a connection came under; chosen by SNI in the ClientHello callback
    PROFILE_NONE = 0         # before the ClientHello, and after a refusal
    PROFILE_APPLICATION = 1  # browsers: no client certificate asked for
    PROFILE_CLIENT_CA = 2    # an application that asks for client certificates
    PROFILE_TUNNEL = 3       # tunnel.<auth_domain>, ALPN sekisho-link/1, TLS 1.3, client certificate required
    PROFILE_CLIENT = 4       # we dialled


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


cdef class Hello:            # one connection as libssl's callbacks see it: what its ClientHello said, what came of it
    cdef object contexts     # TlsContexts or TlsClientContext: keeps them alive
    cdef TlsEntry entry      # chosen in the ClientHello callback
    cdef int chosen          # TlsProfile
    cdef bint hello_seen     # a second ClientHello must name the same host
    cdef int refusal         # alert chosen by a callback, 0 = none
    cdef bytes name          # SNI, lower case, without a trailing dot; empty if none


cdef int name_normal(const uint8_t* p, size_t n, uint8_t* out) noexcept nogil
    # Write the lower-case name without its trailing dot; return its length, -1 when it is no host name.
