"""The edge's side of tunnels: service tables, connectors' links, sibling workers, and the choice among them."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from _fastpath.carrier cimport Carrier
from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport (
    R_LINK_ROLE, R_RELAY_REFUSED, R_TUNNEL_DOWN, R_TUNNEL_SERVICE_MISSING, R_TUNNEL_STREAMS,
    R_TUNNEL_TABLE_UNKNOWN,
)
from _fastpath.inbound cimport Inbound, inbound_new
from _fastpath.limits cimport TABLE_KEPT
from _fastpath.mux cimport ACCEPT_ANY, ACCEPT_FIRST
from _fastpath.muxpipe cimport MuxPipe, Way, stream_open
from _fastpath.probe cimport Probe
from _fastpath.slice cimport Slice, slice_bytes, slice_of
from _fastpath.stream cimport Stream
from _fastpath.streamheader cimport Header, header_bytes, header_number, header_start, header_text
from _fastpath.table cimport Entry, Table
from _fastpath.contexts cimport PROFILE_TUNNEL, TlsContexts
from _fastpath.tls cimport tls_accept

import logging

import msgpack

from _fastpath.errors import WireError

log = logging.getLogger("sekisho.tunnel")

cdef uint64_t _remotes = <uint64_t>1 << 62  # numbers of remote links: never one of a carrier

cdef enum:
    UNMEASURED_US = 20000                  # what a link's round trip counts as until its first pong
    RELAY_PENALTY = 4                      # a relayed stream costs two workers: a local link wins unless 4 x worse


# -- links -----------------------------------------------------------------------------------------


@cython.final
cdef class Link(Carrier):
    cdef int control_message(self, bytes message) except -1:
        self.owner.hooks.message(self, message)
        return 0

    cdef int ended(self) except -1:
        cdef Links owner = self.owner
        self.owner = None
        if owner is not None:
            owner.forget(self)
            owner.hooks.lost(self, self.reason)
        return 0

    def register(self, str tunnel):
        """Let requests for `tunnel` use this link, as soon as it has a table."""
        cdef Links owner = self.owner
        if owner is None or self.tunnel:
            return
        self.tunnel = tunnel.encode()
        owner.local.setdefault(self.tunnel, []).append(self)

    def set_table(self, Table table not None):
        """Match by `table` from here on; requests that chose an entry of the old one are served as it was."""
        if self.table is not None and self.owner is not None:
            self.owner.keep(self.table)
        self.table = table

    def drain(self):
        """Open no new streams here; those that run go on."""
        self.draining = True


@cython.final
cdef class Remote:
    pass


@cython.final
cdef class Sibling(Carrier):
    cdef int control_message(self, bytes message) except -1:
        self.owner.hooks.gossip(self, message)
        return 0

    cdef int accept_stream(self, Stream s) except -1:
        inbound_new(self, s)
        return 0

    cdef int ended(self) except -1:
        cdef Links owner = self.owner
        self.owner = None
        if owner is not None:
            for number in list(self.remotes):
                self.take_away(number, owner)
            owner.siblings.discard(self)
            owner.hooks.sibling_lost(self)
        return 0

    def stream_asked(self, Inbound inbound):
        self.owner.relay(inbound)

    def offer(self, uint64_t there, str tunnel, Table table, uint32_t round_trip, uint32_t streams):
        """Take over what gossip says of one link of the sibling; `table` None leaves the known one."""
        cdef Links owner = self.owner
        cdef Remote remote = self.remotes.get(there)
        global _remotes
        if owner is None:
            return
        if remote is None:
            _remotes += 1
            remote = Remote.__new__(Remote)
            remote.number, remote.there, remote.tunnel, remote.sibling = _remotes, there, tunnel.encode(), self
            remote.way = Way.__new__(Way)
            self.remotes[there] = remote
            owner.numbers[remote.number] = remote
            owner.remote.setdefault(remote.tunnel, []).append(remote)
        if table is not None:
            if remote.table is not None:
                owner.keep(remote.table)
            remote.table = table
        remote.round_trip, remote.streams = round_trip, streams

    def withdraw(self, uint64_t there):
        """Forget one link of the sibling."""
        if self.owner is not None:
            self.take_away(there, self.owner)

    def known(self):
        """Return the numbers that the sibling's links have there."""
        return list(self.remotes)

    cdef int take_away(self, uint64_t there, Links owner) except -1:
        cdef Remote remote = self.remotes.pop(there, None)
        if remote is not None:
            remote.way.closed = True
            owner.keep((remote.table, remote.tunnel))
            del owner.numbers[remote.number]
            found = owner.remote[remote.tunnel]
            found.remove(remote)
            if not found:
                del owner.remote[remote.tunnel]
        return 0


