"""The edge's side of tunnels: connectors' links, sibling workers, and the choice among them.

`Links` is a worker's view of all that it can reach through tunnels; it is asked twice per request: resolve() which
service and link, open() for a stream when the pool has none."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.carrier cimport Carrier
from _fastpath.endpoint cimport Pipe, Receiver
from _fastpath.muxpipe cimport Way
from _fastpath.slice cimport Slice
from _fastpath.table cimport (  # ServiceKind: for whoever reads a Service
    SERVICE_HELLO, SERVICE_HTTP, SERVICE_NONE, SERVICE_STATUS, SERVICE_TCP, Table,
)


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


cdef class Link(Carrier):
    """The edge's end of one connector's link."""
    cdef Links owner
    cdef readonly bytes tunnel                         # id; empty until accepted
    cdef readonly Table table                          # None until announced
    cdef public object user                            # what the hooks keep with it


cdef class Sibling(Carrier):
    """One worker's end of the Unix socket to another worker of the node."""
    cdef Links owner
    cdef dict remotes                                  # number of the link there -> Remote
    cdef public object user                            # what the hooks keep with it
    cdef int take_away(self, uint64_t there, Links owner) except -1


cdef class Remote:
    """A link that lives in a sibling worker, as gossip told it."""
    cdef readonly uint64_t number                      # here
    cdef readonly uint64_t there                       # in the sibling
    cdef readonly bytes tunnel
    cdef readonly Table table
    cdef readonly uint32_t round_trip
    cdef readonly uint32_t streams                     # as the sibling told
    cdef Sibling sibling
    cdef Way way                                       # closed when the sibling withdrew the link


cdef class Links:
    """Everything that this worker can reach through tunnels."""
    cdef object loop
    cdef object hooks                                  # Python side (see tunnel.pyi)
    cdef dict local                                    # tunnel id -> list of Link, accepted ones only
    cdef dict remote                                   # tunnel id -> list of Remote
    cdef dict numbers                                  # number -> Link or Remote
    cdef set links                                     # every Link, accepted or not
    cdef set siblings                                  # every Sibling
    cdef list parted                                   # (due, object): what slices may still point into
    cdef list relays                                   # (expiry, application, session, tunnel, Inbound)

    cdef int accept(self, Pipe pipe) except -1
        # A connector's TlsPipe after the handshake under PROFILE_TUNNEL. Takes the pipe over; the hooks check the
        # certificate.
    cdef int resolve(self, Slice tunnel, Slice host, Slice path, Service* out) except -1
        # 1: out is filled; 0: out.kind is SERVICE_NONE and out.reason says why (502 or 503 page).
        # host and path in the normal form that the policy saw. Chooses the link: lowest latency x fewest streams, among
        # those whose table takes this host and path.
    cdef bytes pool_key(self, const Service* s, Slice host, const Warrant* w)
        # Under which an idle HTTP stream may be kept and found again: (link, version, index), the host where
        # matchSNItoHost is on, and the session where the stream is relayed (the sibling checked its header for that
        # session only).
    cdef Pipe open(self, const Service* s, Slice host, const Warrant* w, Receiver receiver)
        # A new stream to the service; payload may be written at once. The pipe strips the status byte; a refusal is
        # receiver.on_lost(reason) with one of the origin-* reasons, before any on_data. None: the link went away
        # between resolve() and open(): resolve again.
    # private to tunnel.pyx
    cdef int keep(self, object thing) except -1
    cdef int forget(self, Link link) except -1
    cdef int adopt(self, Pipe pipe, bint client) except -1
    cdef int look_further(self, list links, list remotes, Slice host, Slice path, Service* out) except -1
