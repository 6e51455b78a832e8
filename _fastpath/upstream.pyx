"""Targets, pools and connections towards origins; the only file that dials for the data path."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport R_ORIGIN_CONNECT_TIMEOUT, R_ORIGIN_NAME, R_ORIGIN_TLS, R_ORIGIN_UNREACHABLE
from _fastpath.limits cimport MAX_IDLE_PER_TARGET, TRUST_AGE, TRUST_RETRY
from _fastpath.slice cimport slice_bytes
from _fastpath.snapshot cimport (
    ROUTE_NO_TLS_VERIFY, ROUTE_SERVICE, SCHEME_HTTP, SCHEME_HTTPS, SCHEME_UNIX, SCHEME_UNIX_TLS, Route, Snapshot,
)
from _fastpath.tls cimport tls_connect

import asyncio
import logging
import socket

from _fastpath.contexts import TlsClientContext

log = logging.getLogger("sekisho.upstream")


cdef class UpstreamUser(Receiver):
    cdef int up_ready(self, Upstream up) except -1:
        return 0

    cdef int up_data(self, Upstream up, const uint8_t* p, size_t n) except -1:
        return 0

    cdef int up_end(self, Upstream up) except -1:
        return 0

    cdef int up_writable(self, Upstream up) except -1:
        return 0

    cdef int up_lost(self, Upstream up, int reason) except -1:
        return 0


@cython.final
cdef class Upstream(Receiver):
    @staticmethod
    cdef Upstream new(Target target, UpstreamUser user):
        cdef Upstream up = Upstream.__new__(Upstream)
        up.target = target
        up.user = user
        up.replay = None
        target.open += 1
        return up

    # -- the pipe calls us -------------------------------------------------------------------------

    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        if self.user is None:
            # Bytes that nobody asked for: they must never be read as the answer to the next request.
            return self.discard()
        self.heard = True
        return self.user.up_data(self, p, n)

    cdef int on_eof(self, Pipe pipe) except -1:
        if self.user is None:
            return self.discard()
        return self.user.up_end(self)

    cdef int on_writable(self, Pipe pipe) except -1:
        if self.user is not None:
            self.user.up_writable(self)
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        cdef UpstreamUser user = self.user
        self.pipe = None
        self.user = None
        self.target.open -= 1
        if user is None:
            if self in self.target.idle:
                self.target.idle.remove(self)
            return 0
        return user.up_lost(self, reason)

    # -- the user calls us -------------------------------------------------------------------------

    cdef int release(self) except -1:
        self.user = None
        if self.pipe is None or not self.pipe.alive() or self.bound:
            return self.discard()
        return self.target.keep(self)

    cdef int discard(self) except -1:
        self.user = None
        if self in self.target.idle:
            self.target.idle.remove(self)
        if self.pipe is not None:
            self.pipe.abort(0)
        return 0


@cython.final
cdef class Trust:
    def __cinit__(self, anchors, bint verify):
        self.anchors, self.verify = anchors, verify
        self.context, self.since = self.read(), <int64_t>now_us()

    def read(self):
        """Return a new context; the system's anchors are read from its files."""
        return TlsClientContext(trust=self.anchors, verify=self.verify, alpn=("http/1.1",))

    async def current(self):
        """Return the context, read again when it is older than TRUST_AGE: what the system trusts may have changed."""
        if <int64_t>now_us() - self.since >= <int64_t>TRUST_AGE * 1000:
            if self.renewal is None:
                self.renewal = asyncio.create_task(self.renew())
            await asyncio.shield(self.renewal)       # of all who wait: one that gives up doesn't end it
        return self.context

    async def renew(self):
        """Read the anchors in a thread; what was read before stays for TRUST_RETRY when that fails."""
        try:
            self.context = await asyncio.to_thread(self.read)
            self.since = <int64_t>now_us()
        except Exception as error:
            log.warning("trust anchors are not read again: %s", error)
            self.since = <int64_t>now_us() - <int64_t>(TRUST_AGE - TRUST_RETRY) * 1000
        finally:
            self.renewal = None


