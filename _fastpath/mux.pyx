"""yamux version 0: the session. MUX.md is its specification; section numbers below are that page's.

Reading order: what comes in, what goes out, time and the end. Who has which id is in roster, whose turn it is
to send in schedule, whether the other side lives in pulse, how large a receive window is in window."""

cimport cython
from libc.stdint cimport SIZE_MAX, UINT32_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from _fastpath.buffer cimport buffer_new
from _fastpath.errors cimport (
    R_BUFFER_FULL, R_LINK_GOAWAY, R_LINK_LOST, R_LINK_PROTOCOL, R_LINK_ROLE, R_LINK_TIMEOUT, R_STREAM_RESET,
    R_STREAM_TIMEOUT, R_STREAM_WINDOW, R_TUNNEL_STREAMS, raise_wire,
)
from _fastpath.frame cimport (
    FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, FRAME_DATA, FRAME_GOAWAY, FRAME_PING, FRAME_WINDOW,
    GOAWAY_INTERNAL, GOAWAY_PROTOCOL, frame_parse, frame_write,
)
from _fastpath.limits cimport (
    HALF_CLOSED, HELD_WINDOW, INITIAL_WINDOW, LINK_HELD, LINK_HELD_MAX, MAX_BACKLOG, MAX_CONTROL, MAX_WINDOW,
    PING_ANSWERS, PING_ANSWERS_PER_SECOND, RAPID_RESETS, RAPID_RESETS_PER_SECOND, RESET_HELD, STREAM_LOW_WATER,
)
from _fastpath.pulse cimport pulse_answer, pulse_ask, pulse_deadline, pulse_failure, pulse_quiet
from _fastpath.schedule cimport (
    schedule_again, schedule_clear, schedule_fresh, schedule_idle, schedule_init, schedule_next, schedule_sent,
    schedule_share,
)
from _fastpath.stream cimport (
    E_END_REMOTE, E_FIN_SENT, F_ACK_DUE, F_ACKED, F_CLAIMED, F_FIN_DUE, F_OURS, F_RESET_HELD,
    F_SYN_DUE, F_TELL_CLOSED, F_UPDATE_DUE, F_WAITING, S_BOTH, S_CLOSED, S_HALF_REMOTE,
    S_OPEN, ring_clear, ring_init, ring_linked, ring_push, ring_unlink, stream_new,
)
from _fastpath.window cimport MEASURE_EVERY, window_tune

cdef enum:
    LEAST_TAIL = 512                 # payload bytes: a frame smaller than that isn't started just to fill the buffer
    MS = 1000                        # microseconds

cdef int LIVE = 0                    # Mux objects that exist: the tests assert zero at their end


cdef bint bucket_take(Bucket* b, uint32_t most, uint32_t per_second, uint64_t now) noexcept nogil:
    """Take one token; False when there is none. A zeroed bucket is full."""
    cdef uint64_t new
    if b.filled == 0:
        b.tokens, b.filled = most, now
    new = (now - b.filled) * per_second // 1000000
    if new:
        b.tokens = <uint32_t>min(<uint64_t>most, b.tokens + new)
        b.filled = now
    if b.tokens == 0:
        return False
    b.tokens -= 1
    return True


