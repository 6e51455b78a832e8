"""The mux over a transport: links of connectors, of sibling workers, and the pipes that their streams are.

Three ends share `Carrier` (one Mux on one Pipe): an edge's end of a connector's link, a connector's end of it,
and a worker's end of a Unix socket to a sibling. `Links` is a worker's view of all that it can reach; it is asked
twice per request: resolve() which service and link, open() for a stream when the pool has none."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.buffer cimport Buffer
from _fastpath.endpoint cimport Pipe, Receiver
from _fastpath.mux cimport Mux, MuxEvents
from _fastpath.slice cimport Slice
from _fastpath.stream cimport Stream


cdef enum ServiceKind:
    SERVICE_NONE = 0         # nothing to relay to: Service.reason says why
    SERVICE_HTTP = 1         # http, https, ws, wss, unix, unix+tls: HTTP/1.1 over the stream
    SERVICE_STATUS = 2       # http_status:N: the worker answers Service.status itself, nothing is opened
    SERVICE_HELLO = 3        # hello_world: the worker answers a test page itself
    SERVICE_TCP = 4          # any other scheme: bytes for our client; a cookie is never accepted (design §4.4)


cdef struct Service:         # what resolve() found; slices live 60 s at least: use them in this request, then forget
    uint8_t kind             # ServiceKind
    uint16_t status          # SERVICE_STATUS only
    int reason               # errors.Reason when kind is SERVICE_NONE (link down, table unknown, no rule)
    bint disable_chunked     # originRequest.disableChunkedEncoding: done by the edge
    bint match_sni           # originRequest.matchSNItoHost: the host travels in the stream header
    bint relayed             # the link lives in a sibling worker
    Slice host_header        # originRequest.httpHostHeader; empty = leave Host as it is
    Slice tunnel             # id of the tunnel, 36 ASCII bytes
    uint64_t link            # number of the link, never reused in this process
    uint64_t pool            # number of (link, table version, index), never reused in this process
    uint32_t version         # of the table
    uint32_t index           # in the table
    uint32_t round_trip      # of the link, microseconds; 0 = not measured yet (for the access log)


cdef struct Warrant:         # on whose behalf a stream is opened; travels only between workers
    Slice application        # AUD
    Slice session            # identity nonce of the application session; empty for bypass
    Slice source             # client address as text, for the PROXY protocol; may be empty
    uint64_t expiry          # unix seconds when the session ends; 0 = none (bypass, service policy without end)


cdef class Carrier(MuxEvents):
    """One Mux on one Pipe: feeds, flushes once per loop turn, ticks, and lets go of everything when it is lost."""
    cdef Pipe pipe
    cdef Mux mux
    cdef Receiver ear                                  # what the pipe talks to
    cdef object loop
    cdef object flush_handle                           # call_soon handle while a flush is planned
    cdef object timer                                  # call_at handle of mux.deadline()
    cdef uint64_t timer_due                            # microseconds, 0 = no timer
    cdef readonly bint lost                            # the transport is gone
    cdef readonly int why                              # errors.Reason of the loss
    cdef readonly uint32_t round_trip                  # microseconds, smoothed; 0 = unknown
    cdef readonly uint32_t streams                     # streams that carry requests now
    cdef readonly uint64_t number                      # of this carrier in this process
    cdef Stream control                                # stream 1
    cdef Buffer control_in                             # bytes of a control message not yet whole
    cdef int start(self, Pipe pipe, bint client) except -1
    cdef int flush(self) except -1
    cdef int plan_flush(self) except -1
    cdef int plan_tick(self) except -1
    cdef int drop(self, int reason) except -1          # close the link now
    cdef int gone(self, int reason) except -1          # the pipe was lost; called once
    cdef int accept_stream(self, Stream s) except -1   # hook: the other side opened s, which is not the control stream
    cdef int control_message(self, bytes message) except -1     # hook: one whole message of the control stream
    cdef int ended(self) except -1                     # hook: after gone()


cdef class MuxPipe(Pipe):
    """A mux stream behind the Pipe interface, with back-pressure both ways: while paused it keeps what arrives
    (never more than the receive window) and lets the window run out."""
    cdef Carrier carrier
    cdef Stream stream
    cdef Buffer held                                   # arrived while paused
    cdef size_t debt                                   # bytes handed up whose window has not been given back
    cdef uint8_t waiting                               # what comes before the payload: a status byte, a stream header, nothing
    cdef bint paused
    cdef bint delivering                               # inside receiver.on_data: no second delivery
    cdef bint saw_end                                  # FIN came
    cdef bint told_end                                 # ... and the receiver knows
    cdef bint closing
    cdef bint finished                                 # on_lost was called, or will never be
    cdef object turn                                   # call_soon handle of a delivery after resume()
    cdef int feed(self, const uint8_t* p, size_t n) except -1
    cdef int deliver(self) except -1
    cdef int preface(self) except -1
    cdef int stream_end(self) except -1
    cdef int finish(self, int reason) except -1


cdef class Entry:
    """One line of a service table, as the edge needs it."""
    cdef readonly uint32_t index
    cdef readonly bytes hostname                       # b"" = every host; may begin with b"*."
    cdef readonly bytes path                           # b"" = every path
    cdef readonly uint8_t kind
    cdef readonly uint16_t status
    cdef readonly bint disable_chunked
    cdef readonly bint match_sni
    cdef readonly bytes host_header
    cdef readonly bytes service                        # as announced, for display
    cdef uint64_t pool


cdef class Table:
    """One announced version of a service table; immutable."""
    cdef readonly uint32_t version
    cdef readonly list entries                         # of Entry, in the file's order
    cdef dict hosts                                    # host -> tuple(entries that may match, re2.Set or None)
    cdef set denied                                    # exact hostnames and "*.suffix" that the edge doesn't route here
    cdef Entry find(self, Slice host, Slice path)      # None: no entry matches
    cdef tuple rules_of(self, bytes host)


cdef class Link(Carrier):
    """The edge's end of one connector's link."""
    cdef object owner                                  # Links
    cdef readonly bytes tunnel                         # id; empty until accepted
    cdef readonly bytes replica                        # id of the connector process
    cdef readonly Table table                          # None until announced
    cdef readonly bint draining                        # no new streams
    cdef object user                                   # what `hooks` keeps with it
    cdef uint64_t since


cdef class Sibling(Carrier):
    """One worker's end of the Unix socket to another worker of the node."""
    cdef object owner                                  # Links
    cdef readonly int slot                             # of the other worker; -1 until it said
    cdef dict remotes                                  # number of the link there -> Remote


