"""A client connection (HTTP/1.1) from accept to close, and the core that holds a worker's connections."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from _fastpath.accesslog cimport (
    LOG_ABORTED, LOG_HOST, LOG_PATH, LOG_RETRIED, LOG_TUNNEL, LOG_UPGRADED, log_text,
)
from _fastpath.answers cimport answer
from _fastpath.body cimport BODY_DONE, BODY_MORE, body_done, body_feed, body_start, chunk_head
from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.checkpoint cimport LISTEN_PLAIN, LISTEN_REDIRECT, LISTEN_TLS, Arrival, Checkpoint, Live
from _fastpath.endpoint cimport Pipe, TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_ANSWER, STEP_CONTROL, STEP_RELAY, STEP_WAIT, Exchange
from _fastpath.head cimport *
from _fastpath.hints cimport asks_for_binding, binds_connection, may_repeat
from _fastpath.http1 cimport head_worth_parsing, request_parse, response_parse
from _fastpath.judge cimport judge, place_request
from _fastpath.limits cimport (
    MAX_DRAIN, MAX_HEAD, MAX_INFORMATIONAL, MAX_LINGER, MAX_PIPELINE, READ_BUFFER, TIMEOUT_FACTS, TIMEOUT_LINGER,
)
from _fastpath.out cimport Out, put, put_bytes, put_slice
from _fastpath.preface cimport proxy_header
from _fastpath.relay cimport close_frame, frames_boundary, frames_feed
from _fastpath.rewrite cimport request_head, response_head
from _fastpath.slice cimport Slice, slice_bytes, slice_of
from _fastpath.snapshot cimport (
    ROUTE_NO_CHUNKED, ROUTE_NO_TLS_VERIFY, ROUTE_SERVICE, ROUTE_TUNNEL, SCHEME_HELLO, SCHEME_HTTP, SCHEME_HTTPS,
    SCHEME_STATUS, SCHEME_UNIX, SCHEME_UNIX_TLS, Route, Snapshot,
)
from _fastpath.contexts cimport PROFILE_TUNNEL, TlsContexts
from _fastpath.tls cimport tls_accept
from _fastpath.revocations cimport Revocations
from _fastpath.token cimport TokenCache
from _fastpath.tunnel cimport SERVICE_HELLO, SERVICE_HTTP, SERVICE_NONE, SERVICE_STATUS, Service, Warrant
from _fastpath.upstream cimport (
    TARGET_TCP, TARGET_TLS, TARGET_UNIX, Target, Upstream, Upstreams, UpstreamUser,
)
from _fastpath.watch cimport rejudge, still_allowed

import http
import ipaddress
import logging

from _fastpath.facts import FactSet as PythonFactSet
from _fastpath.contexts import TlsClientContext

log = logging.getLogger("sekisho.worker")

cdef enum:
    TICK = 500               # milliseconds between two looks at time-outs and open streams
    PIECE = 131072           # bytes gathered before they are sent
    QUIET = 2000000          # microseconds without a request after which idle buffers are given back

cdef bytes PLAIN_HERE = (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                         b"Content-Type: text/plain\r\nContent-Length: 50\r\n\r\n"
                         b"This port speaks TLS: its address begins https://\n")
cdef const uint8_t* CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


cdef inline uint64_t later(uint64_t now, uint64_t duration) noexcept nogil:
    return now + duration if duration else 0


cdef inline Out out_of(WorkerCore core) noexcept:
    cdef Out o
    o.ptr = core.out_block
    o.len = 0
    o.room = core.out_room
    o.over = False
    return o


@cython.final
cdef class Downstream(UpstreamUser):
    @staticmethod
    cdef Downstream new(WorkerCore core, Pipe pipe, Arrival arrival):
        cdef Downstream d = Downstream.__new__(Downstream)
        d.core, d.pipe, d.arrival = core, pipe, arrival
        d.state = D_HEAD
        d.keep = True
        d.deadline = later(now_us(), core.checkpoint.live.head_timeout)
        pipe.receiver = d
        core.connections.add(d)
        return d

    # -- bytes from the client ---------------------------------------------------------------------

    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        cdef size_t used = 0, before
        cdef Slice waiting
        cdef Out o
        if self.state == D_UPGRADED:
            self.x.record.bytes_in += n
            if self.up is not None:
                self.up.pipe.write(p, n)
                if self.state != D_UPGRADED:     # a stream may end inside write
                    return 0
                if self.up.pipe.full():
                    pipe.pause()
            self.deadline = later(now_us(), self.x.live.upgrade_timeout)
            return 0
        if self.state == D_LINGER or self.state == D_CLOSED:
            self.lingered += n
            if self.lingered > MAX_LINGER:
                pipe.abort(0)
            return 0
        self.quiet = False
        if self.pending is None or self.pending.size() == 0:
            if self.state == D_HEAD:
                used = self.read_heads(p, n)
            elif self.state == D_RELAY and not self.request_done:
                o = out_of(self.core)
                used = self.read_body(p, n, &o)
            if used < n and self.state != D_CLOSED and self.state != D_LINGER:
                self.hold(p + used, n - used)
        else:
            before = self.pending.size()
            self.hold(p, n)
            waiting = self.pending.view()
            # a head that trickles in is parsed once a line, not once a byte
            if (self.state != D_HEAD or self.head_since == 0
                    or head_worth_parsing(waiting.ptr, waiting.len, before)):
                self.run_pending()
        return 0

    cdef int hold(self, const uint8_t* p, size_t n) except -1:
        """Keep what can't be used now; when that is much, stop reading until it can."""
        if self.pending is None:
            self.pending = buffer_new(MAX_PIPELINE + MAX_HEAD + READ_BUFFER)
        self.pending.append(p, n)
        if self.pipe.full() or (self.pending.size() > MAX_PIPELINE and self.state != D_HEAD):
            self.pipe.pause()
        return 0

    cdef int run_pending(self) except -1:
        cdef Slice s
        cdef size_t used
        cdef Out o
        while self.pending is not None and self.pending.size():
            s = self.pending.view()
            if self.state == D_HEAD:
                used = self.read_heads(s.ptr, s.len)
            elif self.state == D_RELAY and not self.request_done:
                o = out_of(self.core)
                used = self.read_body(s.ptr, s.len, &o)
            else:
                break
            self.pending.consume(used)
            if used == 0:
                break
        if self.state == D_LINGER or self.state == D_CLOSED:
            if self.pending is not None:
                self.pending.clear()
        elif self.pending is None or self.pending.size() <= MAX_PIPELINE or self.state == D_HEAD:
            if self.pipe.full() and self.state == D_HEAD:
                self.pipe.pause()
            elif self.up is None or self.up.pipe is None or not self.up.pipe.full():
                self.pipe.resume()
        else:
            self.pipe.pause()
        return 0

    cdef size_t read_heads(self, const uint8_t* p, size_t n) except? 0:
        """Serve what requests are whole in these bytes; returns how many were used. One that must wait keeps its."""
        cdef size_t off = 0, used
        cdef int rc
        while self.state == D_HEAD and off < n and not self.pipe.full():     # who reads nothing is answered no more
            rc = request_parse(p + off, n - off, &self.core.head)
            if rc == 0 and n - off > self.core.checkpoint.live.max_head:
                self.refuse(R_HEAD_TOO_LARGE)
                return n
            if rc == 0:
                if self.head_since == 0:
                    self.head_since = now_us()
                    self.deadline = later(self.head_since, self.core.checkpoint.live.head_timeout)
                break
            if rc < 0:
                self.refuse(wire_reason(rc))
                return n
            if <size_t>rc > self.core.checkpoint.live.max_head:
                self.refuse(R_HEAD_TOO_LARGE)
                return n
            used = self.begin(p + off, rc, n - off)
            if used == 0:
                break
            off += used
        return off

    cdef size_t begin(self, const uint8_t* p, size_t head, size_t n) except? 0:
        """A whole head is here: judge, then answer or relay. Returns the bytes used, body included; 0 = not yet."""
        cdef Head* h = &self.core.head
        cdef int reason
        self.head_since = 0
        if self.x is None:
            self.x = self.core.take_exchange()
            self.x.start(self.arrival)
            self.informational = 0
            self.response_begun = self.response_done = self.excess = self.retried = False
            self.host_header = None
        self.keep = h.keep_alive and not self.core.draining and not self.client_ended
        body_start(&self.request_body, h.framing, h.length)
        self.request_done = body_done(&self.request_body)
        if self.up is not None:              # the connection we waited for; host and path were overwritten meanwhile
            place_request(self.x, h)
            if self.step == STEP_RELAY:      # the dial took its time: what let this request pass may be gone
                reason = still_allowed(self.x)
                if reason:
                    self.drop_upstream(False)
                    answer(self.x, reason)
                    return self.answer_now(p, head, n)
            return self.send_request(p, head, n)
        self.step = judge(self.x, h)
        if self.step == STEP_WAIT:
            self.state = D_WAIT
            self.deadline = now_us() + <uint64_t>(TIMEOUT_FACTS + 1000) * 1000
            self.core.checkpoint.waiting.append(self)
            self.core.run_waiting()
            return 0
        if self.step == STEP_ANSWER:
            return self.answer_now(p, head, n)
        if self.choose(False) == 0:
            return self.answer_now(p, head, n)
        if self.state == D_CONNECT:
            return 0
        return self.send_request(p, head, n)

    # -- answers of our own ------------------------------------------------------------------------

    cdef size_t answer_now(self, const uint8_t* p, size_t head, size_t n) except? 0:
        """Answer without an origin. A body that is here whole is dropped; one that is not ends the connection (A36)."""
        cdef size_t off = head, used
        cdef Slice data
        cdef int rc = BODY_MORE
        if not self.request_done:
            while off < n and off - head < MAX_DRAIN:
                used = 0
                rc = body_feed(&self.request_body, p + off, n - off, &data, &used)
                off += used
                if rc != BODY_MORE or used == 0:
                    break
            if rc == BODY_DONE and not self.core.head.expect_continue:
                self.request_done = True
            else:
                self.keep = False
        if 400 <= self.x.status < 500 and self.x.reason <= R_PROXY_HEADER_INVALID:
            self.keep = False                # the client and we may not agree on where this request ends
        self.write_answer()
        self.finish()
        return off if self.state == D_HEAD else n

    cdef int write_answer(self) except -1:
        cdef Exchange x = self.x
        cdef Out o = out_of(self.core)
        cdef bytes phrase
        try:
            phrase = http.HTTPStatus(x.status).phrase.encode()
        except ValueError:
            phrase = b"Status"
        put_bytes(&o, b"HTTP/1.1 %d %s\r\n" % (x.status, phrase))
        put_bytes(&o, x.fields)
        put_bytes(&o, x.live.hsts)
        put(&o, b"CF-Ray: ", 8)
        put(&o, x.ray, 16)
        put_bytes(&o, b"\r\nContent-Length: %d\r\n" % len(x.body))
        if not self.keep:
            put(&o, b"Connection: close\r\n", 19)
        elif x.minor == 0:
            put(&o, b"Connection: keep-alive\r\n", 24)
        put(&o, b"\r\n", 2)
        if x.method != METHOD_HEAD:
            put_bytes(&o, x.body)
            x.record.bytes_out = len(x.body)
        x.record.first = <int64_t>(now_us() - x.began)
        self.response_begun = self.response_done = True
        self.pipe.write(o.ptr, o.len)
        return 0

    cdef int refuse(self, int reason) except -1:
        """What came is no request that we take: say so once, and close."""
        cdef bint fresh = self.x is None
        if fresh:
            self.x = self.core.take_exchange()
            self.x.start(self.arrival)
            self.x.cp.host.len = self.x.cp.path.len = 0
            self.x.record.wall = <int64_t>self.x.began + self.x.cp.wall_offset
            memcpy(self.x.record.client, self.arrival.ip, 16)
            self.x.method = self.x.minor = 0
            self.x.minor = 1
            self.x.cp.counters.requests += 1
        self.keep = False
        answer(self.x, reason)
        self.write_answer()
        return self.finish()

    # -- the way to the origin ---------------------------------------------------------------------

    cdef int choose(self, bint fresh) except -1:
        """Find an upstream connection for the exchange: self.up is ready (1), or is being made (1, D_CONNECT); 0 = the
        exchange holds an answer instead. `fresh`: none that has been used before."""
        cdef Exchange x = self.x
        cdef const Route* route = x.place.route
        cdef Target target
        cdef Service service
        cdef Warrant warrant
        cdef bytes key
        cdef Upstream up
        if self.step == STEP_CONTROL:
            target = self.core.upstreams.control
            if target is None:
                answer(x, R_CONTROL_DOWN)
                return 0
        elif x.permit.application == 0:      # no permit, no upstream
            answer(x, R_POLICY_FAILED)
            return 0
        elif route.kind == ROUTE_SERVICE:
            if route.scheme == SCHEME_STATUS or route.scheme == SCHEME_HELLO:
                self.answer_service(route.scheme == SCHEME_HELLO, route.status)
                return 0
            if route.host_header.len:
                self.host_header = slice_bytes(route.host_header)
            self.request_chunked = not route.flags & ROUTE_NO_CHUNKED
            target = x.live.targets[route.index]
        elif route.kind == ROUTE_TUNNEL and self.core.links is not None:
            if route.tunnel_id.len == 0:
                answer(x, R_TUNNEL_UNKNOWN)
                return 0
            memset(&service, 0, sizeof(Service))
            self.core.links.resolve(route.tunnel_id, x.cp.host, x.cp.path, &service)
            x.record.link_rtt = service.round_trip if service.round_trip else -1
            if service.kind == SERVICE_NONE:
                answer(x, service.reason if service.reason else R_TUNNEL_DOWN)
                return 0
            log_text(&x.record, LOG_TUNNEL, route.tunnel_id)
            if service.kind == SERVICE_STATUS or service.kind == SERVICE_HELLO:
                self.answer_service(service.kind == SERVICE_HELLO, service.status)
                return 0
            if service.kind != SERVICE_HTTP:
                answer(x, R_TCP_COOKIE)
                return 0
            if service.host_header.len:
                self.host_header = slice_bytes(service.host_header)
            self.request_chunked = not service.disable_chunked
            memset(&warrant, 0, sizeof(Warrant))
            warrant.application = x.place.app.aud
            if x.token is not None:
                warrant.session = slice_of(x.token.nonce, len(x.token.nonce))
                warrant.expiry = <uint64_t>x.token.exp
            warrant.source = slice_of(x.ip_text, x.ip_len)
            key = self.core.links.pool_key(&service, x.cp.host, &warrant)
            target = self.core.upstreams.streams(key)
            up = self.take_bound(target)
            if up is None and not fresh:
                up = target.take()
            if up is None:
                up = Upstream.new(target, self)
                up.pipe = self.core.links.open(&service, x.cp.host, &warrant, up)
                if up.pipe is None:
                    up.user = None
                    target.open -= 1
                    answer(x, R_TUNNEL_DOWN)
                    return 0
                up.connected = True
            up.user = self
            self.up = up
            return 1
        else:
            answer(x, R_TUNNEL_DOWN if route.kind == ROUTE_TUNNEL else R_ROUTE_MISSING)
            return 0
        if self.step == STEP_CONTROL:
            self.request_chunked = True
        up = self.take_bound(target)
        if up is None and not fresh:
            up = target.take()
        if up is not None:
            up.user = self
            self.up = up
            return 1
        self.up = target.dial(self, x.live.upstream_connect_timeout)
        self.state = D_CONNECT
        self.deadline = later(now_us(), x.live.upstream_connect_timeout)
        return 1

    cdef Upstream take_bound(self, Target target):
        cdef Upstream up = self.bound
        if up is None:
            return None
        self.bound = None
        if self.arrival.trusted:             # a proxy's connection carries many people
            up.discard()
            return None
        if up.target is target and up.pipe is not None and up.pipe.alive():
            up.reused = True
            up.heard = False
            return up
        up.discard()
        return None

    cdef int answer_service(self, bint hello, int status) except -1:
        """Services that the edge answers itself: http_status:N and hello_world."""
        cdef Exchange x = self.x
        x.status = 200 if hello else status
        x.fields = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
        x.body = b"Hello from Sekisho: the tunnel works.\n" if hello else b""
        return 0

    cdef size_t send_request(self, const uint8_t* p, size_t head, size_t n) except? 0:
        """The head, and what of the body is here, in one write."""
        cdef Head* h = &self.core.head
        cdef Exchange x = self.x
        cdef Out o = out_of(self.core)
        cdef size_t off = head
        cdef Slice host
        cdef uint64_t now = now_us()
        cdef Upstream up = self.up
        if h.framing == FRAMING_CHUNKED and not self.request_chunked:
            self.drop_upstream(False)
            answer(x, R_ENCODING_UNSUPPORTED)
            return self.answer_now(p, head, n)
        host.ptr = NULL
        host.len = 0
        if self.host_header is not None:
            host = slice_of(self.host_header, len(self.host_header))
        request_head(x, h, &o, host, self.request_chunked, self.step == STEP_CONTROL)
        if o.over:
            self.drop_upstream(True)
            answer(x, R_HEAD_TOO_LARGE)
            return self.answer_now(p, head, n)
        self.state = D_RELAY
        x.asked_upstream = now
        if asks_for_binding(h):
            up.bound = True
        if up.reused and self.request_done and may_repeat(h.method_id):
            up.replay = buffer_new(MAX_HEAD * 2)
            up.replay.append(o.ptr, o.len)
        if self.request_done:
            self.deadline = later(now, x.live.upstream_head_timeout)
            up.pipe.write(o.ptr, o.len)
            return off
        if h.expect_continue and x.minor:
            # It is allowed and there is a connection: ask for the body at once, instead of one round trip later
            # (RFC 9110 10.1.1 lets a proxy). Origins that ignore Expect would make both sides wait.
            self.pipe.write(CONTINUE, 25)
        if n == off:
            up.pipe.write(o.ptr, o.len)
            self.deadline = later(now, x.live.body_timeout)
            return off
        return off + self.read_body(p + off, n - off, &o)

    cdef size_t read_body(self, const uint8_t* p, size_t n, Out* o) except? 0:
        """Body bytes on to the origin, after what already stands in o. Returns the bytes used."""
        cdef size_t off = 0, used
        cdef Slice data
        cdef int rc = BODY_MORE
        cdef uint8_t line[24]
        cdef bint chunked = self.request_body.framing == FRAMING_CHUNKED
        while off < n and rc == BODY_MORE and self.up is not None:
            used = 0
            data.len = 0
            rc = body_feed(&self.request_body, p + off, n - off, &data, &used)
            if rc < 0:
                # The origin has half of a request: its connection is lost, and the client learns why.
                self.drop_upstream(True)
                if not self.response_begun:
                    answer(self.x, wire_reason(rc))
                    self.keep = False
                    self.write_answer()
                self.keep = False
                self.finish()
                return n
            off += used
            if data.len:
                self.x.record.bytes_in += data.len
                if chunked:
                    put(o, line, chunk_head(line, data.len))
                if data.len > PIECE or data.len + 64 > o.room - o.len:
                    self.flush_up(o)
                    if self.up is None:
                        return n
                    self.up.pipe.write(data.ptr, data.len)
                else:
                    put_slice(o, data)
                if chunked:
                    put(o, b"\r\n", 2)
                if o.len > PIECE:
                    self.flush_up(o)
            elif used == 0:
                break
        if self.up is None:
            return n
        if rc == BODY_DONE:
            self.request_done = True
            if chunked:
                put(o, b"0\r\n\r\n", 5)
        self.flush_up(o)
        if self.up is None:
            return n
        if self.request_done:
            self.deadline = 0 if self.response_begun else later(now_us(), self.x.live.upstream_head_timeout)
            if self.response_done:
                self.finish()
        else:
            self.deadline = later(now_us(), self.x.live.body_timeout)
            if self.up.pipe.full():
                self.pipe.pause()
                self.deadline = later(now_us(), self.x.live.write_timeout)
        return off

    cdef int flush_up(self, Out* o) except -1:
        if o.len and self.up is not None:
            self.up.pipe.write(o.ptr, o.len)
        o.len = 0
        return 0

    cdef int drop_upstream(self, bint discard) except -1:
        cdef Upstream up = self.up
        self.up = None
        if up is not None:
            up.replay = None
            if discard or not up.connected:
                up.discard()
            else:
                up.release()
        return 0

    # -- the upstream connection tells us ----------------------------------------------------------

    cdef int up_ready(self, Upstream up) except -1:
        cdef Slice again
        cdef Buffer replay
        if self.state != D_CONNECT:
            return up.discard()
        if self.retried and up.replay is not None:
            replay = up.replay
            up.replay = None
            again = replay.view()
            self.state = D_RELAY
            self.deadline = later(now_us(), self.x.live.upstream_head_timeout)
            return up.pipe.write(again.ptr, again.len)
        self.state = D_HEAD
        return self.run_pending()

    cdef int up_data(self, Upstream up, const uint8_t* p, size_t n) except -1:
        cdef Out o
        if up is not self.up:
            return up.discard()
        if self.state == D_UPGRADED:
            frames_feed(&self.frames, p, n)
            self.x.record.bytes_out += n
            self.pipe.write(p, n)
            if self.pipe.full():
                up.pipe.pause()
            self.deadline = later(now_us(), self.x.live.upgrade_timeout)
            return 0
        if self.state != D_RELAY:
            return self.upstream_failed(R_ORIGIN_EXCESS)
        if self.response_begun:
            o = out_of(self.core)
            return self.answer_bytes(p, n, &o)
        return self.read_answer(p, n)

    cdef int read_answer(self, const uint8_t* p, size_t n) except -1:
        """An answer's head, maybe after informational ones, maybe in pieces."""
        cdef Head* h = &self.core.answer_head
        cdef Slice s = slice_of(p, n)
        cdef size_t off = 0
        cdef bint kept = False
        cdef Buffer held = self.answer_in
        cdef Out o
        cdef int rc
        if held is not None and held.size():
            held.append(p, n)
            s = held.view()
            kept = True
        self.answer_in = None                # held lives in this call; what is left goes into a new one
        while off < s.len:
            rc = response_parse(s.ptr + off, s.len - off, self.x.method, h)
            if rc < 0:
                return self.upstream_failed(origin_reason(rc))
            if rc == 0:
                if held is None or not kept:
                    held = buffer_new(MAX_HEAD + READ_BUFFER)
                    held.append(s.ptr + off, s.len - off)
                elif off:
                    held.consume(off)
                self.answer_in = held
                return 0
            off += rc
            if h.status == 101:
                if not self.x.websocket or not h.upgrade_websocket or not self.request_done:
                    return self.upstream_failed(R_ORIGIN_UPGRADE_UNASKED)
                return self.switch(h, s.ptr + off, s.len - off)
            if h.status < 200:
                self.informational += 1
                if self.informational > MAX_INFORMATIONAL:
                    return self.upstream_failed(R_ORIGIN_RESPONSE_INVALID)
                self.inform(h)
                continue
            o = out_of(self.core)
            self.begin_answer(h, &o)
            if self.up is None:
                return 0
            return self.answer_bytes(s.ptr + off, s.len - off, &o)
        return 0

    cdef int inform(self, Head* h) except -1:
        """A 1xx goes on to clients that may get one (RFC 9110 15.2)."""
        cdef Out o = out_of(self.core)
        if self.x.minor == 0 or h.status == 100:     # its 100 was ours to send
            return 0
        response_head(self.x, h, &o, True, False, False, self.step == STEP_CONTROL)
        if not o.over:
            self.pipe.write(o.ptr, o.len)
        return 0

    cdef int begin_answer(self, Head* h, Out* o) except -1:
        cdef Exchange x = self.x
        cdef uint64_t now = now_us()
        cdef bint until_close = False
        x.heard_upstream = now
        x.record.upstream = <int64_t>(now - x.asked_upstream)
        x.record.first = <int64_t>(now - x.began)
        x.status = h.status
        self.response_begun = True
        self.up.replay = None
        body_start(&self.response_body, h.framing, h.length)
        self.response_done = body_done(&self.response_body)
        self.reusable = h.keep_alive and h.framing != FRAMING_CLOSE
        self.response_chunked = False
        if h.framing == FRAMING_CHUNKED or h.framing == FRAMING_CLOSE:
            if x.minor:
                self.response_chunked = True
            else:
                until_close = True
        if until_close or not self.request_done or self.core.draining or self.client_ended:
            self.keep = False
        if binds_connection(h):
            self.up.bound = True
        response_head(x, h, o, self.keep, until_close, self.response_chunked, self.step == STEP_CONTROL)
        if o.over:
            return self.upstream_failed(R_ORIGIN_RESPONSE_TOO_LARGE)
        if self.request_done:
            self.deadline = 0                # from here on the origin may take its time: events, long answers
        return 0

    cdef int answer_bytes(self, const uint8_t* p, size_t n, Out* o) except -1:
        """Body bytes on to the client, after what already stands in o."""
        cdef size_t off = 0, used
        cdef Slice data
        cdef int rc = BODY_DONE if self.response_done else BODY_MORE
        cdef uint8_t line[24]
        cdef bint cut = False
        while off < n and rc == BODY_MORE:
            used = 0
            data.len = 0
            rc = body_feed(&self.response_body, p + off, n - off, &data, &used)
            if rc < 0:
                cut = True
                break
            off += used
            if data.len:
                self.x.record.bytes_out += data.len
                if self.response_chunked:
                    put(o, line, chunk_head(line, data.len))
                if data.len > PIECE or data.len + 64 > o.room - o.len:
                    self.flush_down(o)
                    self.pipe.write(data.ptr, data.len)
                else:
                    put_slice(o, data)
                if self.response_chunked:
                    put(o, b"\r\n", 2)
                if o.len > PIECE:
                    self.flush_down(o)
            elif used == 0:
                break
        if rc == BODY_DONE:
            if not self.response_done:
                self.response_done = True
            if self.response_chunked:
                put(o, b"0\r\n\r\n", 5)
            if off < n:
                self.excess = True           # belongs to nobody: that connection is never used again (P02)
        self.flush_down(o)
        if cut:
            return self.upstream_failed(R_ORIGIN_TRUNCATED)
        if self.response_done:
            if self.request_done:
                return self.finish()
            self.keep = False                # an early answer: the rest of the request has no reader
            return self.finish()
        if self.pipe.full() and self.up is not None:
            self.up.pipe.pause()
            self.deadline = later(now_us(), self.x.live.write_timeout)
        return 0

    cdef int flush_down(self, Out* o) except -1:
        if o.len:
            self.pipe.write(o.ptr, o.len)
        o.len = 0
        return 0

    cdef int switch(self, Head* h, const uint8_t* p, size_t n) except -1:
        """101: from here on bytes go both ways, but the decision stays watched (expiry, revocation, policy)."""
        cdef Out o = out_of(self.core)
        cdef Slice s
        cdef uint64_t now = now_us()
        self.x.status = 101
        self.x.record.first = <int64_t>(now - self.x.began)
        self.x.record.upstream = <int64_t>(now - self.x.asked_upstream)
        self.x.record.flags |= LOG_UPGRADED
        response_head(self.x, h, &o, True, False, False, False)
        if o.over:
            return self.upstream_failed(R_ORIGIN_RESPONSE_TOO_LARGE)
        self.up.replay = None
        self.response_begun = True
        self.state = D_UPGRADED
        self.keep = False
        memset(&self.frames, 0, sizeof(Frames))
        self.core.checkpoint.counters.upgrades += 1
        self.deadline = later(now, self.x.live.upgrade_timeout)
        frames_feed(&self.frames, p, n)
        self.x.record.bytes_out += n
        put(&o, p, n)
        if o.over:
            return self.cut(R_BUFFER_FULL)
        self.pipe.write(o.ptr, o.len)
        # frames that came before the 101 waited here (H04)
        if self.pending is not None and self.pending.size() and self.up is not None:
            s = self.pending.view()
            self.x.record.bytes_in += s.len
            self.up.pipe.write(s.ptr, s.len)
            self.pending.clear()
        self.pipe.resume()
        return 0

    cdef int up_writable(self, Upstream up) except -1:
        if up is self.up and (self.state == D_UPGRADED or self.state == D_RELAY):
            if self.state == D_RELAY and not self.request_done:
                self.deadline = later(now_us(), self.x.live.body_timeout)
                self.run_pending()
            if self.state == D_UPGRADED or self.state == D_RELAY:
                self.pipe.resume()
        return 0

    cdef int up_end(self, Upstream up) except -1:
        cdef Out o
        if up is not self.up:
            return up.discard()
        if self.state == D_UPGRADED:
            self.drop_upstream(True)
            return self.end_upgraded(0)
        if self.state == D_RELAY and self.response_begun and self.response_body.framing == FRAMING_CLOSE:
            self.response_done = True
            self.reusable = False
            o = out_of(self.core)
            if self.response_chunked:
                put(&o, b"0\r\n\r\n", 5)
            self.flush_down(&o)
            return self.finish()
        return self.upstream_failed(R_ORIGIN_TRUNCATED if self.response_begun else R_ORIGIN_CLOSED)

    cdef int up_lost(self, Upstream up, int reason) except -1:
        if up is not self.up:
            if up is self.bound:
                self.bound = None
            return 0
        if self.state == D_CONNECT:
            return self.upstream_failed(reason if reason else R_ORIGIN_UNREACHABLE)
        if reason == 0 or reason == R_INTERNAL:
            return self.up_end(up)
        if self.state == D_UPGRADED:
            self.up = None
            return self.end_upgraded(reason)
        return self.upstream_failed(reason)

    cdef int upstream_failed(self, int reason) except -1:
        """The origin's side broke. Before its answer began: once more where that is safe, else a page. After: cut."""
        cdef Upstream up = self.up
        if self.state != D_RELAY and self.state != D_CONNECT:
            return 0
        if (self.state == D_RELAY and not self.response_begun and up is not None and up.reused and not up.heard
                and up.replay is not None and not self.retried and not self.client_ended):
            return self.retry()
        self.core.checkpoint.counters.upstream_errors += 1
        self.drop_upstream(True)
        self.answer_in = None
        if self.response_begun:
            # No fake end: the client must see that this answer is not whole.
            self.x.reason = reason
            self.x.record.flags |= LOG_ABORTED
            self.pipe.abort(reason)
            return 0
        if not self.request_done:
            self.keep = False
        if self.state == D_CONNECT and not self.retried and self.pending is not None:
            # the head still waits there, and perhaps a body after it: neither is served again
            self.drop_head()
        answer(self.x, reason)
        self.write_answer()
        return self.finish()

    cdef int drop_head(self) except -1:
        """Use up the head of the request that is answered instead of relayed."""
        cdef Slice s = self.pending.view()
        cdef int rc = request_parse(s.ptr, s.len, &self.core.head)
        if rc > 0:
            self.pending.consume(rc)
        if rc <= 0 or self.core.head.framing != FRAMING_NONE:
            self.keep = False
        return 0

    cdef int retry(self) except -1:
        """The pooled connection had been closed as we sent (P06): once more, on a new one."""
        cdef Upstream up = self.up
        cdef Buffer replay = up.replay
        cdef Slice s = replay.view()
        cdef Exchange x = self.x
        cdef int rc
        cdef bint bound = up.bound
        up.replay = None
        self.up = None
        up.discard()
        self.retried = True
        x.record.flags |= LOG_RETRIED
        self.core.checkpoint.counters.retries += 1
        rc = request_parse(s.ptr, s.len, &self.core.head)
        if rc > 0:
            rc = path_normal(self.core.head.path, True, x.cp.path_block, 8193, &x.cp.path)
        if rc < 0:
            return self.give_up(R_ORIGIN_CLOSED)
        x.cp.host = slice_of(x.record.text + x.record.at[<int>LOG_HOST], x.record.length[<int>LOG_HOST])
        if self.choose(True) == 0:
            self.write_answer()
            return self.finish()
        self.up.bound = bound                # the same head authenticates this connection too
        if self.state == D_CONNECT:
            self.up.replay = replay
            return 0
        s = replay.view()
        self.deadline = later(now_us(), x.live.upstream_head_timeout)
        return self.up.pipe.write(s.ptr, s.len)

    cdef int give_up(self, int reason) except -1:
        self.core.checkpoint.counters.upstream_errors += 1
        answer(self.x, reason)
        self.write_answer()
        return self.finish()

    # -- the end of a request ----------------------------------------------------------------------

    cdef int finish(self) except -1:
        """The answer is written: log it, give the origin's connection back or drop it, and go on or close."""
        cdef Upstream up = self.up
        self.up = None
        if up is not None:
            up.replay = None
            if self.reusable and self.request_done and self.response_done and not self.excess:
                if up.bound:
                    self.bound = up
                else:
                    up.release()
            else:
                up.discard()
        self.write_log()
        self.x.forget()
        self.core.spare.append(self.x)
        self.x = None
        if not self.keep or self.client_ended:
            return self.linger()
        return self.next_request()

    cdef int next_request(self) except -1:
        self.deadline = later(now_us(), self.core.checkpoint.live.keep_alive_timeout)
        if self.state == D_HEAD:
            return 0                         # answered at once: read_heads goes on by itself
        self.state = D_HEAD
        if self.pending is not None and self.pending.size():
            return self.run_pending()
        if not self.pipe.full():
            self.pipe.resume()
        return 0

    cdef int part(self) except -1:
        """Close after what is queued; who doesn't take that in time is cut off."""
        self.state = D_CLOSED
        self.deadline = now_us() + <uint64_t>TIMEOUT_LINGER * 1000
        return self.pipe.close()

    cdef int linger(self) except -1:
        """Close so that the answer is read: a reset, as unread bytes would cause, destroys it on its way."""
        if self.request_done and (self.pending is None or self.pending.size() == 0):
            return self.part()
        self.state = D_LINGER
        self.deadline = now_us() + <uint64_t>TIMEOUT_LINGER * 1000
        self.pipe.resume()
        return self.pipe.end()

    cdef int write_log(self) except -1:
        cdef Exchange x = self.x
        cdef Checkpoint cp = self.core.checkpoint
        if x is None:
            return 0
        x.record.total = <int64_t>(now_us() - x.began)
        x.record.status = x.status
        x.record.reason = x.reason
        cp.counters.bytes_in += x.record.bytes_in
        cp.counters.bytes_out += x.record.bytes_out
        cp.counters.by_status[(x.status // 100) if 100 <= x.status < 600 else 0] += 1
        if x.status >= 400 and cp.hooks is not None and (x.decision.reason or x.status == 401 or x.status == 403):
            try:
                cp.hooks.refused(x.record.client[:16], slice_bytes(x.place.app.id) if x.place.app != NULL else b"",
                                 x.token.email if x.token is not None else b"", reason_name(x.reason))
            except Exception:
                log.exception("a refusal could not be told to the audit trail")
        if cp.log is not None:
            cp.log.push(&x.record)
        return 0

    cdef int end_upgraded(self, int reason) except -1:
        """One side of the pump is gone: the other goes too, after what it still has to get."""
        self.x.reason = reason if reason else self.x.reason
        self.state = D_RELAY                 # finish() and linger() decide from here
        self.request_done = self.response_done = True
        self.reusable = False
        return self.finish()

    cdef int cut(self, int reason) except -1:
        """The decision no longer holds: end the stream. A WebSocket gets 1008 with the reason, at a frame's end."""
        cdef uint8_t frame[128]
        cdef size_t n
        if self.state != D_UPGRADED and self.state != D_RELAY:
            return 0
        self.core.checkpoint.counters.revoked_streams += 1
        self.x.reason = reason
        self.drop_upstream(True)
        if self.state == D_UPGRADED:
            if frames_boundary(&self.frames):
                n = close_frame(frame, 1008, reason_name(reason))
                self.pipe.write(frame, n)
                return self.end_upgraded(reason)
        elif not self.response_begun:
            self.keep = False
            answer(self.x, reason)
            self.write_answer()
            return self.finish()
        self.x.record.flags |= LOG_ABORTED
        self.pipe.abort(reason)
        return 0

    # -- the client goes, or takes its time --------------------------------------------------------

    cdef int on_eof(self, Pipe pipe) except -1:
        self.client_ended = True
        self.keep = False
        if self.state == D_UPGRADED:
            self.drop_upstream(True)
            return self.end_upgraded(0)
        if self.state == D_HEAD or self.state == D_LINGER or self.state == D_CLOSED:
            return self.part()
        if not self.request_done and self.state == D_RELAY:
            self.x.reason = R_BODY_TRUNCATED
            self.x.record.flags |= LOG_ABORTED
            return pipe.abort(R_BODY_TRUNCATED)
        return 0                             # half-closed after a whole request: the answer still goes out

    cdef int on_writable(self, Pipe pipe) except -1:
        if self.up is not None and (self.state == D_RELAY or self.state == D_UPGRADED):
            if self.state == D_RELAY and self.response_begun and self.request_done:
                self.deadline = 0
            self.up.pipe.resume()
        elif self.state == D_HEAD:
            return self.run_pending()
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        cdef Upstream bound = self.bound
        if self.x is not None:
            if self.x.reason == 0 or self.state == D_UPGRADED:
                self.x.reason = reason if reason else R_CLIENT_CLOSED
            self.x.record.flags |= LOG_ABORTED
            try:
                self.write_log()
            except Exception:
                log.exception("the log line of a lost connection is missing")
            self.x = None
        self.state = D_CLOSED
        self.drop_upstream(True)
        self.bound = None
        if bound is not None:
            bound.discard()
        self.pending = None
        self.answer_in = None
        self.pipe = None
        self.core.connections.discard(self)
        self.core.checkpoint.counters.closed += 1
        return 0

    cdef int wake(self) except -1:
        """What we waited for may be there: judge again, from the bytes that are still here."""
        if self.state == D_WAIT:
            self.state = D_HEAD
            self.run_pending()
        return 0

    cdef int time_out(self, uint64_t now) except -1:
        self.deadline = 0
        self.core.checkpoint.counters.time_outs += 1
        if self.state == D_HEAD:
            if self.head_since == 0 or self.pending is None or self.pending.size() == 0:
                return self.part()
            return self.refuse(R_HEAD_TIMEOUT)
        if self.state == D_WAIT:
            return self.wake()
        if self.state == D_CONNECT:
            return self.upstream_failed(R_ORIGIN_CONNECT_TIMEOUT)
        if self.state == D_RELAY and not self.response_begun:
            if self.request_done:
                return self.upstream_failed(R_ORIGIN_HEAD_TIMEOUT)
            if self.up is not None and self.up.pipe.full():
                return self.upstream_failed(R_ORIGIN_BODY_TIMEOUT)
            self.drop_upstream(True)
            return self.refuse(R_BODY_TIMEOUT)
        if self.x is not None:
            self.x.reason = R_UPGRADE_IDLE if self.state == D_UPGRADED else R_CLIENT_STALLED
        return self.pipe.abort(R_CLIENT_STALLED)


# -- accepting -------------------------------------------------------------------------------------


cdef int greet(WorkerCore core, TcpPipe pipe, int kind, bytes sni, object client) except -1:
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
    Downstream.new(core, pipe, arrival)
    return 0


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
            if not self.core.enter(self.address):
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
        self.core.leave(self.address)


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
        if not self.core.enter(self.address):
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
        self.core.leave(self.address)


cdef bint trusted_peer(WorkerCore core, TcpPipe pipe):
    peer = pipe.peer_address()
    return peer is not None and bool(core.checkpoint.live.trusted) and core.checkpoint.live.trusts(
        ipaddress.ip_address(peer[0].partition("%")[0]))


cdef bytes address_of(TcpPipe pipe):
    peer = pipe.peer_address()
    return peer[0].encode() if peer is not None else b""


cdef size_t read_preface(object pipe, const uint8_t* p, size_t n) except? 0:
    """Collect a PROXY header (v1, v2); what is not one, or comes from a stranger, closes the connection (C11)."""
    cdef PlainServerPipe plain
    cdef TlsServerPipe secure
    cdef Buffer early
    cdef WorkerCore core
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
    client = None
    if not local:
        client = str(ipaddress.ip_address(<bytes>ip[:16]))
        if not core.enter(client.encode()):
            tcp.abort(R_CLIENT_CONNECTIONS)
            return 0
    if isinstance(pipe, PlainServerPipe):
        plain.preface = False
        plain.client = client
        plain.address = client.encode() if client is not None else None
    else:
        secure.preface = False
        secure.client = client
        secure.address = client.encode() if client is not None else None
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


# -- the worker's core -----------------------------------------------------------------------------

KINDS = {"tls": LISTEN_TLS, "plain": LISTEN_PLAIN, "redirect": LISTEN_REDIRECT}


@cython.final
cdef class WorkerCore:
    def __init__(self, loop, *, links=None, log=None, hooks=None, Revocations revocations=None):
        cdef Checkpoint cp = Checkpoint.__new__(Checkpoint)
        cdef Buffer block = buffer_new(2 * PIECE + MAX_HEAD * 4)
        self.loop = loop
        self.checkpoint = cp
        cp.revocations = revocations if revocations is not None else Revocations()
        cp.log = log
        cp.hooks = hooks
        self.links = links
        self.upstreams = Upstreams(loop)
        self.connections = set()
        self.handshakes = set()
        self.addresses = {}
        self.spare = []
        self.out_room = PIECE + MAX_HEAD * 4
        self.out_block = block.reserve(self.out_room)
        self.memory = block

    # -- what control and the master tell us ------------------------------------------------------

    def set_snapshot(self, Snapshot snapshot):
        """Swap to another snapshot: new requests use it, those under way keep theirs, open streams are judged again."""
        cdef Checkpoint cp = self.checkpoint
        cdef Live live = Live(snapshot, self.targets_of(snapshot))
        keys = snapshot.settings.get("keys", {})
        issuer = snapshot.settings.get("issuer", "")
        if cp.tokens is None:
            cp.tokens = TokenCache(cp.revocations)
        cp.tokens.configure(keys, issuer)
        self.proxied_demo = bool(snapshot.settings.get("demo"))
        cp.live = live
        cp.facts.clear()

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
        cdef bytes name = slice_bytes(r.server_name) or host
        anchors = snapshot.settings.get("route_anchors", {}).get(r.index)
        verify = not r.flags & ROUTE_NO_TLS_VERIFY
        if r.scheme == SCHEME_HTTP:
            key = ("tcp", host, r.port)
            return self.upstreams.target(key, lambda: (TARGET_TCP, host.decode(), key[2], None, None))
        if r.scheme == SCHEME_UNIX:
            key = ("unix", path)
            return self.upstreams.target(key, lambda: (TARGET_UNIX, path.decode(), 0, None, None))
        if r.scheme == SCHEME_HTTPS or r.scheme == SCHEME_UNIX_TLS:
            key = ("tls", host or path, r.port, name, verify, anchors)
            if r.scheme == SCHEME_UNIX_TLS:
                raise ValueError("unix+tls services are dialled by a connector, not by the edge")
            return self.upstreams.target(key, lambda: (
                TARGET_TLS, host.decode(), key[2],
                TlsClientContext(trust=anchors, verify=verify, alpn=("http/1.1",)), name))
        return None

    def set_tls(self, TlsContexts contexts):
        """Use these certificates for connections accepted from now on."""
        self.contexts = contexts

    def set_control(self, path):
        self.upstreams.set_control(path)

    def set_stale(self, stale):
        """No word from control for max_stale: identity decisions are answered with 503 until there is."""
        self.checkpoint.stale = stale

    def revoke(self, entries, full=False, seq=0):
        """Apply revocations, then end what they end."""
        self.checkpoint.revocations.apply(entries, full, seq)
        self.sweep()

    def answered(self, question, said):
        """Control's answer to hooks.ask(question): facts of a token, or a service's assertion; None = it can't say."""
        cdef Checkpoint cp = self.checkpoint
        if "service_token" in question:
            key = (question["service_token"].encode(), question["aud"].encode())
            cp.asked.discard(key)
            if said is not None and said.get("token"):
                token = said["token"]
                cp.assertions[key] = (token.encode() if isinstance(token, str) else token, said["expiry"])
        else:
            key = question["token"]
            cp.asked.discard(key)
            facts = PythonFactSet.from_claims(said["facts"]) if said is not None and said.get("facts") else None
            cp.facts[key] = (facts, cp.wall_seconds() + (60 if facts is not None else 2))
        self.wake_all()

    def drain(self):
        """No new requests on old connections: what is idle closes now, what works closes when it is done."""
        cdef Downstream d
        self.draining = True
        for connection in list(self.connections):
            d = connection
            d.keep = False
            if d.state == D_HEAD and (d.pending is None or d.pending.size() == 0) and d.pipe is not None:
                d.pipe.close()

    def close_all(self):
        """The drain's time is over: cut what is left."""
        cdef Downstream d
        for connection in list(self.connections):
            d = connection
            if d.pipe is not None:
                d.pipe.abort(R_DRAINING)

    def live(self):
        """Return the number of open client connections."""
        return len(self.connections) + len(self.handshakes)

    def busy(self):
        """Return the number of client connections with a request or an upgraded stream under way."""
        cdef Downstream d
        n = 0
        for connection in self.connections:
            d = connection
            n += d.x is not None
        return n

    def acceptor(self, kind, proxy_protocol=False):
        """Return a protocol factory for loop.create_server: kind is "tls", "plain" or "redirect"."""
        cdef int number = KINDS[kind]
        proxied = bool(proxy_protocol)

        def plain():
            cdef PlainServerPipe pipe = PlainServerPipe.__new__(PlainServerPipe)
            pipe.core, pipe.kind, pipe.preface, pipe.loop = self, number, proxied, self.loop
            return pipe

        def secure():
            cdef TlsServerPipe pipe = TlsServerPipe.__new__(TlsServerPipe)
            pipe.core, pipe.preface, pipe.loop = self, proxied, self.loop
            pipe.tls = tls_accept(self.contexts)
            return pipe

        return secure if number == LISTEN_TLS else plain

    cdef Exchange take_exchange(self):
        if self.spare:
            return self.spare.pop()
        return Exchange.new(self.checkpoint)

    cdef int enter(self, bytes address) except -1:
        """Count a connection of this address; 0 = it has too many."""
        cdef Checkpoint cp = self.checkpoint
        n = self.addresses.get(address, 0)
        cp.counters.accepted += 1
        if n >= cp.live.connections_per_address and cp.live.connections_per_address:
            return 0
        self.addresses[address] = n + 1
        return 1

    cdef int leave(self, bytes address) except -1:
        if address is None:
            return 0
        n = self.addresses.get(address, 0)
        if n <= 1:
            self.addresses.pop(address, None)
        else:
            self.addresses[address] = n - 1
        return 0

    # -- time --------------------------------------------------------------------------------------

    def start(self):
        """Begin to look after time-outs, revocations and pools, twice a second, until stop()."""
        self.timer = self.loop.call_later(TICK * 0.001, self.tick)

    def stop(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def tick(self):
        cdef Downstream d
        cdef uint64_t now = now_us(), due
        cdef Checkpoint cp = self.checkpoint
        self.timer = self.loop.call_later(TICK * 0.001, self.tick)
        cp.set_clock()
        try:
            for pipe in list(self.handshakes):
                due = (<TlsServerPipe>pipe).deadline if isinstance(pipe, TlsServerPipe) else (<PlainServerPipe>pipe).deadline
                if now >= due:
                    cp.counters.time_outs += 1
                    (<TcpPipe>pipe).abort(R_HANDSHAKE_TIMEOUT)
            for connection in list(self.connections):
                d = connection
                if d.deadline and now >= d.deadline and d.pipe is not None:
                    self.guarded(d, now)
                elif d.state == D_HEAD and not d.quiet and d.deadline and d.pipe is not None and (
                        now + cp.live.keep_alive_timeout >= d.deadline + QUIET):
                    d.quiet = True
                    d.pipe.rest()
            self.sweep()
            self.upstreams.tick()
            if len(cp.assertions) > 4096:
                cp.assertions.clear()
            if len(cp.facts) > 4096:
                cp.facts.clear()
            if len(self.spare) > 256:
                del self.spare[256:]
        except Exception:
            log.exception("a tick failed")

    cdef int guarded(self, Downstream d, uint64_t now) except -1:
        try:
            d.time_out(now)
        except Exception:
            log.exception("a time-out failed; its connection is closed")
            if d.pipe is not None:
                d.pipe.abort(R_INTERNAL)
        return 0

    def sweep(self):
        """End the open streams whose session ended, was revoked, or is no longer allowed by the policies."""
        cdef Downstream d
        cdef int reason
        for connection in list(self.connections):
            d = connection
            if d.x is None or d.step != STEP_RELAY or (d.state != D_RELAY and d.state != D_UPGRADED):
                continue
            try:
                reason = self.ends(d.x)
                if reason:
                    d.cut(reason)
            except Exception:                # one that fails must not keep the others from being looked at
                log.exception("a stream could not be judged again; it is closed")
                if d.pipe is not None:
                    d.pipe.abort(R_INTERNAL)

    cdef int ends(self, Exchange x) except -1:
        """Why an open stream must end, or 0. A new snapshot judges each stream once."""
        cdef Checkpoint cp = self.checkpoint
        cdef int reason = still_allowed(x)
        if reason or x.judged is cp.live:
            return reason
        x.judged = cp.live
        if x.record.cut & (1 << <int>LOG_PATH):
            return R_POLICY_NO_MATCH         # we no longer know its whole path: it has to ask again
        return rejudge(
            x,
            cp.live, slice_of(x.record.text + x.record.at[<int>LOG_HOST], x.record.length[<int>LOG_HOST]),
            slice_of(x.record.text + x.record.at[<int>LOG_PATH], x.record.length[<int>LOG_PATH]))

    # -- signature checks that had to wait ---------------------------------------------------------

    cdef int run_waiting(self) except -1:
        if self.checkpoint.verify_queue and not self.verify_planned:
            self.verify_planned = True
            self.loop.call_soon(self.verify_some)
        return 0

    def verify_some(self):
        """One turn's worth of signature checks, then wake who waits for them."""
        cdef Checkpoint cp = self.checkpoint
        cdef uint64_t start = now_us()
        cdef int reason = 0
        cdef bytes raw, aud
        while cp.verify_queue and now_us() - start < 1000:
            raw, aud = cp.verify_queue.popleft()
            cp.tokens.verify(slice_of(raw, len(raw)), slice_of(aud, len(aud)), cp.wall_seconds(), &reason)
        cp.verify_window = now_us()
        cp.verify_spent = 0
        self.verify_planned = False
        self.wake_all()
        self.run_waiting()

    def wake_all(self):
        cdef Downstream d
        waiting = self.checkpoint.waiting
        self.checkpoint.waiting = []
        for connection in waiting:
            d = connection
            try:
                d.wake()
            except Exception:
                log.exception("waking failed; its connection is closed")
                if d.pipe is not None:
                    d.pipe.abort(R_INTERNAL)

    def counters(self):
        """Return the numbers that metrics are made of, since the start of this worker."""
        cdef Checkpoint cp = self.checkpoint
        counters = dict(cp.counters)
        counters["by_status"] = [cp.counters.by_status[i] for i in range(6)]
        counters["connections"] = self.live()
        counters["busy"] = self.busy()
        counters["tokens"] = cp.tokens.size if cp.tokens is not None else 0
        counters["token_hits"] = cp.tokens.hits if cp.tokens is not None else 0
        counters["token_verified"] = cp.tokens.verified if cp.tokens is not None else 0
        counters["token_refused"] = cp.tokens.refused if cp.tokens is not None else 0
        return counters
