"""The request's way to its origin: the connection, the head and body, once more where that is safe."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from _fastpath.accesslog cimport LOG_ABORTED, LOG_HOST, LOG_RETRIED, LOG_TUNNEL, log_text
from _fastpath.answers cimport answer
from _fastpath.body cimport BODY_DONE, BODY_MORE, body_feed, chunk_head
from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.downstream cimport D_CONNECT, D_RELAY, PIECE, Downstream, later, out_of
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_CONTROL, Exchange
from _fastpath.head cimport *
from _fastpath.hints cimport asks_for_binding, may_repeat
from _fastpath.http1 cimport request_parse
from _fastpath.limits cimport MAX_HEAD
from _fastpath.out cimport Out, put, put_slice
from _fastpath.rewrite cimport request_head
from _fastpath.slice cimport Slice, slice_bytes, slice_of
from _fastpath.snapshot cimport ROUTE_NO_CHUNKED, ROUTE_SERVICE, ROUTE_TUNNEL, SCHEME_HELLO, SCHEME_STATUS, Route
from _fastpath.tunnel cimport SERVICE_HELLO, SERVICE_HTTP, SERVICE_NONE, SERVICE_STATUS, Service, Warrant
from _fastpath.upstream cimport Target, Upstream

cdef const uint8_t* CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


cdef int choose(Downstream d, bint fresh) except -1:
    """Find an upstream connection for the exchange: d.up is ready (1), or is being made (1, D_CONNECT); 0 = the
    exchange holds an answer instead. `fresh`: none that has been used before."""
    cdef Exchange x = d.x
    cdef const Route* route = x.place.route
    cdef Target target
    cdef Service service
    cdef Warrant warrant
    cdef bytes key
    cdef Upstream up
    if d.step == STEP_CONTROL:
        target = d.core.upstreams.control
        if target is None:
            answer(x, R_CONTROL_DOWN)
            return 0
    elif x.permit.application == 0:      # no permit, no upstream
        answer(x, R_POLICY_FAILED)
        return 0
    elif route.kind == ROUTE_SERVICE:
        if route.scheme == SCHEME_STATUS or route.scheme == SCHEME_HELLO:
            answer_service(d, route.scheme == SCHEME_HELLO, route.status)
            return 0
        if route.host_header.len:
            d.host_header = slice_bytes(route.host_header)
        d.request_chunked = not route.flags & ROUTE_NO_CHUNKED
        target = x.live.targets[route.index]
    elif route.kind == ROUTE_TUNNEL and d.core.links is not None:
        if route.tunnel_id.len == 0:
            answer(x, R_TUNNEL_UNKNOWN)
            return 0
        memset(&service, 0, sizeof(Service))
        d.core.links.resolve(route.tunnel_id, x.cp.host, x.cp.path, &service)
        x.record.link_rtt = service.round_trip if service.round_trip else -1
        if service.kind == SERVICE_NONE:
            answer(x, service.reason if service.reason else R_TUNNEL_DOWN)
            return 0
        log_text(&x.record, LOG_TUNNEL, route.tunnel_id)
        if service.kind == SERVICE_STATUS or service.kind == SERVICE_HELLO:
            answer_service(d, service.kind == SERVICE_HELLO, service.status)
            return 0
        if service.kind != SERVICE_HTTP:
            answer(x, R_TCP_ORIGIN_HEADER if d.core.head.count[<int>F_ORIGIN] else R_TCP_COOKIE)
            return 0
        if service.host_header.len:
            d.host_header = slice_bytes(service.host_header)
        d.request_chunked = not service.disable_chunked
        memset(&warrant, 0, sizeof(Warrant))
        warrant.application = x.place.app.aud
        if x.token is not None:
            warrant.session = slice_of(x.token.nonce, len(x.token.nonce))
            warrant.expiry = <uint64_t>x.token.exp
        warrant.source = slice_of(x.ip_text, x.ip_len)
        key = d.core.links.pool_key(&service, x.cp.host, &warrant)
        target = d.core.upstreams.streams(key)
        up = take_bound(d, target)
        if up is None and not fresh:
            up = target.take()
        if up is None:
            up = Upstream.new(target, d)
            up.pipe = d.core.links.open(&service, x.cp.host, &warrant, up)
            if up.pipe is None:
                up.user = None
                target.open -= 1
                answer(x, R_TUNNEL_DOWN)
                return 0
            up.connected = True
        up.user = d
        d.up = up
        return 1
    else:
        answer(x, R_TUNNEL_DOWN if route.kind == ROUTE_TUNNEL else R_ROUTE_MISSING)
        return 0
    if d.step == STEP_CONTROL:
        d.request_chunked = True
    up = take_bound(d, target)
    if up is None and not fresh:
        up = target.take()
    if up is not None:
        up.user = d
        d.up = up
        return 1
    d.up = target.dial(d, x.live.upstream_connect_timeout)
    d.state = D_CONNECT
    d.deadline = later(now_us(), x.live.upstream_connect_timeout)
    return 1


cdef Upstream take_bound(Downstream d, Target target):
    cdef Upstream up = d.bound
    if up is None:
        return None
    d.bound = None
    if d.arrival.trusted:             # a proxy's connection carries many people
        up.discard()
        return None
    if up.target is target and up.pipe is not None and up.pipe.alive():
        up.reused = True
        up.heard = False
        return up
    up.discard()
    return None


cdef int answer_service(Downstream d, bint hello, int status) except -1:
    """Services that the edge answers itself: http_status:N and hello_world."""
    cdef Exchange x = d.x
    x.status = 200 if hello else status
    x.fields = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
    x.body = b"Hello from Sekisho: the tunnel works.\n" if hello else b""
    return 0


cdef size_t send_request(Downstream d, const uint8_t* p, size_t head, size_t n) except? 0:
    """The head, and what of the body is here, in one write."""
    cdef Head* h = &d.core.head
    cdef Exchange x = d.x
    cdef Out o = out_of(d.core)
    cdef size_t off = head
    cdef Slice host
    cdef uint64_t now = now_us()
    cdef Upstream up = d.up
    if h.framing == FRAMING_CHUNKED and not d.request_chunked:
        d.drop_upstream(False)
        answer(x, R_ENCODING_UNSUPPORTED)
        return d.answer_now(p, head, n)
    host.ptr = NULL
    host.len = 0
    if d.host_header is not None:
        host = slice_of(d.host_header, len(d.host_header))
    request_head(x, h, &o, host, d.request_chunked, d.step == STEP_CONTROL)
    if o.over:
        d.drop_upstream(True)
        answer(x, R_HEAD_TOO_LARGE)
        return d.answer_now(p, head, n)
    d.state = D_RELAY
    x.asked_upstream = now
    if asks_for_binding(h):
        up.bound = True
    if up.reused and d.request_done and may_repeat(h.method_id):
        up.replay = buffer_new(MAX_HEAD * 2)
        up.replay.append(o.ptr, o.len)
    if d.request_done:
        d.deadline = later(now, x.live.upstream_head_timeout)
        up.pipe.write(o.ptr, o.len)
        return off
    if h.expect_continue and x.minor:
        # It is allowed and there is a connection: ask for the body at once, instead of one round trip later
        # (RFC 9110 10.1.1 lets a proxy). Origins that ignore Expect would make both sides wait.
        d.pipe.write(CONTINUE, 25)
    if n == off:
        up.pipe.write(o.ptr, o.len)
        d.deadline = later(now, x.live.body_timeout)
        return off
    return off + read_body(d, p + off, n - off, &o)


cdef size_t read_body(Downstream d, const uint8_t* p, size_t n, Out* o) except? 0:
    """Body bytes on to the origin, after what already stands in o. Returns the bytes used."""
    cdef size_t off = 0, used
    cdef Slice data
    cdef int rc = BODY_MORE
    cdef uint8_t line[24]
    cdef bint chunked = d.request_body.framing == FRAMING_CHUNKED
    while off < n and rc == BODY_MORE and d.up is not None:
        used = 0
        data.len = 0
        rc = body_feed(&d.request_body, p + off, n - off, &data, &used)
        if rc < 0:
            # The origin has half of a request: its connection is lost, and the client learns why.
            d.drop_upstream(True)
            if not d.response_begun:
                answer(d.x, wire_reason(rc))
                d.keep = False
                d.write_answer()
            d.keep = False
            d.finish()
            return n
        off += used
        if data.len:
            d.x.record.bytes_in += data.len
            if chunked:
                put(o, line, chunk_head(line, data.len))
            if data.len > PIECE or data.len + 64 > o.room - o.len:
                d.flush_up(o)
                if d.up is None:
                    return n
                d.up.pipe.write(data.ptr, data.len)
            else:
                put_slice(o, data)
            if chunked:
                put(o, b"\r\n", 2)
            if o.len > PIECE:
                d.flush_up(o)
        elif used == 0:
            break
    if d.up is None:
        return n
    if rc == BODY_DONE:
        d.request_done = True
        if chunked:
            put(o, b"0\r\n\r\n", 5)
    d.flush_up(o)
    if d.up is None:
        return n
    if d.request_done:
        d.deadline = 0 if d.response_begun else later(now_us(), d.x.live.upstream_head_timeout)
        if d.response_done:
            d.finish()
    else:
        d.deadline = later(now_us(), d.x.live.body_timeout)
        if d.up.pipe.full():
            d.pipe.pause()
            d.deadline = later(now_us(), d.x.live.write_timeout)
    return off


# -- the origin's side broke -------------------------------------------------------------------------


cdef int upstream_failed(Downstream d, int reason) except -1:
    """The origin's side broke. Before its answer began: once more where that is safe, else a page. After: cut."""
    cdef Upstream up = d.up
    if d.state != D_RELAY and d.state != D_CONNECT:
        return 0
    if (d.state == D_RELAY and not d.response_begun and up is not None and up.reused and not up.heard
            and up.replay is not None and not d.retried and not d.client_ended):
        return retry(d)
    d.core.checkpoint.counters.upstream_errors += 1
    d.drop_upstream(True)
    d.answer_in = None
    if d.response_begun:
        # No fake end: the client must see that this answer is not whole.
        d.x.reason = reason
        d.x.record.flags |= LOG_ABORTED
        d.pipe.abort(reason)
        return 0
    if not d.request_done:
        d.keep = False
    if d.state == D_CONNECT and not d.retried and d.pending is not None:
        # the head still waits there, and perhaps a body after it: neither is served again
        drop_head(d)
    answer(d.x, reason)
    d.write_answer()
    return d.finish()