cdef class Remote:
    """A link that lives in a sibling worker, as gossip told it."""
    cdef readonly uint64_t number                      # here
    cdef readonly uint64_t there                       # in the sibling
    cdef readonly bytes tunnel
    cdef readonly Table table
    cdef readonly uint32_t round_trip
    cdef readonly uint32_t streams                     # opened by this worker
    cdef Sibling sibling


cdef class Links:
    """Everything that this worker can reach through tunnels."""
    cdef object loop
    cdef object hooks                                  # Python side: opened, message, lost, check (see tunnel.pyi)
    cdef readonly int slot
    cdef readonly int slots
    cdef dict local                                    # tunnel id -> list of Link, accepted ones only
    cdef dict remote                                   # tunnel id -> list of Remote
    cdef dict numbers                                  # number -> Link or Remote
    cdef set links                                     # every Link, accepted or not
    cdef set siblings                                  # every Sibling
    cdef list parted                                   # (due, table) of links and tables that went: their slices live 60 s more

    cdef int accept(self, Pipe pipe) except -1
        # A connector's TlsPipe after the handshake under PROFILE_TUNNEL. Takes the pipe over; the hooks check the certificate.
    cdef int resolve(self, Slice tunnel, Slice host, Slice path, Service* out) except -1
        # 1: out is filled; 0: out.kind is SERVICE_NONE and out.reason says why (502 or 503 page).
        # host and path in the normal form that the policy saw. Chooses the link: lowest latency x fewest streams.
    cdef bytes pool_key(self, const Service* s, Slice host, const Warrant* w)
        # Under which an idle HTTP stream may be kept and found again: (link, version, index), the host where matchSNItoHost
        # is on, and the session where the stream is relayed (the sibling checked its header for that session only).
    cdef Pipe open(self, const Service* s, Slice host, const Warrant* w, Receiver receiver)
        # A new stream to the service; payload may be written at once. The pipe strips the status byte; a refusal is
        # receiver.on_lost(reason) with one of the origin-* reasons, before any on_data. None: the link went away
        # between resolve() and open(): resolve again.
