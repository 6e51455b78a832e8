"""A client connection and the core that it belongs to: what all phases of a request need of them."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from _fastpath.body cimport BODY_DONE, BODY_MORE, body_feed
from _fastpath.buffer cimport buffer_new
from _fastpath.checkpoint cimport Checkpoint
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport Exchange
from _fastpath.head cimport *
from _fastpath.limits cimport MAX_DRAIN, MAX_HEAD, MAX_PIPELINE, READ_BUFFER, TIMEOUT_LINGER
from _fastpath.out cimport Out, put, put_bytes
from _fastpath.slice cimport Slice, slice_bytes, slice_of
from _fastpath.upstream cimport Upstream, UpstreamUser

import http
import logging

log = logging.getLogger("sekisho.worker")


cdef class Core:
    cdef Exchange take_exchange(self):
        if self.spare:
            return self.spare.pop()
        return Exchange.new(self.checkpoint)

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


cdef class Downstream(UpstreamUser):
    cdef int run_pending(self) except -1:
        return 0

    cdef int time_out(self, uint64_t now) except -1:
        return 0

    cdef int wake(self) except -1:
        """What we waited for may be there: judge again, from the bytes that are still here."""
        if self.state == D_WAIT:
            self.state = D_HEAD
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

    # -- what every phase needs --------------------------------------------------------------------

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

    cdef int flush_up(self, Out* o) except -1:
        if o.len and self.up is not None:
            self.up.pipe.write(o.ptr, o.len)
        o.len = 0
        return 0

    cdef int flush_down(self, Out* o) except -1:
        if o.len:
            self.pipe.write(o.ptr, o.len)
        o.len = 0
        return 0

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
