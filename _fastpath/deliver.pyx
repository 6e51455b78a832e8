"""The answer's way to its client: informational heads, the head, the body as it comes."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from _fastpath.body cimport BODY_DONE, BODY_MORE, body_done, body_feed, body_start, chunk_head
from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.downstream cimport PIECE, Downstream, later, out_of
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_CONTROL, Exchange
from _fastpath.forward cimport upstream_failed
from _fastpath.head cimport *
from _fastpath.hints cimport binds_connection
from _fastpath.http1 cimport response_parse
from _fastpath.limits cimport MAX_HEAD, MAX_INFORMATIONAL, READ_BUFFER
from _fastpath.out cimport Out, put, put_slice
from _fastpath.rewrite cimport response_head
from _fastpath.slice cimport Slice, slice_of
from _fastpath.upgrade cimport switch


cdef int read_answer(Downstream d, const uint8_t* p, size_t n) except -1:
    """An answer's head, maybe after informational ones, maybe in pieces."""
    cdef Head* h = &d.core.answer_head
    cdef Slice s = slice_of(p, n)
    cdef size_t off = 0
    cdef bint kept = False
    cdef Buffer held = d.answer_in
    cdef Out o
    cdef int rc
    if held is not None and held.size():
        held.append(p, n)
        s = held.view()
        kept = True
    d.answer_in = None                # held lives in this call; what is left goes into a new one
    while off < s.len:
        rc = response_parse(s.ptr + off, s.len - off, d.x.method, h)
        if rc < 0:
            return upstream_failed(d, origin_reason(rc))
        if rc == 0:
            if held is None or not kept:
                held = buffer_new(MAX_HEAD + READ_BUFFER)
                held.append(s.ptr + off, s.len - off)
            elif off:
                held.consume(off)
            d.answer_in = held
            return 0
        off += rc
        if h.status == 101:
            if not d.x.websocket or not h.upgrade_websocket or not d.request_done:
                return upstream_failed(d, R_ORIGIN_UPGRADE_UNASKED)
            return switch(d, h, s.ptr + off, s.len - off)
        if h.status < 200:
            d.informational += 1
            if d.informational > MAX_INFORMATIONAL:
                return upstream_failed(d, R_ORIGIN_RESPONSE_INVALID)
            inform(d, h)
            continue
        o = out_of(d.core)
        begin_answer(d, h, &o)
        if d.up is None:
            return 0
        return answer_bytes(d, s.ptr + off, s.len - off, &o)
    return 0


cdef int inform(Downstream d, Head* h) except -1:
    """A 1xx goes on to clients that may get one (RFC 9110 15.2)."""
    cdef Out o = out_of(d.core)
    if d.x.minor == 0 or h.status == 100:     # its 100 was ours to send
        return 0
    response_head(d.x, h, &o, True, False, False, d.step == STEP_CONTROL)
    if not o.over:
        d.pipe.write(o.ptr, o.len)
    return 0


cdef int begin_answer(Downstream d, Head* h, Out* o) except -1:
    cdef Exchange x = d.x
    cdef uint64_t now = now_us()
    cdef bint until_close = False
    x.heard_upstream = now
    x.record.upstream = <int64_t>(now - x.asked_upstream)
    x.record.first = <int64_t>(now - x.began)
    x.status = h.status
    d.response_begun = True
    d.up.replay = None
    body_start(&d.response_body, h.framing, h.length)
    d.response_done = body_done(&d.response_body)
    d.reusable = h.keep_alive and h.framing != FRAMING_CLOSE
    d.response_chunked = False
    if h.framing == FRAMING_CHUNKED or h.framing == FRAMING_CLOSE:
        if x.minor:
            d.response_chunked = True
        else:
            until_close = True
    if until_close or not d.request_done or d.core.draining or d.client_ended:
        d.keep = False
    if binds_connection(h):
        d.up.bound = True
    response_head(x, h, o, d.keep, until_close, d.response_chunked, d.step == STEP_CONTROL)
    if o.over:
        return upstream_failed(d, R_ORIGIN_RESPONSE_TOO_LARGE)
    if d.request_done:
        d.deadline = 0                # from here on the origin may take its time: events, long answers
    return 0


cdef int answer_bytes(Downstream d, const uint8_t* p, size_t n, Out* o) except -1:
    """Body bytes on to the client, after what already stands in o."""
    cdef size_t off = 0, used
    cdef Slice data
    cdef int rc = BODY_DONE if d.response_done else BODY_MORE
    cdef uint8_t line[24]
    cdef bint cut = False
    while off < n and rc == BODY_MORE:
        used = 0
        data.len = 0
        rc = body_feed(&d.response_body, p + off, n - off, &data, &used)
        if rc < 0:
            cut = True
            break
        off += used
        if data.len:
            d.x.record.bytes_out += data.len
            if d.response_chunked:
                put(o, line, chunk_head(line, data.len))
            if data.len > PIECE or data.len + 64 > o.room - o.len:
                d.flush_down(o)
                d.pipe.write(data.ptr, data.len)
            else:
                put_slice(o, data)
            if d.response_chunked:
                put(o, b"\r\n", 2)
            if o.len > PIECE:
                d.flush_down(o)
        elif used == 0:
            break
    if rc == BODY_DONE:
        if not d.response_done:
            d.response_done = True
        if d.response_chunked:
            put(o, b"0\r\n\r\n", 5)
        if off < n:
            d.excess = True           # belongs to nobody: that connection is never used again (P02)
    d.flush_down(o)
    if cut:
        return upstream_failed(d, R_ORIGIN_TRUNCATED)
    if d.response_done:
        if d.request_done:
            return d.finish()
        d.keep = False                # an early answer: the rest of the request has no reader
        return d.finish()
    if d.pipe.full() and d.up is not None:
        d.up.pipe.pause()
        d.deadline = later(now_us(), d.x.live.write_timeout)
    return 0


cdef int end_answer(Downstream d) except -1:
    """The origin's connection ended, and with it an answer that has no length of its own."""
    cdef Out o = out_of(d.core)
    d.response_done = True
    d.reusable = False
    if d.response_chunked:
        put(&o, b"0\r\n\r\n", 5)
    d.flush_down(&o)
    return d.finish()