@cython.final
cdef class Target:
    def __cinit__(self):
        self.idle = []

    @staticmethod
    cdef Target new(object loop, object key, int kind, object host, int port, Trust trust, object server_name):
        cdef Target t = Target.__new__(Target)
        t.loop, t.key, t.kind, t.host, t.port = loop, key, kind, host, port
        t.trust, t.server_name = trust, server_name
        return t

    cdef Upstream take(self):
        cdef Upstream up
        while self.idle:
            up = self.idle.pop()
            if up.pipe is not None and up.pipe.alive():
                up.reused = True
                up.heard = False
                return up
            up.discard()
        return None

    cdef int keep(self, Upstream up) except -1:
        up.since = now_us()
        up.user = None
        if self.gone or len(self.idle) >= MAX_IDLE_PER_TARGET:
            return up.discard()
        up.pipe.resume()
        self.idle.append(up)
        if self.kind == TARGET_STREAM:
            up.pipe.rest()                # a link has only so many streams: there it may be closed to make room
        return 0

    cdef Upstream dial(self, UpstreamUser user, uint64_t timeout):
        cdef Upstream up = Upstream.new(self, user)
        self.loop.create_task(self.connect(up, timeout / 1e6 if timeout else None))
        return up

    async def connect(self, Upstream up, timeout):
        """Dial, and tell the user how it ended. Runs beside the requests; never on the way of a pooled one."""
        cdef TcpPipe pipe
        cdef TlsPipe secure
        cdef UpstreamUser user
        pipe = None
        try:
            # Whoever waits has its own time-out; this one ends the dial itself, TLS included.
            async with asyncio.timeout(timeout):
                if self.trust is not None:
                    secure = TlsPipe.__new__(TlsPipe)
                    secure.tls = tls_connect(await self.trust.current(), self.server_name)
                    pipe = secure
                else:
                    pipe = TcpPipe.__new__(TcpPipe)
                pipe.loop = self.loop
                pipe.ready = self.loop.create_future()
                if self.kind == TARGET_UNIX or self.kind == TARGET_UNIX_TLS:
                    await self.loop.create_unix_connection(lambda: pipe, self.host)
                else:
                    await self.loop.create_connection(lambda: pipe, self.host, self.port)
                await pipe.ready
            pipe.ready = None                 # its result is the pipe: a cycle
            if not pipe.alive():
                raise ConnectionResetError("closed as soon as it was open")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if pipe is not None:
                pipe.ready = None
                pipe.receiver = None
                pipe.abort(0)
            up.why = why_not(error, self.kind)
            user = up.user
            up.user = None
            self.open -= 1
            if user is not None:
                user.up_lost(up, up.why)
            return
        if up.user is None:               # given up while we dialled
            self.open -= 1
            pipe.receiver = None
            pipe.close()
            return
        up.pipe = pipe
        pipe.receiver = up
        up.connected = True
        try:
            up.user.up_ready(up)
        except Exception:
            pipe.fail()

    cdef int expire(self, uint64_t before) except -1:
        """Close what has been idle since before `before`; the oldest stand first."""
        cdef Upstream up
        while self.idle:
            up = self.idle[0]
            if up.since >= before and up.pipe is not None and up.pipe.alive():
                break
            up.discard()
        return 0


cdef int why_not(object error, int kind):
    if isinstance(error, socket.gaierror):
        return R_ORIGIN_NAME
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return R_ORIGIN_CONNECT_TIMEOUT
    if ((kind == TARGET_TLS or kind == TARGET_UNIX_TLS) and isinstance(error, ConnectionError)
            and not isinstance(error, ConnectionRefusedError)):
        return R_ORIGIN_TLS
    return R_ORIGIN_UNREACHABLE


