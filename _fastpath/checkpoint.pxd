"""What a worker knows, shared by all its exchanges: the checkpoint that every request comes to."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.accesslog cimport AccessLog
from _fastpath.revocations cimport Revocations
from _fastpath.servicetoken cimport ServiceTokens
from _fastpath.slice cimport Slice
from _fastpath.snapshot cimport Snapshot
from _fastpath.token cimport TokenCache


cdef enum ListenerKind:
    LISTEN_TLS = 0
    LISTEN_PLAIN = 1         # behind trusted proxies, or the demo's loopback
    LISTEN_REDIRECT = 2      # answers nothing but redirects to https


cdef class Arrival:
    """What a connection knows of itself, made once when it is accepted."""
    cdef uint8_t kind        # ListenerKind
    cdef uint8_t ip[16]      # of the client: the peer, or what a PROXY header of a trusted peer said
    cdef bytes ip_text
    cdef bint trusted        # the peer is a trusted proxy: X-Forwarded-For and -Proto are read
    cdef bint secure         # counts as https (TLS, or the demo's .localhost names)
    cdef bytes sni           # lower case; b"" when there is none or no TLS

    @staticmethod
    cdef Arrival new(int kind, object address, bytes sni, bint trusted, bint secure)


cdef class Live:
    """A snapshot in use, with what was made from it once. A request keeps the one that it began with."""
    cdef readonly Snapshot snapshot
    cdef readonly bytes auth_domain
    cdef readonly bytes scheme            # of public addresses: https, or the demo's http
    cdef readonly bytes suffix            # of public addresses: b"" or b":8443"
    cdef readonly bytes hsts              # a whole field line, or b""
    cdef readonly dict pages              # reason name -> {language: bytes}
    cdef bytes page_fields                # whole field lines that go with a page (CSP and so on)
    cdef ServiceTokens services
    cdef list trusted                     # of (network as int, mask as int)
    cdef readonly list targets            # by Route.index: what upstream.pyx dials; None for tunnels
    cdef uint64_t head_timeout            # microseconds, each
    cdef uint64_t body_timeout
    cdef uint64_t write_timeout
    cdef uint64_t keep_alive_timeout
    cdef uint64_t handshake_timeout
    cdef uint64_t upstream_head_timeout
    cdef uint64_t upstream_connect_timeout
    cdef uint64_t upstream_idle_timeout
    cdef uint64_t upgrade_timeout
    cdef uint32_t connections_per_address
    cdef size_t max_head                  # configured bounds of a request; never above those of limits.pxd
    cdef size_t max_target
    cdef uint16_t max_fields


cdef struct Counters:
    uint64_t requests
    uint64_t allowed
    uint64_t denied
    uint64_t logins
    uint64_t bypassed
    uint64_t service
    uint64_t control
    uint64_t refused_bytes               # framing, head, path: the client's fault
    uint64_t upstream_errors
    uint64_t retries
    uint64_t upgrades
    uint64_t bytes_in
    uint64_t bytes_out
    uint64_t fields_dropped
    uint64_t paths_normalised            # the origin got another spelling than the client sent
    uint64_t accepted
    uint64_t closed
    uint64_t handshakes_failed
    uint64_t time_outs
    uint64_t revoked_streams
    uint64_t by_status[6]                # 1xx .. 5xx


cdef class Checkpoint:
    """What all exchanges of a worker share."""
    cdef Live live
    cdef readonly Revocations revocations
    cdef TokenCache tokens
    cdef AccessLog log
    cdef object hooks                     # Python side, rare: ask(question), event(dict)
    cdef Counters counters
    cdef uint64_t ray                     # of the last request id
    cdef uint64_t ray_key
    cdef bint stale                       # no word from control for max_stale
    cdef int64_t wall_offset              # microseconds, wall clock less monotonic, refreshed every tick
    cdef uint64_t verify_window           # start of the current turn's budget
    cdef uint64_t verify_spent
    cdef object verify_queue              # deque of (raw, aud)
    cdef dict facts                       # raw token -> (FactSet or None, expiry): what control answered
    cdef dict assertions                  # (client id, AUD) -> (raw, expiry)
    cdef set asked                        # questions under way
    cdef list waiting                     # exchanges to wake
    cdef uint8_t* host_block              # scratch of the request being judged: normal host ...
    cdef uint8_t* path_block              # ... and normal path
    cdef Slice host
    cdef int32_t port
    cdef Slice path
    cdef object memory                    # owners of the two blocks
    cdef bint ask_facts(self, bytes raw) except -1     # False: control is away
    cdef uint64_t next_ray(self) noexcept
    cdef int64_t wall_seconds(self) noexcept
