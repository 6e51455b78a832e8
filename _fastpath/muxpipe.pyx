"""One mux stream behind the Pipe interface."""

cimport cython
from libc.stdint cimport uint8_t

from _fastpath.buffer cimport buffer_new
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport (
    R_INTERNAL, R_LINK_GOAWAY, R_LINK_PROTOCOL, R_STREAM_RESET, R_TUNNEL_STREAMS, raise_wire,
)
from _fastpath.limits cimport MAX_HELD, MAX_RELAYED_REST, MAX_STREAM_HEADER, MAX_STREAMS, READ_BUFFER
from _fastpath.slice cimport Slice
from _fastpath.stream cimport Stream, ring_clear, ring_init, ring_linked, ring_push, ring_unlink

import logging

import msgpack

from _fastpath.errors import reason_number

log = logging.getLogger("sekisho.link")

# What a connector may give as the reason of a refusal: it must not speak for the edge's own decisions.
cdef frozenset REFUSALS = frozenset((
    "origin-refused", "origin-unreachable", "origin-name", "origin-tls", "origin-connect-timeout",
    "origin-address-refused", "tunnel-table-unknown", "tunnel-service-missing", "tunnel-streams", "draining",
    "relay-refused", "tunnel-down", "link-lost",
))


@cython.final
cdef class Way:
    def __cinit__(self):
        ring_init(&self.resting, NULL)

    def __dealloc__(self):
        ring_clear(&self.resting)


cdef class Asked:
    cdef int header_came(self, bytes header) except -1:
        raise NotImplementedError