cdef class SiblingPipe(TcpPipe):
    """A Unix socket to a sibling: its Carrier hears from the first byte on."""
    cdef Links owner
    cdef bint client

    def connected(self):
        if not self.owner.hooks.sibling_allowed(self.transport.get_extra_info("socket")):
            self.abort(R_RELAY_REFUSED)
            return
        ready = self.ready
        self.owner.adopt(self, self.client)
        if ready is not None and not ready.done():
            ready.set_result(None)


cdef class LinkPipe(TlsPipe):
    """A TLS listener for connectors alone: what comes out of the handshake is a link."""
    cdef Links owner

    cdef int on_open(self) except -1:
        if self.tls.profile() != PROFILE_TUNNEL:
            return self.abort(R_LINK_ROLE)
        return self.owner.accept(self)


# -- all of them -----------------------------------------------------------------------------------


@cython.final
cdef class Links:
    def __init__(self, loop, hooks):
        self.loop = loop
        self.hooks = hooks
        self.local = {}
        self.remote = {}
        self.numbers = {}
        self.links = set()
        self.siblings = set()
        self.parted = []
        self.relays = []

    # -- links come and go -------------------------------------------------------------------------

    cdef int accept(self, Pipe pipe) except -1:
        cdef Link link = Link.__new__(Link)
        link.loop = self.loop
        link.owner = self
        link.tunnel = b""
        link.start(pipe, False, ACCEPT_FIRST)       # J23: another SYN ends the session
        self.links.add(link)
        self.numbers[link.number] = link
        self.hooks.opened(link)
        return 0

    cdef int forget(self, Link link) except -1:
        self.links.discard(link)
        self.numbers.pop(link.number, None)
        if link.tunnel:
            self.keep((link.table, link.tunnel))       # a request may still point into them
        found = self.local.get(link.tunnel)
        if found is not None and link in found:
            found.remove(link)
            if not found:
                del self.local[link.tunnel]
        return 0

    cdef int keep(self, object thing) except -1:
        """Let slices into `thing` live on for TABLE_KEPT."""
        cdef uint64_t now = now_us()
        while self.parted and self.parted[0][0] <= now:
            del self.parted[0]
        self.parted.append((now + <uint64_t>TABLE_KEPT * 1000, thing))
        return 0

    cdef int adopt(self, Pipe pipe, bint client) except -1:
        cdef Sibling sibling = Sibling.__new__(Sibling)
        sibling.loop = self.loop
        sibling.owner = self
        sibling.remotes = {}
        sibling.start(pipe, client, ACCEPT_ANY)
        self.siblings.add(sibling)
        self.hooks.sibling_opened(sibling, client)
        return 0

    def sibling_pipe(self, bint client):
        """Return (protocol, future) for a Unix connection to a sibling; the future when it is adopted."""
        cdef SiblingPipe pipe = SiblingPipe.__new__(SiblingPipe)
        pipe.loop = self.loop
        pipe.owner = self
        pipe.client = client
        pipe.ready = self.loop.create_future() if client else None
        return pipe, pipe.ready

    def server_pipe(self, TlsContexts contexts not None):
        """Return the protocol of one connection at a listener that is for connectors alone."""
        cdef LinkPipe pipe = LinkPipe.__new__(LinkPipe)
        pipe.loop = self.loop
        pipe.tls = tls_accept(contexts)
        pipe.owner = self
        return pipe

    def probe(self, str tunnel, str host, str path, *, str application="", str session="", uint64_t expiry=0):
        """Return (what resolve() found, a Probe or None)."""
        cdef Service s
        cdef Warrant w
        cdef bytes t = tunnel.encode()
        cdef bytes h = host.encode()
        cdef bytes p = path.encode()
        cdef bytes a = application.encode()
        cdef bytes n = session.encode()
        cdef Probe probe = Probe.__new__(Probe)
        memset(&w, 0, sizeof(Warrant))
        w.application, w.session, w.expiry = text(a), text(n), expiry
        probe.received, probe.lost = bytearray(), ""
        found = self.explain(tunnel, host, path)
        if not self.resolve(text(t), text(h), text(p), &s):
            return found, None
        probe.pipe = self.open(&s, text(h), &w, probe)
        return found, (probe if probe.pipe is not None else None)

    def all(self):
        """Return every link of this worker, accepted or not."""
        return list(self.links)

    def of(self, str tunnel):
        """Return this worker's accepted links of one tunnel."""
        return list(self.local.get(tunnel.encode(), ()))

    def all_siblings(self):
        """Return every sibling that is reached now."""
        return list(self.siblings)

    # -- a request asks ----------------------------------------------------------------------------

    cdef int resolve(self, Slice tunnel, Slice host, Slice path, Service* out) except -1:
        cdef bytes name = slice_bytes(tunnel)
        cdef list links = self.local.get(name)
        cdef list remotes = self.remote.get(name)
        cdef Link link
        cdef Link best = None
        cdef Remote remote
        cdef Remote best_remote = None
        cdef Entry entry
        cdef uint64_t score
        cdef uint64_t least = 0
        cdef bint up = False
        cdef bint crowded = False
        memset(out, 0, sizeof(Service))
        if links is not None:
            for link in links:
                if link.draining or link.lost:
                    continue
                up = True
                if link.table is None:
                    continue
                if link.crowded():
                    crowded = True
                    continue
                score = cost(link.round_trip, link.streams)
                if best is None or score < least:
                    best, least = link, score
        if remotes is not None:
            for remote in remotes:
                if remote.table is None or remote.sibling.lost:
                    continue
                up = True
                score = cost(remote.round_trip, remote.streams) * RELAY_PENALTY
                if (best is None and best_remote is None) or score < least:
                    best, best_remote, least = None, remote, score
        if best is not None:
            entry = best.table.match(host, path)
        elif best_remote is not None:
            entry = best_remote.table.match(host, path)
        elif crowded:
            out.reason = R_TUNNEL_STREAMS
            return 0
        else:
            out.reason = R_TUNNEL_TABLE_UNKNOWN if up else R_TUNNEL_DOWN
            return 0
        if entry is None:
            return self.look_further(links, remotes, host, path, out)
        if best is not None:
            return fill(out, entry, best.table, best.number, best.tunnel, best.round_trip, False)
        return fill(out, entry, best_remote.table, best_remote.number, best_remote.tunnel, best_remote.round_trip, True)

    cdef int look_further(self, list links, list remotes, Slice host, Slice path, Service* out) except -1:
        """The cheapest link's table has nothing for this host and path: the cheapest of those that have, if any has.
        Apart from resolve(), as the links of a tunnel announce one table nearly always."""
        cdef Link link
        cdef Link best = None
        cdef Remote remote
        cdef Remote best_remote = None
        cdef Entry entry
        cdef Entry found = None
        cdef uint64_t score
        cdef uint64_t least = 0
        cdef bint crowded = False
        if links is not None:
            for link in links:
                if link.draining or link.lost or link.table is None:
                    continue
                score = cost(link.round_trip, link.streams)
                if found is not None and score >= least:
                    continue
                entry = link.table.match(host, path)
                if entry is None:
                    continue
                if link.crowded():
                    crowded = True
                    continue
                best, found, least = link, entry, score
        if remotes is not None:
            for remote in remotes:
                if remote.table is None or remote.sibling.lost:
                    continue
                score = cost(remote.round_trip, remote.streams) * RELAY_PENALTY
                if found is not None and score >= least:
                    continue
                entry = remote.table.match(host, path)
                if entry is not None:
                    best, best_remote, found, least = None, remote, entry, score
        if best is not None:
            return fill(out, found, best.table, best.number, best.tunnel, best.round_trip, False)
        if best_remote is not None:
            return fill(out, found, best_remote.table, best_remote.number, best_remote.tunnel, best_remote.round_trip,
                        True)
        out.reason = R_TUNNEL_STREAMS if crowded else R_TUNNEL_SERVICE_MISSING
        return 0

    cdef bytes pool_key(self, const Service* s, Slice host, const Warrant* w):
        cdef uint64_t head[2]
        cdef bytes key
        head[0] = s.link
        head[1] = s.pool
        key = (<const char*>head)[:16]
        if s.match_sni:
            key += slice_bytes(host)
        if s.relayed:
            key += b"\0" + slice_bytes(w.application) + b"\0" + slice_bytes(w.session)
        return key

    cdef Pipe open(self, const Service* s, Slice host, const Warrant* w, Receiver receiver):
        cdef object found = self.numbers.get(s.link)
        cdef Carrier carrier
        cdef Remote remote = None
        cdef MuxPipe pipe
        cdef Header header
        if found is None:
            return None
        header_start(&header)
        header_number(&header, b"version", 7, s.version)
        header_number(&header, b"index", 5, s.index)
        if s.match_sni:
            header_text(&header, b"host", 4, host)
        if w.source.len:
            header_text(&header, b"source", 6, w.source)
        if s.relayed:
            remote = found
            carrier = remote.sibling
            header_number(&header, b"link", 4, remote.there)
            header_number(&header, b"expiry", 6, w.expiry)
            header_text(&header, b"application", 11, w.application)
            header_text(&header, b"session", 7, w.session)
            header_text(&header, b"tunnel", 6, s.tunnel)
        else:
            carrier = found
        if not header.fits:
            return None
        try:
            pipe = stream_open(carrier, header_bytes(&header), receiver)
            if remote is not None:
                pipe.way = remote.way
            return pipe
        except WireError as error:
            log.info("no stream on link %d: %s", carrier.number, error)
            return None

    # -- a sibling asks ----------------------------------------------------------------------------

    def relay(self, Inbound inbound):
        """Open the stream that a sibling's header names on a link of this worker, or refuse it.
        Only local links are looked at: a relayed stream is never relayed again."""
        cdef Link link
        cdef MuxPipe onward
        try:
            values = msgpack.unpackb(inbound.header, raw=False)
            application, session = str(values["application"]), str(values["session"])
            expiry, tunnel = int(values["expiry"]), str(values["tunnel"])
            number, version, index = int(values["link"]), int(values["version"]), int(values["index"])
        except Exception:
            return inbound.refuse("relay-refused", "the relay header is not understood")
        reason = self.hooks.check(application, session, expiry, tunnel)
        if reason:
            return inbound.refuse("relay-refused", reason)
        found = self.numbers.get(number)
        if not isinstance(found, Link) or (<Link>found).tunnel != tunnel.encode():
            return inbound.refuse("tunnel-down", "that link is gone")
        link = found
        header = {"version": version, "index": index}
        for name in ("host", "source"):
            if isinstance(values.get(name), str):
                header[name] = values[name]
        try:
            onward = stream_open(link, msgpack.packb(header), inbound.far)
        except WireError:
            return inbound.refuse("tunnel-streams" if not link.draining else "draining")
        onward.waiting = 0                 # its status byte goes through to who asked
        inbound.far.here = onward
        inbound.transparent = True
        inbound.accept()
        self.relays.append((expiry, application, session, tunnel, inbound))

    def recheck(self, uint64_t now):
        """End the relayed streams whose session ended or was revoked; `now` in unix seconds."""
        kept = []
        for item in self.relays:
            expiry, application, session, tunnel, inbound = item
            if (<Inbound>inbound).gone:
                continue
            if self.hooks.check(application, session, expiry, tunnel):
                (<Inbound>inbound).cut("session-revoked")
            else:
                kept.append(item)
        self.relays = kept

    def relaying(self):
        """Return how many streams of siblings run over links of this worker."""
        self.relays = [item for item in self.relays if not (<Inbound>item[4]).gone]
        return len(self.relays)

    def explain(self, str tunnel, str host, str path):
        """Return what resolve() finds, as a dict: for `tunnel info` and for tests."""
        cdef Service s
        cdef bytes t = tunnel.encode()
        cdef bytes h = host.encode()
        cdef bytes p = path.encode()
        self.resolve(text(t), text(h), text(p), &s)
        return {"kind": s.kind, "status": s.status, "reason": s.reason, "link": s.link, "version": s.version,
                "index": s.index, "relayed": bool(s.relayed), "round_trip": s.round_trip,
                "host_header": slice_bytes(s.host_header), "pool": s.pool}


cdef inline uint64_t cost(uint32_t round_trip, uint32_t streams) noexcept:
    """Lowest latency x fewest streams; half a millisecond is the noise of one machine."""
    return (<uint64_t>(round_trip if round_trip else UNMEASURED_US) + 500) * (streams + 1)


cdef int fill(Service* out, Entry entry, Table table, uint64_t number, bytes tunnel, uint32_t round_trip,
              bint relayed) except -1:
    out.kind = entry.kind
    out.status = entry.status
    out.disable_chunked = entry.disable_chunked
    out.match_sni = entry.match_sni
    out.relayed = relayed
    out.host_header = slice_of(<const uint8_t*><const char*>entry.host_header, len(entry.host_header))
    out.tunnel = slice_of(<const uint8_t*><const char*>tunnel, len(tunnel))
    out.link = number
    # Of one table, not of the link it came over: a relayed one is a link number of its own.
    out.pool = entry.pool
    out.version = table.version
    out.index = entry.index
    out.round_trip = round_trip
    return 1


cdef Slice text(bytes value):
    return slice_of(<const uint8_t*><const char*>value, len(value))
