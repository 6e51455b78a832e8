"""The way towards origins: targets, their pools of idle connections, and one upstream connection at a time."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.buffer cimport Buffer
from _fastpath.endpoint cimport Pipe, Receiver
from _fastpath.slice cimport Slice
from _fastpath.snapshot cimport Route, Snapshot


cdef enum TargetKind:
    TARGET_NONE = 0
    TARGET_TCP
    TARGET_TLS
    TARGET_UNIX
    TARGET_UNIX_TLS
    TARGET_STREAM            # a tunnel's service: opened by Links, never dialled


cdef class Upstream
cdef class Target


cdef class UpstreamUser(Receiver):
    """Whoever an upstream connection works for: a downstream connection. Calls come from the loop, one at a time."""
    cdef int up_ready(self, Upstream up) except -1                             # a dial ended well
    cdef int up_data(self, Upstream up, const uint8_t* p, size_t n) except -1
    cdef int up_end(self, Upstream up) except -1                               # no more data will come
    cdef int up_writable(self, Upstream up) except -1
    cdef int up_lost(self, Upstream up, int reason) except -1                  # last call


cdef class Trust:
    """The client context of all targets with the same anchors: to load the system's takes 20 ms and 1 MB."""
    cdef object anchors               # PEM, or None: the system's
    cdef bint verify
    cdef readonly object context      # TlsClientContext
    cdef int64_t since                # when the anchors were read, microseconds
    cdef object renewal               # task that reads them again; None: none runs


cdef class Target:
    """One place that can be dialled, with its idle connections. Outlives snapshots: found again by its key; gone when
    the snapshot in use doesn't name it and its last connection is closed."""
    cdef uint8_t kind
    cdef readonly object key          # what makes two targets the same
    cdef object host                  # dialled address, or path of a Unix socket
    cdef int port
    cdef Trust trust                  # None without TLS
    cdef object server_name           # checked in the origin's certificate
    cdef list idle                    # Upstream, the most recently used last
    cdef object loop
    cdef uint32_t open                # connections that exist
    cdef bint gone                    # forgotten: an older request may still use it, nothing is kept here any more
    cdef Upstream take(self)          # an idle connection, or None
    cdef Upstream dial(self, UpstreamUser user, uint64_t timeout)     # microseconds, 0 = none
    cdef int keep(self, Upstream up) except -1
    cdef int expire(self, uint64_t before) except -1

    @staticmethod
    cdef Target new(object loop, object key, int kind, object host, int port, Trust trust, object server_name)


cdef class Upstream(Receiver):
    """One connection to an origin (or control). Works for at most one user at a time."""
    cdef Pipe pipe
    cdef Target target
    cdef UpstreamUser user
    cdef Buffer replay                # head that was sent, as long as a retry is possible
    cdef bint reused                  # it carried a request before this one
    cdef bint heard                   # a byte of the current answer arrived
    cdef bint bound                   # connection-bound authentication (NTLM, Negotiate): never pooled
    cdef bint connected
    cdef int why                      # errors.Reason of a failed dial
    cdef uint64_t since               # when it became idle, microseconds

    @staticmethod
    cdef Upstream new(Target target, UpstreamUser user)
    cdef int release(self) except -1  # the user is done and it may be used again
    cdef int discard(self) except -1  # the user is done and it may not


cdef class Upstreams:
    """All targets of a worker."""
    cdef dict targets                 # key -> Target
    cdef dict trusts                  # (anchors, verify) -> Trust
    cdef set named                    # keys of the targets that the snapshot in use leads to
    cdef object loop
    cdef readonly object control      # Target of public.sock
    cdef Target target(self, object key, object make)
    cdef Upstream stream(self, bytes key, Pipe pipe, UpstreamUser user)
    cdef Target streams(self, bytes key)
    cdef list targets_of(self, Snapshot snapshot)                  # by Route.index; None for what is not dialled
    cdef Target target_of(self, Snapshot snapshot, const Route* r)
    cdef Trust trust(self, object anchors, bint verify)
    cdef int lead_to(self, list targets) except -1                 # those of the snapshot now in use
    cdef int tick(self, uint64_t idle) except -1
        # Close what has been idle for longer than `idle` microseconds; forget targets that nothing leads to.
