"""The edge's side of tunnels: service tables, connectors' links, sibling workers, and the choice among them."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from _fastpath.carrier cimport (
    Carrier, Inbound, MuxPipe, Way, inbound_new, stream_open,
)
from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport (
    R_LINK_ROLE, R_RELAY_REFUSED, R_STREAM_RESET, R_TUNNEL_DOWN, R_TUNNEL_SERVICE_MISSING, R_TUNNEL_TABLE_UNKNOWN,
)
from _fastpath.limits cimport MAX_HOSTS_CACHED, MAX_TABLE_ENTRIES, MAX_TABLE_PATHS, TABLE_KEPT
from _fastpath.mux cimport ACCEPT_ANY, ACCEPT_FIRST
from _fastpath.slice cimport Slice, slice_bytes, slice_of
from _fastpath.stream cimport Stream
from _fastpath.tls cimport PROFILE_TUNNEL, TlsContexts, tls_accept

import asyncio
import logging

import msgpack
import re2

from _fastpath.errors import WireError, reason_of

log = logging.getLogger("sekisho.tunnel")

cdef uint64_t _pools = 0                   # of (link, table version, index) in this process
cdef uint64_t _remotes = <uint64_t>1 << 62  # numbers of remote links: never one of a carrier

cdef frozenset HTTP_SCHEMES = frozenset((b"http", b"https", b"ws", b"wss", b"unix", b"unix+tls"))
cdef enum:
    UNMEASURED_US = 20000                  # what a link's round trip counts as until its first pong
    RELAY_PENALTY = 4                      # a relayed stream costs two workers: a local link wins unless 4 x worse


class TableError(ValueError):
    """A service table that can't be used; says which entry and why. The connector's fault."""


# -- service tables --------------------------------------------------------------------------------


@cython.final
cdef class Entry:
    @staticmethod
    cdef Entry new(object values, int position):
        cdef Entry e = Entry.__new__(Entry)
        global _pools
        options = values.get("options", {})
        if not isinstance(options, dict):
            raise TableError(f"entry {position}: options is not a map")
        e.index = field(values, "index", int, position, position)
        e.hostname = field(values, "hostname", str, position, "").encode().lower()
        e.path = field(values, "path", str, position, "").encode()
        e.service = field(values, "service", str, position, "").encode()
        e.host_header = field(options, "httpHostHeader", str, position, "").encode()
        e.disable_chunked = field(options, "disableChunkedEncoding", bool, position, False)
        e.match_sni = field(options, "matchSNItoHost", bool, position, False)
        # These are shown to people and written into logs: nothing that a terminal obeys gets in.
        for name, value, most in (("hostname", e.hostname, 253), ("service", e.service, 512),
                                  ("httpHostHeader", e.host_header, 255)):
            if len(value) > most or any(c <= 32 or c >= 127 for c in value):
                raise TableError(f"entry {position}: {name} has a byte that it can't have, or is over {most} long")
        if len(e.path) > 1024 or any(c < 32 or c == 127 for c in e.path):
            raise TableError(f"entry {position}: path has a control byte, or is over 1024 long")
        scheme, colon, rest = e.service.partition(b":")
        if e.service == b"hello_world":
            e.kind = SERVICE_HELLO
        elif scheme == b"http_status":
            if not (rest.isdigit() and len(rest) == 3 and 100 <= int(rest) <= 999):
                raise TableError(f"entry {position}: http_status takes 100 to 999")
            e.kind = SERVICE_STATUS
            e.status = int(rest)
        elif not colon:
            raise TableError(f"entry {position}: no such service: {e.service.decode()!r}")
        else:
            e.kind = SERVICE_HTTP if scheme in HTTP_SCHEMES else SERVICE_TCP
        _pools += 1
        e.pool = _pools
        return e

    cdef bint takes(self, bytes host):
        if not self.hostname:
            return True
        if self.hostname.startswith(b"*."):
            return host.endswith(self.hostname[1:]) and len(host) > len(self.hostname) - 1
        return host == self.hostname


cdef object field(object values, str name, type kind, int position, object default):
    value = values.get(name, default)
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or not 0 <= value < 1 << 31)):
        raise TableError(f"entry {position}: {name} has the wrong type")
    return value


@cython.final
cdef class Rules:
    cdef Entry match(self, Slice path):
        if self.patterns is not None:
            found = self.patterns.Match(slice_bytes(path))
            if found:
                return self.patterned[min(found)]
        return self.plain


@cython.final
cdef class Table:
    def __init__(self, uint32_t version, entries):
        """Build from a `table` message, or raise TableError; the old table then stays."""
        if len(entries) > MAX_TABLE_ENTRIES:
            raise TableError(f"more than {MAX_TABLE_ENTRIES} entries")
        self.version = version
        self.hosts = {}
        self.entries = [Entry.new(values, position) for position, values in enumerate(entries)]
        if len({(<Entry>one).index for one in self.entries}) != len(self.entries):
            raise TableError("two entries have one index")
        paths = [(<Entry>one).path for one in self.entries if (<Entry>one).path]
        if len(paths) > MAX_TABLE_PATHS:
            raise TableError(f"more than {MAX_TABLE_PATHS} entries have a path")
        for path in paths:
            pattern_set([path])            # a bad pattern is said now, not at the first request

    cdef Entry match(self, Slice host, Slice path):
        cdef bytes name = slice_bytes(host)
        cdef Rules rules = self.hosts.get(name)
        if rules is None:
            rules = self.rules_of(name)
        return rules.match(path)

    cdef Rules rules_of(self, bytes host):
        cdef Rules rules = Rules.__new__(Rules)
        cdef Entry entry
        rules.patterned = []
        for entry in self.entries:
            if entry.takes(host):
                if not entry.path:
                    rules.plain = entry
                    break
                rules.patterned.append(entry)
        if rules.patterned:
            rules.patterns = pattern_set([(<Entry>one).path for one in rules.patterned])
        if len(self.hosts) >= MAX_HOSTS_CACHED:
            self.hosts.clear()             # a wildcard route: any name may come
        self.hosts[host] = rules
        return rules

    def find(self, str host, str path):
        """Return the entry that takes a request, None when none does: what resolve() asks."""
        cdef bytes h = host.encode()
        cdef bytes p = path.encode()
        return self.match(slice_of(<const uint8_t*><const char*>h, len(h)),
                          slice_of(<const uint8_t*><const char*>p, len(p)))


def pattern_set(list patterns):
    """Return an unanchored re2.Set over `patterns` (bytes); raise TableError for one that re2 can't take."""
    options = re2.Options()
    options.log_errors = False
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        try:
            number = found.Add(pattern)
        except Exception:
            number = -1
        if number < 0:
            raise TableError(f"path pattern {pattern.decode(errors='replace')!r} is not understood")
    found.Compile()
    return found


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