@cython.final
cdef class MuxPipe(StreamPipe):
    def __cinit__(self):
        ring_init(&self.resting, <void*>self)
        ring_init(&self.resting_far, <void*>self)

    def __dealloc__(self):
        ring_unlink(&self.resting)
        ring_unlink(&self.resting_far)

    # -- the stream calls us -----------------------------------------------------------------------

    cdef int feed(self, const uint8_t* p, size_t n) except -1:
        if self.finished or self.closing:
            return self.stream.consumed(n)
        if self.waiting == WAIT_STATUS and self.held.size() == 0 and p[0] == 0:
            self.waiting = WAIT_NOTHING    # the usual first byte, without a detour through the buffer
            self.debt += 1
            p += 1
            n -= 1
        if n == 0:
            return self.settle()
        if self.waiting or self.paused or self.delivering or self.held.size():
            self.held.append(p, n)
            if self.waiting:
                return self.preface()
            return 0
        self.debt += n
        self.delivering = True
        try:
            self.receiver.on_data(self, p, n)
        except BaseException:
            self.delivering = False
            log.exception("a receiver failed; its stream is reset")
            return self.abort(R_INTERNAL)
        self.delivering = False
        return self.settle()

    cdef int settle(self) except -1:
        """Give the window back for what the receiver has used."""
        cdef size_t n = self.debt
        if n and not self.paused:
            self.debt = 0
            return self.stream.consumed(n)
        return 0

    cdef int preface(self) except -1:
        """Read what comes before the payload, as far as it is here."""
        cdef Slice waiting = self.held.view()
        cdef size_t length
        cdef Asked asked
        cdef bytes header
        if self.waiting == WAIT_STATUS:
            if waiting.ptr[0] == 0:
                self.held.consume(1)
                self.debt += 1
                self.waiting = WAIT_NOTHING
                return self.hand_up()
            if waiting.len < 3:
                return 0
            length = (<size_t>waiting.ptr[1] << 8) | waiting.ptr[2]
            if waiting.len < 3 + length and length <= MAX_STREAM_HEADER:
                return 0
            return self.refused(waiting.ptr[3:3 + length] if length <= MAX_STREAM_HEADER else b"")
        if waiting.len < 2:
            return 0
        length = (<size_t>waiting.ptr[0] << 8) | waiting.ptr[1]
        if length > MAX_STREAM_HEADER:
            raise_wire(-<int>R_LINK_PROTOCOL, "stream header too long")
        if waiting.len < 2 + length:
            return 0
        asked = self.asked
        self.asked = None
        header = waiting.ptr[2:2 + length]
        self.held.consume(2 + length)
        self.debt += 2 + length
        self.waiting = WAIT_NOTHING
        return asked.header_came(header)

    cdef int refused(self, bytes text) except -1:
        name = "stream-reset"
        try:
            values = msgpack.unpackb(text, raw=False)
            if values["reason"] in REFUSALS:
                name = values["reason"]
        except Exception:                  # noqa: S110: whatever is in there, the stream was refused
            pass
        return self.abort(reason_number(name))

    cdef int hand_up(self) except -1:
        """Give the receiver what waits, then the end; outside of any of its calls."""
        cdef Slice waiting
        cdef size_t n
        while self.held.size() and not (self.paused or self.delivering or self.finished or self.closing):
            waiting = self.held.view()
            # In pieces: a window may be larger than what a receiver's other side takes at once (a relay's stream), and
            # between two of them it may pause us.
            n = waiting.len if waiting.len < READ_BUFFER else READ_BUFFER
            self.debt += n
            self.delivering = True
            try:
                self.receiver.on_data(self, waiting.ptr, n)
            except BaseException:
                self.delivering = False
                log.exception("a receiver failed; its stream is reset")
                return self.abort(R_INTERNAL)
            self.delivering = False
            self.held.consume(n)
        if self.finished or self.closing:
            return 0
        self.settle()
        if self.saw_end and not self.told_end and not self.paused and self.held.size() == 0:
            self.told_end = True
            return self.receiver.on_eof(self)
        return 0

    cdef int stream_end(self) except -1:
        self.saw_end = True
        if self.waiting:
            return self.abort(R_STREAM_RESET)      # ended before it was answered or asked
        if self.finished or self.closing:
            return 0
        if self.delivering:
            return self.plan_turn()
        return self.hand_up()

    cdef int stream_writable(self) except -1:
        if not self.finished and not self.closing and self.receiver is not None:
            return self.receiver.on_writable(self)
        return 0

    cdef int plan_turn(self) except -1:
        if not self.turn_planned:
            self.turn_planned = True
            self.carrier.loop.call_soon(self.turn)
        return 0

    def turn(self):
        """Go on after resume() or close(), outside of the caller's stack."""
        self.turn_planned = False
        try:
            if self.finished:
                return
            if self.closing:
                self.finish(0)
            else:
                self.hand_up()
        except BaseException:
            log.exception("a stream failed; it is reset")
            self.abort(R_INTERNAL)

    cdef int finish(self, int reason) except -1:
        cdef Receiver receiver = self.receiver
        if self.finished:
            return 0
        self.wake()
        self.finished = True
        self.closing = True
        self.receiver = None
        self.stream.user = None
        self.asked = None
        self.held.clear()
        self.debt = 0
        self.stream.consumed(self.stream.held)     # its window, closed or not, still counts for the link
        self.carrier.streams -= 1
        if receiver is not None:
            try:
                receiver.on_lost(self, reason)
            except BaseException:
                log.exception("a receiver failed while its stream ended")
        return 0

    # -- Pipe --------------------------------------------------------------------------------------

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        if n == 0 or self.closing or self.ending or not self.stream.open_for_write():
            return 0
        if ring_linked(&self.resting):
            self.wake()
        return self.stream.write(p, n)

    cdef size_t queued(self) noexcept:
        return self.stream.queued()

    cdef bint full(self) noexcept:
        return self.stream.full()

    cdef int pause(self) except -1:
        self.paused = True
        return 0

    cdef int resume(self) except -1:
        if not self.paused:
            return 0
        self.paused = False
        if self.finished or self.closing:
            return 0
        if self.held.size() or (self.saw_end and not self.told_end):
            return self.plan_turn()
        if not self.delivering:
            return self.settle()
        return 0

    cdef int end(self) except -1:
        if not self.ending and not self.closing:
            self.ending = True
            if self.stream.open_for_write():
                return self.stream.end()
        return 0

    cdef int close(self) except -1:
        if self.closing:
            return 0
        self.end()
        self.closing = True
        return self.plan_turn()

    cdef int abort(self, int reason) except -1:
        if self.finished:
            return 0
        self.stream.user = None
        if not self.parted:
            self.stream.reset()
        return self.finish(reason)

    cdef int rest(self) except -1:
        """Wait in a pool: when the link has no place left, who rests for longest is closed to make one."""
        cdef Way way = self.way
        if self.finished or self.closing:
            return 0
        ring_push(&self.carrier.resting, &self.resting)
        if way is None:
            return 0
        # The other worker can't see which of its streams wait in a pool here: we keep few.
        if not ring_linked(&self.resting_far):
            way.rests += 1
        ring_push(&way.resting, &self.resting_far)
        if way.rests > MAX_RELAYED_REST:
            return (<MuxPipe>way.resting.next.stream).abort(0)
        return 0

    cdef void wake(self) noexcept:
        ring_unlink(&self.resting)
        if ring_linked(&self.resting_far):
            ring_unlink(&self.resting_far)
            self.way.rests -= 1

    cdef bint alive(self) noexcept:
        # Asked by pools: a link that drains serves what runs on it and is kept for nothing new.
        return (not self.closing and not self.saw_end and not self.carrier.draining
                and not (self.way is not None and self.way.closed) and self.stream.open_for_write())


cdef MuxPipe pipe_new(Carrier carrier, Stream s, int waiting):
    cdef MuxPipe pipe = MuxPipe.__new__(MuxPipe)
    pipe.carrier = carrier
    pipe.stream = s
    pipe.held = buffer_new(MAX_HELD)
    pipe.waiting = waiting
    s.user = pipe
    carrier.streams += 1
    return pipe


cdef MuxPipe stream_open(Carrier carrier, bytes header, Receiver receiver):
    cdef Stream s
    cdef MuxPipe pipe
    cdef uint8_t length[2]
    cdef size_t n = len(header)
    if carrier.lost or carrier.draining:
        raise_wire(-<int>R_LINK_GOAWAY, "no new streams on this link")
    while (carrier.streams >= MAX_STREAMS - 1 or carrier.mux.roster.live >= MAX_STREAMS) and \
            ring_linked(&carrier.resting):
        (<MuxPipe>carrier.resting.next.stream).abort(0)
    if carrier.streams >= MAX_STREAMS - 1:
        raise_wire(-<int>R_TUNNEL_STREAMS, "the link carries as many streams as it may")
    s = carrier.mux.open(now_us())
    carrier.total += 1
    pipe = pipe_new(carrier, s, WAIT_STATUS)
    pipe.receiver = receiver
    length[0] = <uint8_t>(n >> 8)
    length[1] = <uint8_t>(n & 255)
    s.write(length, 2)
    s.write(<const uint8_t*><const char*>header, n)
    return pipe
