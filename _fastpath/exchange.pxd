"""One request and its answer, whatever transport and HTTP version it came by: a request's life, top to bottom.

judge() says what is to be done (answer it ourselves, relay it, wait); request_head() and response_head() write the
heads that go on. Nothing here knows a socket."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from _fastpath.accesslog cimport AccessLog, LogRecord
from _fastpath.facts cimport Facts, FactSet
from _fastpath.head cimport Head
from _fastpath.policy cimport Decision, Permit
from _fastpath.slice cimport Slice
from _fastpath.snapshot cimport App, Place, Route, Snapshot
from _fastpath.jwt cimport Token
from _fastpath.revocations cimport Revocations
from _fastpath.servicetoken cimport ServiceToken, ServiceTokens
from _fastpath.token cimport TokenCache


cdef enum Step:
    STEP_ANSWER = 0          # zero refuses: the answer is in Exchange.status, .fields and .body
    STEP_RELAY = 1           # to the origin: Exchange.permit is filled
    STEP_CONTROL = 2         # to the control process, which has its own checks
    STEP_WAIT = 3            # a signature check or facts are under way: judge again when woken


cdef enum ListenerKind:
    LISTEN_TLS = 0
    LISTEN_PLAIN = 1         # behind trusted proxies, or the demo's loopback
    LISTEN_REDIRECT = 2      # answers nothing but redirects to https


cdef struct Out:             # bytes being written into a block of fixed size
    uint8_t* ptr
    size_t len
    size_t room
    bint over                # something did not fit: what is there must not be sent


cdef inline void put(Out* o, const void* p, size_t n) noexcept nogil:
    if n > o.room - o.len:
        o.over = True
        return
    memcpy(o.ptr + o.len, p, n)
    o.len += n


cdef inline void put_slice(Out* o, Slice s) noexcept nogil:
    if s.len:
        put(o, s.ptr, s.len)


cdef inline void put_bytes(Out* o, bytes b) noexcept:
    put(o, <const char*>b, len(b))


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
    cdef uint64_t next_ray(self) noexcept
    cdef int64_t wall_seconds(self) noexcept


cdef class Exchange:
    """One request. A connection owns one and reuses it; start() forgets the last."""
    cdef Checkpoint cp
    cdef Live live
    cdef Live judged                      # what an open stream was last judged by
    cdef Arrival arrival
    cdef Place place
    cdef Decision decision
    cdef Permit permit
    cdef Token token
    cdef ServiceToken service
    cdef bytes assertion                  # what the origin gets as Cf-Access-Jwt-Assertion; None for bypass
    cdef LogRecord record
    cdef uint64_t began                   # monotonic microseconds, head complete
    cdef uint64_t asked_upstream          # head written to the origin; 0 = never
    cdef uint64_t heard_upstream          # head of its answer parsed
    cdef uint64_t waiting_since
    cdef uint8_t method
    cdef uint8_t minor
    cdef bint websocket                   # asked for, and allowed to
    cdef bint navigation                  # a person's browser asks for a page
    cdef bint japanese
    cdef bint forged_cookie               # duplicate cookies of our name: clear them in the answer
    cdef uint8_t ip[16]
    cdef uint8_t ip_text[48]
    cdef size_t ip_len
    cdef bint ip_known
    cdef uint8_t ray[16]
    # an answer of our own
    cdef int reason
    cdef uint16_t status
    cdef bytes fields                     # whole lines, without framing
    cdef bytes body

    cdef int start(self, Arrival arrival) except -1
    cdef int forget(self) except -1
    cdef int judge(self, Head* h) except -1                     # Step
    cdef int place_request(self, Head* h) except -1             # host, path, route; 0 or a Reason
    cdef int authenticate(self, Head* h) except -1              # who; 0, -2 to wait, or a Reason
    cdef int decided(self, Head* h) except -1                   # Step
    cdef int check_upgrade(self, Head* h) except -1             # 0 or a Reason
    cdef int answer(self, int reason) except -1                 # prepares our own answer; returns STEP_ANSWER
    cdef int answer_login(self, Head* h) except -1
    cdef int answer_redirect(self, Head* h) except -1
    cdef int request_head(self, Head* h, Out* out, Slice host_header, bint chunked, bint control) except -1
    cdef int response_head(self, Head* h, Out* out, bint keep, bint close_framing, bint chunked, bint control) except -1
    cdef int still_allowed(self) except -1                      # 0, or the Reason for which an open stream must end
    cdef int rejudge(self, Live live, Slice host, Slice path) except -1
    # private to exchange.pyx
    cdef int client_address(self, Head* h) except -1
    cdef object forwarded_for(self, Head* h)
    cdef int describe(self, Head* h) except -1
    cdef int verify(self, Slice raw, const App* app, int64_t now) except -1000
    cdef int ask_facts(self, Facts* f) except -1000
    cdef bytes service_assertion(self)
    cdef bytes clear_cookies(self, const App* app)
    cdef bytes start_nonce(self, Head* h)

    @staticmethod
    cdef Exchange new(Checkpoint cp)
