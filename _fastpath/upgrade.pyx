"""After a 101: a two-way pump of bytes, which ends when either side does or the decision no longer holds."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from _fastpath.accesslog cimport LOG_ABORTED, LOG_UPGRADED
from _fastpath.answers cimport answer
from _fastpath.downstream cimport D_RELAY, D_UPGRADED, Downstream, later, out_of
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.forward cimport upstream_failed
from _fastpath.head cimport *
from _fastpath.out cimport Out, put
from _fastpath.relay cimport Frames, close_frame, frames_boundary, frames_feed
from _fastpath.rewrite cimport response_head
from _fastpath.slice cimport Slice
from _fastpath.upstream cimport Upstream


cdef int switch(Downstream d, Head* h, const uint8_t* p, size_t n) except -1:
    """101: from here on bytes go both ways, but the decision stays watched (expiry, revocation, policy)."""
    cdef Out o = out_of(d.core)
    cdef Slice s
    cdef uint64_t now = now_us()
    d.x.status = 101
    d.x.record.first = <int64_t>(now - d.x.began)
    d.x.record.upstream = <int64_t>(now - d.x.asked_upstream)
    d.x.record.flags |= LOG_UPGRADED
    response_head(d.x, h, &o, True, False, False, False)
    if o.over:
        return upstream_failed(d, R_ORIGIN_RESPONSE_TOO_LARGE)
    d.up.replay = None
    d.response_begun = True
    d.state = D_UPGRADED
    d.keep = False
    memset(&d.frames, 0, sizeof(Frames))
    d.core.checkpoint.counters.upgrades += 1
    d.deadline = later(now, d.x.live.upgrade_timeout)
    frames_feed(&d.frames, p, n)
    d.x.record.bytes_out += n
    put(&o, p, n)
    if o.over:
        return cut(d, R_BUFFER_FULL)
    d.pipe.write(o.ptr, o.len)
    # frames that came before the 101 waited here (H04)
    if d.pending is not None and d.pending.size() and d.up is not None:
        s = d.pending.view()
        d.x.record.bytes_in += s.len
        d.up.pipe.write(s.ptr, s.len)
        d.pending.clear()
    d.pipe.resume()
    return 0


cdef int pump_up(Downstream d, const uint8_t* p, size_t n) except -1:
    """Bytes of the client."""
    d.x.record.bytes_in += n
    if d.up is not None:
        d.up.pipe.write(p, n)
        if d.state != D_UPGRADED:            # a stream may end inside write
            return 0
        if d.up.pipe.full():
            d.pipe.pause()
    d.deadline = later(now_us(), d.x.live.upgrade_timeout)
    return 0


cdef int pump_down(Downstream d, Upstream up, const uint8_t* p, size_t n) except -1:
    """Bytes of the origin."""
    frames_feed(&d.frames, p, n)
    d.x.record.bytes_out += n
    d.pipe.write(p, n)
    if d.pipe.full():
        up.pipe.pause()
    d.deadline = later(now_us(), d.x.live.upgrade_timeout)
    return 0


cdef int end_upgraded(Downstream d, int reason) except -1:
    """One side of the pump is gone: the other goes too, after what it still has to get."""
    d.x.reason = reason if reason else d.x.reason
    d.state = D_RELAY                 # finish() and linger() decide from here
    d.request_done = d.response_done = True
    d.reusable = False
    return d.finish()


cdef int cut(Downstream d, int reason) except -1:
    """The decision no longer holds: end the stream. A WebSocket gets 1008 with the reason, at a frame's end."""
    cdef uint8_t frame[128]
    cdef size_t n
    if d.state != D_UPGRADED and d.state != D_RELAY:
        return 0
    d.core.checkpoint.counters.revoked_streams += 1
    d.x.reason = reason
    d.drop_upstream(True)
    if d.state == D_UPGRADED:
        if frames_boundary(&d.frames):
            n = close_frame(frame, 1008, reason_name(reason))
            d.pipe.write(frame, n)
            return end_upgraded(d, reason)
    elif not d.response_begun:
        d.keep = False
        answer(d.x, reason)
        d.write_answer()
        return d.finish()
    d.x.record.flags |= LOG_ABORTED
    d.pipe.abort(reason)
    return 0