@cython.final
cdef class Mux(StreamOwner):
    """One session. Between two calls every stream is in the table or closed, never half."""

    def __cinit__(self):
        global LIVE
        LIVE += 1
        ring_init(&self.signals, NULL)
        ring_init(&self.unopened, NULL)
        schedule_init(&self.schedule)
        ring_init(&self.half, NULL)
        ring_init(&self.parting, NULL)
        ring_init(&self.holders, NULL)
        self.roster, self.told = Roster.__new__(Roster), []
        self.control = buffer_new(MAX_CONTROL)

    def __dealloc__(self):
        global LIVE
        LIVE -= 1
        # The heads die with this object; a stream that somebody still holds must not point at them.
        ring_clear(&self.signals)
        ring_clear(&self.unopened)
        schedule_clear(&self.schedule)
        ring_clear(&self.half)
        ring_clear(&self.parting)
        ring_clear(&self.holders)

    # -- streams come and go -------------------------------------------------------------------

    cdef int forget(self, Stream s) except -1:
        ring_unlink(&s.sends)
        ring_unlink(&s.signals)
        ring_unlink(&s.fading)
        self.drop_queue(s)
        if not s.flags & F_TELL_CLOSED:              # what came before the end is still to be used
            self.drop_held(s)
        self.grown -= s.window - INITIAL_WINDOW
        s.state, s.mux = S_CLOSED, None
        self.roster.remove(s)
        if not s.flags & F_OURS:
            if not s.flags & F_CLAIMED:
                self.backlog -= 1
        elif not s.flags & (F_SYN_DUE | F_ACKED):
            self.acknowledged(s)
        return 0

    cdef void drop_queue(self, Stream s) noexcept:
        if s.queue is not None:
            self.link_queued -= s.queue.size()
            s.queue = None

    cdef void drop_held(self, Stream s) noexcept:
        if s.bears is not None:
            self.link_held -= s.held
            s.bears = None

    # -- what comes in -------------------------------------------------------------------------

    cdef int feed(self, const uint8_t* p, size_t n, uint64_t now) except -1:
        cdef size_t take
        if n and not self.over:
            self.now = self.pulse.heard = now
        while n and not self.over:
            if self.body_left:
                take = min(n, <size_t>self.body_left)
                self.body_left -= <uint32_t>take
                if self.body is not None and self.body.state != S_CLOSED:
                    self.counters.bytes_in += take
                    self.body.coming -= <uint32_t>take
                    self.body.held += <uint32_t>take
                    self.link_held += take
                    self.events.on_data(self.body, p, take)
                    if self.link_held > LINK_HELD_MAX and not self.over:
                        self.shed()
                p += take
                n -= take
                if self.body_left == 0 and not self.over:
                    self.frame_end()
                continue
            if self.head_have == 0 and n >= FRAME_HEADER:
                if frame_parse(p, &self.frame) < 0:
                    self.fail(R_LINK_PROTOCOL, self.frame.fault.decode())
                p += FRAME_HEADER
                n -= FRAME_HEADER
            else:
                take = min(n, <size_t>(FRAME_HEADER - self.head_have))
                memcpy(self.head + self.head_have, p, take)
                self.head_have += <uint32_t>take
                p += take
                n -= take
                if self.head_have < FRAME_HEADER:
                    break
                self.head_have = 0
                if frame_parse(self.head, &self.frame) < 0:
                    self.fail(R_LINK_PROTOCOL, self.frame.fault.decode())
            self.counters.frames_in += 1
            if self.frame.type <= FRAME_WINDOW:
                self.stream_frame()
            else:
                self.session_frame()
        return 0

    cdef int stream_frame(self) except -1:
        cdef uint32_t length = self.frame.length
        cdef int flags = self.frame.flags
        cdef bint data = self.frame.type == FRAME_DATA
        cdef Stream s
        if flags & FLAG_SYN:
            if data and length > INITIAL_WINDOW:
                self.fail(R_STREAM_WINDOW, "a new stream's first frame is larger than its window")
            s = self.incoming()
            if self.over:
                return 0
        else:
            s = self.roster.find(self.frame.stream)
            if s is None:
                self.counters.strays += 1
                if data and length > MAX_WINDOW:
                    self.fail(R_STREAM_WINDOW, "a frame larger than any window")
        if s is not None and flags & FLAG_ACK and s.flags & F_OURS and not s.flags & F_ACKED:
            if s.flags & F_SYN_DUE:
                self.fail(R_LINK_PROTOCOL, "ACK of a stream that was not opened")
            self.acknowledged(s)
            if s.flags & F_RESET_HELD:
                self.send_reset(s)
                self.forget(s)
        if s is not None and s.mux is not None and flags & FLAG_RST:
            self.reset_in(s)
            if self.over:
                return 0
        if s is not None and s.mux is None:
            s = None
        if not data:
            if s is not None:
                self.window_opens(s, length)
            self.body = s
            return self.frame_end()
        if s is not None and length:
            if length > s.credit:
                self.fail(R_STREAM_WINDOW, f"stream {s.id}: {length} bytes sent, {s.credit} allowed")
            if s.state == S_HALF_REMOTE or s.state == S_BOTH:
                self.fail(R_LINK_PROTOCOL, f"stream {s.id}: data after FIN")
            s.credit -= length
            if s.state != S_CLOSED:
                self.pace(s, length)
                s.coming = length
                self.touch(s)
        self.body, self.body_left = s, length
        return 0 if length else self.frame_end()

    cdef int frame_end(self) except -1:
        cdef Stream s = self.body
        self.body = None
        if s is None or s.state == S_CLOSED or not self.frame.flags & FLAG_FIN:
            return 0
        if not s.turn(E_END_REMOTE):
            self.counters.strays += 1                # a second FIN
            return 0
        if s.state == S_BOTH and not s.flags & F_FIN_DUE:
            # Ours has left already: this was the last frame.
            s.flags |= F_TELL_CLOSED
            self.forget(s)
            try:
                self.events.on_end(s)
                if self.events is not None:
                    self.events.on_closed(s)
            finally:
                self.part(s)
            return 0
        self.touch(s)
        return self.events.on_end(s)

    cdef void touch(self, Stream s) noexcept:
        s.touched = self.now
        if s.state != S_OPEN and s.state != S_CLOSED:
            ring_push(&self.half, &s.fading)

    cdef Stream incoming(self):
        """The stream that a SYN opens; None when it is refused."""
        cdef uint32_t id = self.frame.stream
        cdef uint64_t ordinal = (<uint64_t>id + 1) >> 1
        cdef Stream s
        if (id & 1) == <uint32_t>self.client:
            self.fail(R_LINK_PROTOCOL, f"stream {id} is not the other side's to open")
        if self.accepts == ACCEPT_NONE or (self.accepts == ACCEPT_FIRST and (ordinal != 1 or self.roster.seen_top)):
            self.fail(R_LINK_ROLE, f"stream {id} may not be opened on this link")
        if not self.roster.claim(ordinal):
            self.fail(R_LINK_PROTOCOL, f"stream {id} was used before")
        if self.frame.flags & FLAG_RST:
            self.counters.resets_in += 1
            self.rapid_reset()
            return None
        if self.going_away or self.roster.live >= self.max_streams or self.backlog >= MAX_BACKLOG:
            self.counters.refused += 1
            self.send_control(FRAME_WINDOW, FLAG_RST, id, 0)
            return None
        s = stream_new(self, id, False, self.now)
        self.roster.insert(s)
        self.counters.opened += 1
        self.backlog += 1
        self.events.on_open(s)
        return s

    cdef int acknowledged(self, Stream s) except -1:
        """One of ours is no longer waiting for ACK: another SYN may leave."""
        s.flags |= F_ACKED
        self.unacked -= 1
        if ring_linked(&self.unopened) and not self.over:
            ring_push(&self.signals, self.unopened.next)
            self.output()
        return 0

    cdef int reset_in(self, Stream s) except -1:
        cdef bint told = not s.flags & F_RESET_HELD
        self.counters.resets_in += 1
        # J07: opening and resetting before we could even accept costs the other side nothing.
        if not s.flags & (F_OURS | F_ACKED):
            self.rapid_reset()
        self.forget(s)
        try:
            if told:
                self.events.on_reset(s, R_STREAM_RESET)
        finally:
            s.user = None
        return 0

    cdef int shed(self) except -1:
        """Reset whoever holds most while the link holds too much; a stream that holds little is left in peace. Of two that
        hold as much, the one that has ended goes first."""
        cdef Stream s, most
        cdef Ring* r
        while self.link_held > LINK_HELD_MAX and self.body is not None and self.body.held > HELD_WINDOW and \
                self.body.bears is not None and not self.over:
            most = self.body
            for s in self.roster.slots:
                if s is not None and s.bears is not None and s.held > most.held:
                    most = s
            r = self.holders.prev
            while r != &self.holders:
                s = <Stream>r.stream
                if s.held >= most.held:
                    most = s
                r = r.prev
            self.counters.shed += 1
            if most.mux is None:
                self.take_away(most)
                continue
            if not most.flags & F_SYN_DUE:
                self.send_reset(most)
            self.give_up(most, R_BUFFER_FULL)
        return 0

    cdef void part(self, Stream s) noexcept:
        """What s still holds can be taken from it as long as its owner is known."""
        if s.held and s.bears is not None and self.events is not None:
            ring_push(&self.holders, &s.fading)
        else:
            s.user = None

    cdef int take_away(self, Stream s) except -1:
        ring_unlink(&s.fading)
        self.drop_held(s)
        try:
            if self.events is not None:
                self.events.on_reset(s, R_BUFFER_FULL)
        finally:
            s.user = None
        return 0

    cdef int rapid_reset(self) except -1:
        if not bucket_take(&self.rapid, RAPID_RESETS, RAPID_RESETS_PER_SECOND, self.now):
            self.fail(R_LINK_PROTOCOL, "streams reset as fast as they are opened")
        return 0

    cdef int window_opens(self, Stream s, uint32_t n) except -1:
        s.send_window += n
        if s.send_window > UINT32_MAX:
            self.fail(R_STREAM_WINDOW, f"stream {s.id}: the send window overflows")
        if n and s.state != S_CLOSED and s.queued() and not s.flags & F_SYN_DUE and not ring_linked(&s.sends):
            schedule_again(&self.schedule, s)
            self.output()
        return 0

    cdef int pace(self, Stream s, uint32_t n) except -1:
        s.paced += n
        if s.paced >= s.window // 2:
            if self.now - self.pulse.measured >= MEASURE_EVERY:
                self.ping(self.now)
            window_tune(s, self.now, &self.pulse, &self.grown, self.link_held <= LINK_HELD)
        return 0

    cdef int session_frame(self) except -1:
        cdef uint64_t sample
        cdef MuxEvents events = self.events
        cdef Stream s
        if self.frame.type == FRAME_PING:
            if self.frame.flags == FLAG_SYN:
                if bucket_take(&self.answers, PING_ANSWERS, PING_ANSWERS_PER_SECOND, self.now):
                    return self.send_control(FRAME_PING, FLAG_ACK, 0, self.frame.length)
                self.counters.pings_ignored += 1
                return 0
            sample = pulse_answer(&self.pulse, self.frame.length, self.now)
            if sample:
                return events.on_pong(sample)
            self.counters.strays += 1
            return 0
        self.gone_away = True
        # The other side takes no more SYNs: what hasn't left yet never will.
        for s in self.roster.slots:
            if s is not None and s.flags & F_SYN_DUE and s.mux is not None:
                self.give_up(s, R_LINK_GOAWAY)
        if not self.over:
            events.on_goaway(self.frame.length)
        if self.frame.length and not self.over:
            self.over, self.why = True, R_LINK_GOAWAY
            self.control.clear()
            raise_wire(-<int>R_LINK_GOAWAY, f"code {self.frame.length}")
        return 0

    cdef int give_up(self, Stream s, int reason) except -1:
        """Close s from our side of the session, not its owner's: the owner is told."""
        self.forget(s)
        try:
            if self.events is not None and not s.flags & F_RESET_HELD:
                self.events.on_reset(s, reason)
        finally:
            s.user = None
        return 0

    # -- what goes out -------------------------------------------------------------------------

    cdef int output(self) except -1:
        if not self.signalled and self.events is not None:
            self.signalled = True
            self.events.on_output()
        return 0

    cdef int send_control(self, int type, int flags, uint32_t stream, uint32_t length) except -1:
        if self.control.size() + FRAME_HEADER > MAX_CONTROL:
            # J11: the other side asks and asks, and never reads an answer.
            self.fail(R_LINK_PROTOCOL, "control frames pile up unread")
        frame_write(self.control.reserve(FRAME_HEADER), type, flags, stream, length)
        self.control.commit(FRAME_HEADER)
        return self.output()

    cdef int send_reset(self, Stream s) except -1:
        self.counters.resets_out += 1
        return self.send_control(FRAME_WINDOW, FLAG_RST, s.id, 0)

    cdef int stream_sends(self, Stream s) except -1:
        if self.over:
            return 0
        if s.state != S_OPEN and not ring_linked(&s.fading):
            self.touch(s)
        if s.flags & F_SYN_DUE or ring_linked(&s.sends) or (s.send_window == 0 and s.queued()):
            return 0
        schedule_fresh(&self.schedule, s)
        return self.output()

    cdef int stream_signals(self, Stream s) except -1:
        if self.over or ring_linked(&s.signals):
            return 0
        ring_push(&self.signals, &s.signals)
        return self.output()

    cdef int stream_resets(self, Stream s) except -1:
        s.user = None
        if self.over:
            s.flags |= F_RESET_HELD                  # lost() must not tell who gave it up
            return 0
        if s.flags & F_OURS and not s.flags & (F_SYN_DUE | F_ACKED):
            # §6: a SYN and its RST never arrive together, so an honest end can't look like J07.
            s.flags |= F_RESET_HELD
            s.touched = self.now
            ring_unlink(&s.sends)
            ring_unlink(&s.signals)
            self.drop_queue(s)
            self.drop_held(s)
            ring_push(&self.parting, &s.fading)
            return 0
        if not s.flags & F_SYN_DUE:
            self.send_reset(s)
        return self.forget(s)

    cdef Stream open(self, uint64_t now):
        cdef Stream s
        self.now = max(self.now, now)
        if self.over:
            raise_wire(-<int>R_LINK_LOST)
        if self.going_away or self.gone_away:
            raise_wire(-<int>R_LINK_GOAWAY)
        if self.roster.live >= self.max_streams:
            raise_wire(-<int>R_TUNNEL_STREAMS, f"{self.roster.live} streams are open")
        if self.next_id > UINT32_MAX - 2:
            raise_wire(-<int>R_LINK_GOAWAY, "stream ids are used up")
        s = stream_new(self, self.next_id, True, self.now)
        self.next_id += 2
        self.roster.insert(s)
        self.counters.opened += 1
        ring_push(&self.signals, &s.signals)
        self.output()
        return s

    cdef bint wants_send(self) noexcept:
        return self.control.size() > 0 or (not self.over and (
            ring_linked(&self.signals) or not schedule_idle(&self.schedule)))

    cdef size_t fill(self, uint8_t* out, size_t room) except? 0:
        cdef Slice waiting = self.control.view()
        cdef size_t used = min(waiting.len, room - room % FRAME_HEADER)
        self.signalled = False
        if used:
            memcpy(out, waiting.ptr, used)
            self.control.consume(used)
            self.counters.frames_out += used // FRAME_HEADER
        if not self.over:
            used += self.fill_signals(out + used, room - used)
            used += self.fill_data(out + used, room - used, used > 0)
            if self.told:
                self.tell()
        return used

    cdef size_t fill_signals(self, uint8_t* out, size_t room) except? 0:
        cdef size_t used = 0
        cdef Stream s
        while room - used >= FRAME_HEADER and ring_linked(&self.signals):
            s = <Stream>self.signals.next.stream
            ring_unlink(&s.signals)
            if s.flags & F_SYN_DUE:
                if self.unacked >= MAX_BACKLOG:
                    ring_push(&self.unopened, &s.signals)
                    continue
                if s.queued() or s.flags & F_FIN_DUE:
                    schedule_fresh(&self.schedule, s)
                    continue                         # its first Data frame carries the SYN
                self.unacked += 1
            elif s.flags & F_ACK_DUE and not s.flags & F_UPDATE_DUE and ring_linked(&s.sends):
                continue                             # its next Data frame carries the ACK
            used += self.put_window(s, out + used)
        return used

    cdef size_t put_window(self, Stream s, uint8_t* out) noexcept:
        """A Window Update with whatever flags are due; FRAME_HEADER bytes, or none when nothing is."""
        cdef int flags = 0
        cdef uint32_t delta = 0
        if s.flags & F_SYN_DUE:
            flags |= FLAG_SYN
        if s.flags & F_ACK_DUE:
            flags |= FLAG_ACK
            s.flags |= F_ACKED
        if s.flags & F_UPDATE_DUE and s.grants() > s.credit + s.coming + s.held:
            delta = s.grants() - s.credit - s.coming - s.held
            s.credit += delta
        s.flags &= ~<uint32_t>(F_SYN_DUE | F_ACK_DUE | F_UPDATE_DUE)
        if delta == 0 and flags == 0:
            return 0
        frame_write(out, FRAME_WINDOW, flags, s.id, delta)
        self.counters.frames_out += 1
        return FRAME_HEADER

    cdef size_t fill_data(self, uint8_t* out, size_t room, bint begun) except? 0:
        cdef size_t used = 0
        cdef size_t most, left
        cdef Stream s
        while True:
            s = schedule_next(&self.schedule)
            if s is None:
                break
            most = min(<uint64_t>s.queued(), s.send_window)
            if most == 0 and not (s.flags & F_FIN_DUE and s.queued() == 0):
                ring_unlink(&s.sends)
                continue
            if s.flags & F_SYN_DUE and self.unacked >= MAX_BACKLOG:
                ring_unlink(&s.sends)
                ring_push(&self.unopened, &s.signals)
                continue
            most = schedule_share(&self.schedule, s, most)
            if most == SIZE_MAX:
                continue
            left = room - used
            if left < FRAME_HEADER + min(most, <size_t>LEAST_TAIL if begun else 1):
                break
            begun = True
            most = min(most, left - FRAME_HEADER)
            used += self.put_data(s, out + used, most)
            schedule_sent(&self.schedule, s, most, s.state != S_CLOSED and s.queued() > 0 and s.send_window > 0)
        return used

    cdef size_t put_data(self, Stream s, uint8_t* out, size_t most) except 0:
        cdef int flags = 0
        cdef Slice waiting
        if s.flags & F_SYN_DUE:
            flags |= FLAG_SYN
            self.unacked += 1
        if s.flags & F_ACK_DUE:
            flags |= FLAG_ACK
            s.flags |= F_ACKED
        s.flags &= ~<uint32_t>(F_SYN_DUE | F_ACK_DUE)
        most = min(<uint64_t>most, min(<uint64_t>s.queued(), s.send_window))
        if most:
            waiting = s.queue.view()
            memcpy(out + FRAME_HEADER, waiting.ptr, most)
            s.queue.consume(most)
        s.send_window -= most
        self.link_queued -= most
        if s.flags & F_FIN_DUE and s.queued() == 0:
            flags |= FLAG_FIN
        frame_write(out, FRAME_DATA, flags, s.id, <uint32_t>most)
        self.counters.frames_out += 1
        self.counters.bytes_out += most
        self.touch(s)
        if flags & FLAG_FIN:
            s.flags &= ~<uint32_t>F_FIN_DUE
            s.turn(E_FIN_SENT)
            if s.state == S_CLOSED:
                s.flags |= F_TELL_CLOSED
                self.told.append(s)
                self.forget(s)
        elif s.flags & F_WAITING and s.queued() <= STREAM_LOW_WATER:
            s.flags &= ~<uint32_t>F_WAITING
            self.told.append(s)
        return FRAME_HEADER + most

    cdef int tell(self) except -1:
        """Say what fill() changed, now that nothing is half done."""
        cdef list told = self.told
        cdef Stream s
        self.told = []
        for s in told:
            if self.events is None:
                break
            if s.flags & F_TELL_CLOSED:
                try:
                    self.events.on_closed(s)
                finally:
                    self.part(s)
            elif s.open_for_write():
                self.events.on_writable(s)
        return 0

    cdef int goaway(self, uint32_t code) except -1:
        if self.over or self.going_away:
            return 0
        self.going_away = True
        return self.send_control(FRAME_GOAWAY, 0, 0, code)

    # -- time and the end ----------------------------------------------------------------------

    cdef int ping(self, uint64_t now) except -1:
        self.now = max(self.now, now)
        if self.over or not pulse_ask(&self.pulse, self.now):
            return 0
        return self.send_control(FRAME_PING, FLAG_SYN, 0, self.pulse.ping_value)

    cdef int tick(self, uint64_t now) except -1:
        cdef Stream s
        cdef const char* failure
        if self.over:
            return 0
        self.now = now = max(self.now, now)
        failure = pulse_failure(&self.pulse, now)
        if failure != NULL:
            self.fail(R_LINK_TIMEOUT, failure.decode())
        while ring_linked(&self.half) and not self.over:
            s = <Stream>self.half.next.stream
            if now - s.touched < <uint64_t>HALF_CLOSED * MS:
                break
            self.counters.timed_out += 1
            if not s.flags & F_SYN_DUE:
                self.send_reset(s)
            self.give_up(s, R_STREAM_TIMEOUT)
        while ring_linked(&self.parting) and not self.over:
            s = <Stream>self.parting.next.stream
            if now - s.touched < <uint64_t>RESET_HELD * MS:
                break
            self.send_reset(s)
            self.forget(s)
        if not self.over and pulse_quiet(&self.pulse, now):
            if self.pulse.ping_sent:
                self.pulse.ping_last = now           # the same question again
                return self.send_control(FRAME_PING, FLAG_SYN, 0, self.pulse.ping_value)
            return self.ping(now)
        return 0

    cdef uint64_t deadline(self) noexcept:
        cdef uint64_t due
        if self.over:
            return 0
        due = pulse_deadline(&self.pulse)
        if ring_linked(&self.half):
            due = min(due, (<Stream>self.half.next.stream).touched + <uint64_t>HALF_CLOSED * MS)
        if ring_linked(&self.parting):
            due = min(due, (<Stream>self.parting.next.stream).touched + <uint64_t>RESET_HELD * MS)
        return due

    cdef int fail(self, int reason, object why) except -1:
        if not self.over:
            self.over, self.why = True, reason
            self.body = None
            # What else waits would only stand before the one frame that explains the end.
            self.control.clear()
            frame_write(self.control.reserve(FRAME_HEADER), FRAME_GOAWAY, 0, 0,
                        GOAWAY_INTERNAL if reason == R_LINK_TIMEOUT else GOAWAY_PROTOCOL)
            self.control.commit(FRAME_HEADER)
            self.output()
        raise_wire(-reason, why)

    cdef int lost(self) except -1:
        cdef MuxEvents events = self.events
        cdef list slots = self.roster.slots
        cdef Stream s
        cdef object first = None
        if events is None:                           # again, or from inside: who is still to be told will be
            return 0
        self.over = True
        self.events = self.body = None
        self.control.clear()
        for s in slots:
            if s is None:
                continue
            self.forget(s)
            try:
                if not s.flags & F_RESET_HELD:
                    events.on_reset(s, self.why if self.why else <int>R_LINK_LOST)
            except Exception as error:               # the others must hear of it all the same
                first = first or error
            s.user = None
        while ring_linked(&self.holders):            # what came before their end stays theirs
            s = <Stream>self.holders.next.stream
            ring_unlink(&s.fading)
            s.user = None
        self.told = []
        if first is not None:
            raise first
        return 0


cdef Mux mux_new(MuxEvents events, bint client, int accept_streams, uint32_t max_streams, uint64_t now):
    """A session that begins now (microseconds, not 0). The client opens odd ids, the server even ones."""
    cdef Mux m = Mux.__new__(Mux)
    m.events, m.client = events, client
    m.accepts, m.max_streams = accept_streams, max_streams
    m.next_id = 1 if client else 2
    m.now = m.pulse.heard = max(now, <uint64_t>1)
    return m


# -- doors for tests ---------------------------------------------------------------------------

def footprint() -> int:
    """Return the bytes of one Mux object, its garbage-collector head included, without what it queues."""
    return Mux.__basicsize__ + 16


def live() -> int:
    """Return how many Mux objects exist in this process."""
    return LIVE
