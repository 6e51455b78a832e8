"""New connections: who may come, behind which balancer, TLS first; then they are served."""

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.checkpoint cimport LISTEN_PLAIN, LISTEN_TLS, Arrival, Checkpoint
from _fastpath.contexts cimport PROFILE_TUNNEL
from _fastpath.downstream cimport Core, later
from _fastpath.endpoint cimport TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport *
from _fastpath.limits cimport MAX_HEAD, READ_BUFFER
from _fastpath.preface cimport proxy_header
from _fastpath.serve cimport Serving
from _fastpath.slice cimport Slice, slice_bytes

import ipaddress
from socket import AF_INET6, inet_pton

cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"       # ::ffff:0:0/96: IPv4 at a socket of both
cdef bytes PLAIN_HERE = (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                         b"Content-Type: text/plain\r\nContent-Length: 50\r\n\r\n"
                         b"This port speaks TLS: its address begins https://\n")


@cython.final
cdef class PlainServerPipe(TcpPipe):
    def connected(self):
        self.deadline = later(now_us(), self.core.checkpoint.live.head_timeout)
        self.address = None
        if self.preface:
            self.core.handshakes.add(self)   # until the header is here: tick() looks at those
        if trusted_peer(self.core, self):    # a balancer is everybody: its clients are counted, not it
            pass
        elif self.preface:
            self.abort(R_PROXY_HEADER_INVALID)
            return
        else:
            self.address = address_of(self)
            if not enter(self.core, self.address):
                self.address = None
                self.abort(R_CLIENT_CONNECTIONS)
                return
        if not self.preface:
            greet(self.core, self, self.kind, b"", None)

    cdef int incoming(self, const uint8_t* p, size_t n) except -1:
        cdef size_t used
        if self.preface:
            used = read_preface(self, p, n)
            if self.preface or self.closing:
                return 0
            self.core.handshakes.discard(self)
            greet(self.core, self, self.kind, b"", self.client)
            return after_preface(self, used)
        return TcpPipe.incoming(self, p, n)

    def dropped(self):
        self.core.handshakes.discard(self)
        TcpPipe.dropped(self)
        leave(self.core, self.address)


@cython.final
cdef class TlsServerPipe(TlsPipe):
    def connected(self):
        self.deadline = later(now_us(), self.core.checkpoint.live.handshake_timeout)
        self.core.handshakes.add(self)
        self.address = None
        if trusted_peer(self.core, self):
            return
        if self.preface:
            self.abort(R_PROXY_HEADER_INVALID)
            return
        self.address = address_of(self)
        if not enter(self.core, self.address):
            self.address = None
            self.abort(R_CLIENT_CONNECTIONS)

    cdef int incoming(self, const uint8_t* p, size_t n) except -1:
        if self.preface:
            read_preface(self, p, n)
            if self.preface or self.closing:
                return 0
            return after_preface(self, 0)
        return TlsPipe.incoming(self, p, n)

    cdef int on_open(self) except -1:
        self.core.handshakes.discard(self)
        if self.tls.profile() == PROFILE_TUNNEL:
            if self.core.links is None:
                return self.abort(R_LINK_REFUSED)
            return self.core.links.accept(self)
        return greet(self.core, self, LISTEN_TLS, slice_bytes(self.tls.server_name()), self.client)

    def handshake_failed(self):
        self.core.checkpoint.counters.handshakes_failed += 1
        if self.tls.plain:                   # somebody speaks HTTP here: say so in his own words (I09)
            self.outgoing(PLAIN_HERE, len(PLAIN_HERE))
        TlsPipe.handshake_failed(self)

    def dropped(self):
        self.core.handshakes.discard(self)
        TlsPipe.dropped(self)
        leave(self.core, self.address)


cdef int greet(Core core, TcpPipe pipe, int kind, bytes sni, object client) except -1:
    """A connection is ready for its first head: make what it knows of itself, and listen."""
    cdef Checkpoint cp = core.checkpoint
    cdef Arrival arrival
    peer = pipe.peer_address()
    address = client if client is not None else (peer[0] if peer is not None else "127.0.0.1")
    trusted = False
    if kind == LISTEN_PLAIN and peer is not None:
        trusted = cp.live.trusts(ipaddress.ip_address(peer[0]))
        if not trusted and not core.proxied_demo:
            return pipe.abort(R_HTTPS_REQUIRED)
    arrival = Arrival.new(kind, address, sni, trusted, kind == LISTEN_TLS or core.proxied_demo or trusted)
    Serving.new(core, pipe, arrival)
    return 0


