"""A client connection under HTTP/1.1, event by event: bytes, the origin's news, time-outs, the end."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from _fastpath.accesslog cimport LOG_ABORTED
from _fastpath.answers cimport answer
from _fastpath.body cimport body_done, body_start
from _fastpath.buffer cimport Buffer
from _fastpath.checkpoint cimport LISTEN_TLS, Arrival
from _fastpath.deliver cimport answer_bytes, end_answer, read_answer
from _fastpath.downstream cimport (
    D_CLOSED, D_CONNECT, D_HEAD, D_LINGER, D_RELAY, D_UPGRADED, D_WAIT, Core, Downstream, later, out_of,
)
from _fastpath.endpoint cimport Pipe, now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_ANSWER, STEP_RELAY, STEP_WAIT
from _fastpath.forward cimport choose, read_body, send_request, upstream_failed
from _fastpath.head cimport *
from _fastpath.http1 cimport head_worth_parsing, request_parse
from _fastpath.judge cimport judge, place_request
from _fastpath.limits cimport MAX_LINGER, MAX_PIPELINE, TIMEOUT_FACTS
from _fastpath.out cimport Out
from _fastpath.slice cimport Slice
from _fastpath.upgrade cimport end_upgraded, pump_down, pump_up
from _fastpath.upstream cimport Upstream
from _fastpath.watch cimport still_allowed

import logging

log = logging.getLogger("sekisho.worker")


@cython.final
cdef class Serving(Downstream):
    @staticmethod
    cdef Serving new(Core core, Pipe pipe, Arrival arrival):
        cdef Serving d = Serving.__new__(Serving)
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
            return pump_up(self, p, n)
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
                used = read_body(self, p, n, &o)
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
                used = read_body(self, s.ptr, s.len, &o)
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
                self.refuse(R_TLS_ON_PLAIN_PORT if self.hears_tls(p + off, n - off) else wire_reason(rc))
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
            return send_request(self, p, head, n)
        self.step = judge(self.x, h)
        if self.step == STEP_WAIT:
            self.state = D_WAIT
            self.deadline = now_us() + <uint64_t>(TIMEOUT_FACTS + 1000) * 1000
            self.core.checkpoint.waiting.append(self)
            self.core.run_waiting()
            return 0
        if self.step == STEP_ANSWER:
            return self.answer_now(p, head, n)
        if choose(self, False) == 0:
            return self.answer_now(p, head, n)
        if self.state == D_CONNECT:
            return 0
        return send_request(self, p, head, n)

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
        if reason_status(reason) == 0:       # who speaks no HTTP reads no answer
            self.x.reason = reason
            return self.pipe.abort(reason)
        answer(self.x, reason)
        self.write_answer()
        return self.finish()

    cdef bint hears_tls(self, const uint8_t* p, size_t n) noexcept:
        """A handshake record of TLS, on a port that has none."""
        return self.arrival.kind != LISTEN_TLS and n >= 2 and p[0] == 0x16 and p[1] == 0x03

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
            return pump_down(self, up, p, n)
        if self.state != D_RELAY:
            return upstream_failed(self, R_ORIGIN_EXCESS)
        if self.response_begun:
            o = out_of(self.core)
            return answer_bytes(self, p, n, &o)
        return read_answer(self, p, n)

    cdef int up_writable(self, Upstream up) except -1:
        if up is self.up and (self.state == D_UPGRADED or self.state == D_RELAY):
            if self.state == D_RELAY and not self.request_done:
                self.deadline = later(now_us(), self.x.live.body_timeout)
                self.run_pending()
            if self.state == D_UPGRADED or self.state == D_RELAY:
                self.pipe.resume()
        return 0

    cdef int up_end(self, Upstream up) except -1:
        if up is not self.up:
            return up.discard()
        if self.state == D_UPGRADED:
            self.drop_upstream(True)
            return end_upgraded(self, 0)
        if (self.state == D_RELAY and self.response_begun and self.response_body.framing == FRAMING_CLOSE
                and not up.pipe.torn()):
            return end_answer(self)
        return upstream_failed(self, R_ORIGIN_TRUNCATED if self.response_begun else R_ORIGIN_CLOSED)

    cdef int up_lost(self, Upstream up, int reason) except -1:
        if up is not self.up:
            if up is self.bound:
                self.bound = None
            return 0
        if self.state == D_CONNECT:
            return upstream_failed(self, reason if reason else R_ORIGIN_UNREACHABLE)
        if self.state == D_UPGRADED:
            self.up = None
            return end_upgraded(self, 0 if reason == R_INTERNAL else reason)
        if reason == 0 or reason == R_INTERNAL:      # reset, and no end came before: nothing here is whole
            reason = R_ORIGIN_TRUNCATED if self.response_begun else R_ORIGIN_CLOSED
        return upstream_failed(self, reason)

    # -- the client goes, or takes its time --------------------------------------------------------

    cdef int on_eof(self, Pipe pipe) except -1:
        self.client_ended = True
        self.keep = False
        if self.state == D_UPGRADED:
            self.drop_upstream(True)
            return end_upgraded(self, 0)
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
            return upstream_failed(self, R_ORIGIN_CONNECT_TIMEOUT)
        if self.state == D_RELAY and not self.response_begun:
            if self.request_done:
                return upstream_failed(self, R_ORIGIN_HEAD_TIMEOUT)
            if self.up is not None and self.up.pipe.full():
                return upstream_failed(self, R_ORIGIN_BODY_TIMEOUT)
            self.drop_upstream(True)
            return self.refuse(R_BODY_TIMEOUT)
        if self.x is not None:
            self.x.reason = R_UPGRADE_IDLE if self.state == D_UPGRADED else R_CLIENT_STALLED
        return self.pipe.abort(R_CLIENT_STALLED)