@cython.final
cdef class Upstreams:
    def __cinit__(self, loop):
        self.loop = loop
        self.targets = {}
        self.trusts = {}
        self.named = set()
        self.control = None

    def set_control(self, path):
        """Name the Unix socket of the control process."""
        self.control = Target.new(self.loop, ("control", path), TARGET_UNIX, path, 0, None, None)
        self.targets[("control", path)] = self.control

    cdef Target target(self, object key, object make):
        cdef Target t = self.targets.get(key)
        if t is None:
            kind, host, port, trust, server_name = make()
            t = self.targets[key] = Target.new(self.loop, key, kind, host, port, trust, server_name)
        return t

    cdef Target streams(self, bytes key):
        """The pool of one (link, table version, service); made when first asked for, gone when idle for long."""
        cdef Target t = self.targets.get(key)
        if t is None:
            t = self.targets[key] = Target.new(self.loop, key, TARGET_STREAM, None, 0, None, None)
        return t

    cdef Upstream stream(self, bytes key, Pipe pipe, UpstreamUser user):
        cdef Upstream up = Upstream.new(self.streams(key), user)
        up.pipe = pipe
        up.connected = True
        return up

    cdef int tick(self, uint64_t idle) except -1:
        cdef uint64_t now = now_us()
        cdef uint64_t before = now - idle if idle < now else 0
        cdef Target t
        cdef bint named
        cdef bint dropped = False
        for key, target in list(self.targets.items()):
            t = target
            named = t is self.control or (t.key in self.named)
            # a pool of streams comes and goes with its use
            t.expire(before if named or t.kind == TARGET_STREAM else now)
            if not named and not t.idle and t.open == 0:
                t.gone = True
                del self.targets[key]
                dropped = dropped or t.trust is not None
        if dropped:
            used = {(<Target>target).trust for target in self.targets.values()}
            self.trusts = {key: trust for key, trust in self.trusts.items() if trust in used}
        return 0

    cdef int lead_to(self, list targets) except -1:
        self.named = {(<Target>target).key for target in targets if target is not None}
        return 0

    cdef list targets_of(self, Snapshot snapshot):
        cdef uint32_t i
        cdef const Route* r
        targets = []
        for i in range(snapshot.n_routes):
            r = &snapshot.routes[i]
            targets.append(self.target_of(snapshot, r) if r.kind == ROUTE_SERVICE else None)
        return targets

    cdef Target target_of(self, Snapshot snapshot, const Route* r):
        """The pool of a directly dialled service; two routes to one place under one set of options share it."""
        cdef bytes host = slice_bytes(r.host)
        cdef bytes path = slice_bytes(r.path)
        # the name that the origin's certificate must have; a Unix socket has none of its own
        cdef bytes name = slice_bytes(r.server_name) or host or b"localhost"
        anchors = snapshot.settings.get("route_anchors", {}).get(r.index)
        verify = not r.flags & ROUTE_NO_TLS_VERIFY
        if r.scheme == SCHEME_HTTP:
            key = ("tcp", host, r.port)
            return self.target(key, lambda: (TARGET_TCP, host.decode(), key[2], None, None))
        if r.scheme == SCHEME_UNIX:
            key = ("unix", path)
            return self.target(key, lambda: (TARGET_UNIX, path.decode(), 0, None, None))
        if r.scheme == SCHEME_HTTPS:
            key = ("tls", host, r.port, name, verify, anchors)
            return self.target(key, lambda: (
                TARGET_TLS, host.decode(), key[2], self.trust(anchors, verify), name))
        if r.scheme == SCHEME_UNIX_TLS:
            key = ("unix+tls", path, name, verify, anchors)
            return self.target(key, lambda: (
                TARGET_UNIX_TLS, path.decode(), 0, self.trust(anchors, verify), name))
        return None

    cdef Trust trust(self, object anchors, bint verify):
        cdef Trust trust = self.trusts.get((anchors, verify))
        if trust is None:
            trust = self.trusts[(anchors, verify)] = Trust(anchors, verify)
        return trust

    def known(self):
        """Return the keys of all targets, and how many sets of trust anchors are kept for them."""
        return list(self.targets), len(self.trusts)

    def age(self, int64_t milliseconds):
        """Make all trust anchors so much older: for tests."""
        cdef Trust trust
        for trust in self.trusts.values():
            trust.since -= milliseconds * 1000