cdef int drop_head(Downstream d) except -1:
    """Use up the head of the request that is answered instead of relayed."""
    cdef Slice s = d.pending.view()
    cdef int rc = request_parse(s.ptr, s.len, &d.core.head)
    if rc > 0:
        d.pending.consume(rc)
    if rc <= 0 or d.core.head.framing != FRAMING_NONE:
        d.keep = False
    return 0


cdef int retry(Downstream d) except -1:
    """The pooled connection had been closed as we sent (P06): once more, on a new one."""
    cdef Upstream up = d.up
    cdef Buffer replay = up.replay
    cdef Slice s = replay.view()
    cdef Exchange x = d.x
    cdef int rc
    cdef bint bound = up.bound
    up.replay = None
    d.up = None
    up.discard()
    d.retried = True
    x.record.flags |= LOG_RETRIED
    d.core.checkpoint.counters.retries += 1
    rc = request_parse(s.ptr, s.len, &d.core.head)
    if rc > 0:
        rc = path_normal(d.core.head.path, True, x.cp.path_block, 8193, &x.cp.path)
    if rc < 0:
        return give_up(d, R_ORIGIN_CLOSED)
    x.cp.host = slice_of(x.record.text + x.record.at[<int>LOG_HOST], x.record.length[<int>LOG_HOST])
    if choose(d, True) == 0:
        d.write_answer()
        return d.finish()
    d.up.bound = bound                # the same head authenticates this connection too
    if d.state == D_CONNECT:
        d.up.replay = replay
        return 0
    s = replay.view()
    d.deadline = later(now_us(), x.live.upstream_head_timeout)
    return d.up.pipe.write(s.ptr, s.len)


cdef int give_up(Downstream d, int reason) except -1:
    d.core.checkpoint.counters.upstream_errors += 1
    answer(d.x, reason)
    d.write_answer()
    return d.finish()