cdef class Probe(Receiver):
    """A stream opened from Python: what tests (and a link check) send requests through."""
    cdef Pipe pipe
    cdef readonly bytearray received
    cdef readonly uint64_t count
    cdef readonly bint ended
    cdef readonly object lost                 # reason; "" while the stream lives
    cdef object waiter

    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        self.received += p[:n]
        self.count += n
        self.wake()
        return 0

    cdef int on_eof(self, Pipe pipe) except -1:
        self.ended = True
        self.wake()
        return 0

    cdef int on_writable(self, Pipe pipe) except -1:
        self.wake()
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        self.lost = reason_of(reason) if reason else "closed"
        self.pipe = None
        self.wake()
        return 0

    def wake(self):
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def until(self, condition):
        """Wait until condition(self) is true, or the stream ended or was lost."""
        while not (condition(self) or self.ended or self.lost):
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        return bytes(self.received)

    def write(self, bytes data):
        if self.pipe is not None:
            self.pipe.write(<const uint8_t*><const char*>data, len(data))

    def full(self):
        return self.pipe is not None and self.pipe.full()

    def end(self):
        if self.pipe is not None:
            self.pipe.end()

    def abort(self):
        if self.pipe is not None:
            self.pipe.abort(R_STREAM_RESET)

    def pause(self):
        self.pipe.pause()

    def resume(self):
        self.pipe.resume()


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
        cdef uint64_t score
        cdef uint64_t least = 0
        cdef bint up = False
        memset(out, 0, sizeof(Service))
        if links is not None:
            for link in links:
                if link.draining or link.lost:
                    continue
                up = True
                if link.table is None:
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
            return self.fill(out, best.table, host, path, best.number, best.tunnel, best.round_trip, False)
        if best_remote is not None:
            return self.fill(out, best_remote.table, host, path, best_remote.number, best_remote.tunnel,
                             best_remote.round_trip, True)
        out.reason = R_TUNNEL_TABLE_UNKNOWN if up else R_TUNNEL_DOWN
        return 0

    cdef int fill(self, Service* out, Table table, Slice host, Slice path, uint64_t number, bytes tunnel,
                  uint32_t round_trip, bint relayed) except -1:
        cdef Entry entry = table.match(host, path)
        if entry is None:
            out.reason = R_TUNNEL_SERVICE_MISSING
            return 0
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


cdef Slice text(bytes value):
    return slice_of(<const uint8_t*><const char*>value, len(value))


# -- the stream header, a msgpack map written without Python objects -------------------------------


cdef enum:
    HEADER_ROOM = 1024


cdef struct Header:
    uint8_t bytes[1024]
    size_t n
    bint fits


cdef void header_start(Header* h) noexcept nogil:
    h.n = 1                                # the map's size comes last
    h.bytes[0] = 0x80
    h.fits = True


cdef void header_name(Header* h, const char* name, size_t n) noexcept nogil:
    h.bytes[0] += 1
    h.bytes[h.n] = <uint8_t>(0xa0 | n)
    memcpy(&h.bytes[h.n + 1], name, n)
    h.n += 1 + n


cdef void header_number(Header* h, const char* name, size_t n, uint64_t value) noexcept nogil:
    cdef int i
    if h.n + n + 10 > HEADER_ROOM:
        h.fits = False
        return
    header_name(h, name, n)
    if value < 128:
        h.bytes[h.n] = <uint8_t>value
        h.n += 1
        return
    h.bytes[h.n] = 0xcf
    for i in range(8):
        h.bytes[h.n + 1 + i] = <uint8_t>((value >> (56 - 8 * i)) & 255)
    h.n += 9


cdef void header_text(Header* h, const char* name, size_t n, Slice value) noexcept nogil:
    if value.len > 65535 or h.n + n + value.len + 4 > HEADER_ROOM:
        h.fits = False
        return
    header_name(h, name, n)
    h.bytes[h.n] = 0xda
    h.bytes[h.n + 1] = <uint8_t>(value.len >> 8)
    h.bytes[h.n + 2] = <uint8_t>(value.len & 255)
    if value.len:
        memcpy(&h.bytes[h.n + 3], value.ptr, value.len)
    h.n += 3 + value.len


cdef bytes header_bytes(const Header* h):
    return h.bytes[:h.n]
