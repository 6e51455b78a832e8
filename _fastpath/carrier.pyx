"""The mux over a transport."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport buffer_new
from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport (
    R_INTERNAL, R_LINK_GOAWAY, R_LINK_LOST, R_LINK_PROTOCOL, R_LINK_ROLE, raise_wire, reason_name,
)
from _fastpath.limits cimport (
    FLUSH_BLOCK, LINK_CLOSE, LINK_NOTSENT, LINK_TICK, MAX_CONTROL_MESSAGE, MAX_STREAMS, PING_TICKS,
)
from _fastpath.mux cimport mux_new
from _fastpath.slice cimport Slice
from _fastpath.stream cimport Stream, ring_clear, ring_init

import logging
import socket

from _fastpath.errors import WireError, reason_number

log = logging.getLogger("sekisho.link")
TCP_NOTSENT_LOWAT = 25                     # linux/tcp.h; the socket module of 3.11 has no name for it

cdef uint64_t _numbers = 0                 # of carriers in this process
cdef uint8_t _block[65536]                 # where frames are put together; used within one flush only


@cython.final
cdef class Ear(Receiver):
    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        cdef Carrier carrier = self.carrier
        if carrier is None or carrier.lost:
            return 0
        try:
            carrier.mux.feed(p, n, now_us())
        except WireError as error:
            log.warning("link %d: %s", carrier.number, error)
            carrier.flush()                # the go-away says why
            carrier.drop(reason_number(error.reason))
        return 0

    cdef int on_eof(self, Pipe pipe) except -1:
        # A link has no half: without its way back no stream can go on.
        return pipe.close()

    cdef int on_writable(self, Pipe pipe) except -1:
        if self.carrier is not None:
            return self.carrier.flush()
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        cdef Carrier carrier = self.carrier
        self.carrier = None
        if carrier is not None:
            return carrier.gone(reason)
        return 0


cdef class StreamPipe(Pipe):
    cdef int feed(self, const uint8_t* p, size_t n) except -1:
        raise NotImplementedError

    cdef int stream_end(self) except -1:
        raise NotImplementedError

    cdef int stream_writable(self) except -1:
        raise NotImplementedError

    cdef int finish(self, int reason) except -1:
        raise NotImplementedError


cdef class Carrier(MuxEvents):
    def __cinit__(self):
        global _numbers
        _numbers += 1
        self.number = _numbers
        self.loop = None
        ring_init(&self.resting, NULL)

    def __dealloc__(self):
        ring_clear(&self.resting)          # the head dies with this object

    cdef int start(self, Pipe pipe, bint client, int accept_streams) except -1:
        """Take `pipe` over; `client` is who dialled, and opens the control stream at once."""
        self.pipe = pipe
        self.ear = Ear.__new__(Ear)
        self.ear.carrier = self
        self.flush_call = self.flush_now
        self.control_in = buffer_new(MAX_CONTROL_MESSAGE + 4)
        self.mux = mux_new(self, client, accept_streams, MAX_STREAMS, now_us())
        pipe.receiver = self.ear
        if isinstance(pipe, TcpPipe):
            (<TcpPipe>pipe).ready = None   # its result is the pipe: a cycle
            keep_queue_short((<TcpPipe>pipe).transport)
        if client:
            self.control = self.mux.open(now_us())
        self.timer = self.loop.call_later(LINK_TICK / 1000.0, self.tick)
        return 0

    # -- the mux calls us --------------------------------------------------------------------------

    cdef int on_open(self, Stream s) except -1:
        if self.control is None and s.id == 1:
            self.control = s
            return s.accept()
        self.total += 1
        return self.accept_stream(s)

    cdef int on_data(self, Stream s, const uint8_t* p, size_t n) except -1:
        if s is self.control:
            self.control_feed(p, n)
            return s.consumed(n)
        if s.user is None:                 # closed here: what still comes is dropped
            return s.consumed(n)
        return (<StreamPipe>s.user).feed(p, n)

    cdef int on_end(self, Stream s) except -1:
        if s is self.control:
            raise_wire(-<int>R_LINK_LOST, "the control stream was ended")
        if s.user is not None:
            return (<StreamPipe>s.user).stream_end()
        return 0

    cdef int on_reset(self, Stream s, int reason) except -1:
        if s is self.control:
            if not self.lost:
                close_soon(self, R_LINK_LOST)
            return 0
        if s.user is not None:
            return (<StreamPipe>s.user).finish(self.why if self.lost and self.why else reason)
        return 0

    cdef int on_closed(self, Stream s) except -1:
        if s is self.control:
            raise_wire(-<int>R_LINK_LOST, "the control stream was ended")
        if s.user is not None:
            (<StreamPipe>s.user).parted = True
        return 0

    cdef int on_writable(self, Stream s) except -1:
        if s.user is not None:
            return (<StreamPipe>s.user).stream_writable()
        return 0

    cdef int on_pong(self, uint64_t round_trip) except -1:
        cdef uint32_t now = <uint32_t>min(round_trip, <uint64_t>60000000)
        # RFC 6298's weight: a smoothed value, so that one slow answer moves no traffic.
        self.round_trip = now if self.round_trip == 0 else (7 * self.round_trip + now) // 8
        return 0

    cdef int on_goaway(self, uint32_t code) except -1:
        self.draining = True
        if code:                           # the other side found us at fault: nothing goes on
            log.warning("link %d: the other side closed it with code %d", self.number, code)
            return close_soon(self, R_LINK_GOAWAY)
        return 0

    cdef int on_output(self) except -1:
        if not self.flush_planned and not self.lost:
            self.flush_planned = True
            self.loop.call_soon(self.flush_call)
        return 0

    # -- sending -----------------------------------------------------------------------------------

    def flush_now(self):
        """Send what this turn of the loop has queued: many frames, one write."""
        self.flush_planned = False
        try:
            self.flush()
        except BaseException:
            log.exception("link %d failed while sending", self.number)
            self.drop(R_INTERNAL)

    cdef int flush(self) except -1:
        cdef size_t n
        while not self.lost and self.mux.wants_send() and not self.pipe.full():
            n = self.mux.fill(_block, FLUSH_BLOCK)
            if n == 0:
                break
            self.pipe.write(_block, n)
        if self.mux.over and not self.lost:
            # It failed outside of feed and tick (a reset by a request that found no room in the queue): nobody else
            # would hear of it, and requests would be sent this way for ever.
            return self.drop(self.mux.why if self.mux.why else <int>R_LINK_LOST)
        return 0

    cdef int control_feed(self, const uint8_t* p, size_t n) except -1:
        cdef Slice waiting
        cdef size_t length
        if self.control_in.size() + n > MAX_CONTROL_MESSAGE + 4:
            raise_wire(-<int>R_LINK_PROTOCOL, "control message too long")
        self.control_in.append(p, n)
        while True:
            waiting = self.control_in.view()
            if waiting.len < 4:
                return 0
            length = ((<size_t>waiting.ptr[0] << 24) | (<size_t>waiting.ptr[1] << 16)
                      | (<size_t>waiting.ptr[2] << 8) | waiting.ptr[3])
            if length > MAX_CONTROL_MESSAGE:
                raise_wire(-<int>R_LINK_PROTOCOL, "control message too long")
            if waiting.len < 4 + length:
                return 0
            message = waiting.ptr[4:4 + length]
            self.control_in.consume(4 + length)
            self.control_message(message)
            if self.lost:
                return 0

    def send(self, bytes framed):
        """Send one framed control message; ignored when the link is gone."""
        if self.lost or self.control is None or not self.control.open_for_write():
            return
        self.control.write(<const uint8_t*><const char*>framed, len(framed))

    # -- time --------------------------------------------------------------------------------------

    def tick(self):
        """Let the mux see the clock, once in LINK_TICK: pings, dead peers, half-closed streams."""
        cdef uint64_t now = now_us()
        if self.lost:
            return
        self.timer = self.loop.call_later(LINK_TICK / 1000.0, self.tick)
        self.ticks += 1
        try:
            if self.ticks % PING_TICKS == 0:
                self.mux.ping(now)         # a busy link is measured too
            if self.mux.deadline() != 0 and self.mux.deadline() <= now:
                self.mux.tick(now)
            self.flush()
        except WireError as error:
            log.warning("link %d: %s", self.number, error)
            self.drop(reason_number(error.reason))
        except BaseException:
            log.exception("link %d failed in its tick", self.number)
            self.drop(R_INTERNAL)

    def ping(self):
        """Measure the round trip now."""
        if not self.lost:
            self.mux.ping(now_us())

    # -- the end -----------------------------------------------------------------------------------

    def goaway(self):
        """Tell the other side that no new streams should come; those that run go on."""
        if not self.lost:
            self.draining = True
            self.mux.goaway(0)

    def close(self, str reason="link-lost"):
        """Send what is queued with a go-away, then close; streams that run are reset with `reason`."""
        if self.lost or self.why:
            return
        self.draining = True               # no request is sent this way any more
        self.why = reason_number(reason)
        self.mux.goaway(0)
        self.flush()
        if self.pipe is not None:
            self.pipe.close()
            # Who doesn't read would keep the link, and every stream on it, for as long as it likes.
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.loop.call_later(LINK_CLOSE / 1000.0, self.abort, reason)

    def abort(self, str reason="link-lost"):
        """Close at once; streams that run are reset with `reason`."""
        self.drop(reason_number(reason))

    cdef int drop(self, int reason) except -1:
        if not self.lost and self.why == 0:
            self.why = reason
        if self.pipe is not None:
            self.pipe.abort(reason)
        return 0

    cdef int gone(self, int reason) except -1:
        if self.lost:
            return 0
        self.lost = True
        self.draining = True
        if self.why == 0:
            self.why = reason if reason else R_LINK_LOST
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        try:
            self.mux.lost()                # resets every stream: its receiver hears self.why
        except BaseException:
            log.exception("link %d failed while it ended", self.number)
        self.ended()
        self.control = None
        self.ear = None
        self.pipe = None
        self.flush_call = None
        return 0

    @property
    def reason(self):
        """Why the link was lost, a reason's name; empty while it lives."""
        return reason_name(self.why).decode() if self.lost else ""

    @property
    def held(self):
        """Bytes that arrived on all its streams and were not used yet."""
        return self.mux.link_held

    def peer_certificate(self):
        """Return the DER of the certificate that the other side showed; None without TLS or when it is gone."""
        if isinstance(self.pipe, TlsPipe) and (<TlsPipe>self.pipe).tls is not None:
            return (<TlsPipe>self.pipe).tls.peer_certificate()
        return None

    def peer_address(self):
        """Return (host, port) of the other side; None for a Unix socket or when it is gone."""
        return (<TcpPipe>self.pipe).peer_address() if isinstance(self.pipe, TcpPipe) else None

    cdef int accept_stream(self, Stream s) except -1:
        raise_wire(-<int>R_LINK_ROLE, f"stream {s.id} may not be opened here")

    cdef int control_message(self, bytes message) except -1:
        return 0

    cdef int ended(self) except -1:
        return 0


cdef int keep_queue_short(object transport) except -1:
    """Let what waits, wait in the mux, where it is scheduled, and not in the kernel (design §8)."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, LINK_NOTSENT)
    return 0


cdef int close_soon(Carrier carrier, int reason) except -1:
    """Drop the link in the next turn: for calls from inside Mux.feed."""
    if carrier.why == 0:
        carrier.why = reason
    carrier.loop.call_soon(carrier.abort, reason_name(reason).decode())
    return 0