cdef bint trusted_peer(Core core, TcpPipe pipe):
    peer = pipe.peer_address()
    return peer is not None and bool(core.checkpoint.live.trusted) and core.checkpoint.live.trusts(
        ipaddress.ip_address(peer[0].partition("%")[0]))


cdef bytes address_of(TcpPipe pipe):
    peer = pipe.peer_address()
    return counted(peer[0]) if peer is not None else b""


cdef bytes counted(str address):
    """As whom a client's connections are counted: an IPv6 client as its /64, as one client has all addresses of it."""
    cdef bytes packed
    if ":" not in address:
        return address.encode()
    packed = inet_pton(AF_INET6, address.partition("%")[0])
    return packed if packed.startswith(MAPPED) else packed[:8] + b"/64"


# -- PROXY headers -----------------------------------------------------------------------------------


cdef size_t read_preface(object pipe, const uint8_t* p, size_t n) except? 0:
    """Collect a PROXY header (v1, v2); what is not one, or comes from a stranger, closes the connection (C11)."""
    cdef PlainServerPipe plain
    cdef TlsServerPipe secure
    cdef Buffer early
    cdef Core core
    cdef Slice s
    cdef int rc
    cdef uint8_t ip[16]
    cdef bint local = False
    cdef TcpPipe tcp = pipe
    if isinstance(pipe, PlainServerPipe):
        plain = pipe
        core = plain.core
        if plain.early is None:
            plain.early = buffer_new(MAX_HEAD + READ_BUFFER)
        early = plain.early
    else:
        secure = pipe
        core = secure.core
        if secure.early is None:
            secure.early = buffer_new(MAX_HEAD + READ_BUFFER)
        early = secure.early
    peer = tcp.peer_address()
    if peer is None or not core.checkpoint.live.trusts(ipaddress.ip_address(peer[0])):
        tcp.abort(R_PROXY_HEADER_INVALID)
        return 0
    early.append(p, n)
    s = early.view()
    rc = proxy_header(s.ptr, s.len, ip, &local)
    if rc < 0:
        tcp.abort(wire_reason(rc))
        return 0
    if rc == 0:
        return 0
    early.consume(rc)
    client = address = None
    if not local:
        client = str(ipaddress.ip_address(<bytes>ip[:16]))
        address = counted(client)
        if not enter(core, address):
            tcp.abort(R_CLIENT_CONNECTIONS)
            return 0
    if isinstance(pipe, PlainServerPipe):
        plain.preface = False
        plain.client = client
        plain.address = address
    else:
        secure.preface = False
        secure.client = client
        secure.address = address
    return rc


cdef int after_preface(object pipe, size_t used) except -1:
    """What came behind the header, to whom it is for."""
    cdef Buffer early
    cdef TcpPipe tcp = pipe
    cdef Slice s
    if isinstance(pipe, PlainServerPipe):
        early = (<PlainServerPipe>pipe).early
        (<PlainServerPipe>pipe).early = None
    else:
        early = (<TlsServerPipe>pipe).early
        (<TlsServerPipe>pipe).early = None
    s = early.view()
    if s.len:
        tcp.incoming(s.ptr, s.len)
    return 0


# -- how many, and for how long ----------------------------------------------------------------------


cdef int enter(Core core, bytes address) except -1:
    """Count a connection of this address; 0 = it has too many."""
    cdef Checkpoint cp = core.checkpoint
    n = core.addresses.get(address, 0)
    cp.counters.accepted += 1
    if n >= cp.live.connections_per_address and cp.live.connections_per_address:
        return 0
    core.addresses[address] = n + 1
    return 1


cdef int leave(Core core, bytes address) except -1:
    if address is None:
        return 0
    n = core.addresses.get(address, 0)
    if n <= 1:
        core.addresses.pop(address, None)
    else:
        core.addresses[address] = n - 1
    return 0


cdef int end_handshakes(Core core, uint64_t now) except -1:
    """End what has taken too long to become a connection."""
    cdef uint64_t due
    for pipe in list(core.handshakes):
        due = (<TlsServerPipe>pipe).deadline if isinstance(pipe, TlsServerPipe) else (<PlainServerPipe>pipe).deadline
        if now >= due:
            core.checkpoint.counters.time_outs += 1
            (<TcpPipe>pipe).abort(R_HANDSHAKE_TIMEOUT)
    return 0
