"""The mux over a transport, and the pipes that its streams are."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport buffer_new
from _fastpath.endpoint cimport Pipe, Receiver, TcpPipe, TlsPipe, now_us
from _fastpath.errors cimport (
    R_INTERNAL, R_LINK_GOAWAY, R_LINK_LOST, R_LINK_PROTOCOL, R_LINK_ROLE, R_STREAM_RESET, R_TUNNEL_STREAMS,
    raise_wire, reason_name,
)
from _fastpath.limits cimport (
    FLUSH_BLOCK, LINK_NOTSENT, LINK_TICK, MAX_CONTROL_MESSAGE, MAX_HELD, MAX_STREAM_HEADER, MAX_STREAMS, PING_TICKS,
)
from _fastpath.mux cimport ACCEPT_ANY, MuxEvents, mux_new
from _fastpath.slice cimport Slice
from _fastpath.stream cimport Stream
from _fastpath.tls cimport TlsClientContext, tls_connect

import logging
import socket

import msgpack

from _fastpath.errors import WireError, reason_number

log = logging.getLogger("sekisho.link")
TCP_NOTSENT_LOWAT = 25                     # linux/tcp.h; the socket module of 3.11 has no name for it

cdef uint64_t _numbers = 0                 # of carriers in this process
cdef uint8_t _block[65536]                 # where frames are put together; used within one flush only

# What a connector may give as the reason of a refusal: it must not speak for the edge's own decisions.
cdef frozenset REFUSALS = frozenset((
    "origin-refused", "origin-unreachable", "origin-name", "origin-tls", "origin-connect-timeout",
    "origin-address-refused", "tunnel-table-unknown", "tunnel-service-missing", "tunnel-streams", "draining",
    "relay-refused", "tunnel-down", "link-lost",
))


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


cdef class Carrier(MuxEvents):
    def __cinit__(self):
        global _numbers
        _numbers += 1
        self.number = _numbers
        self.loop = None

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
        return (<MuxPipe>s.user).feed(p, n)

    cdef int on_end(self, Stream s) except -1:
        if s is self.control:
            raise_wire(-<int>R_LINK_LOST, "the control stream was ended")
        if s.user is not None:
            return (<MuxPipe>s.user).stream_end()
        return 0

    cdef int on_reset(self, Stream s, int reason) except -1:
        if s is self.control:
            if not self.lost:
                close_soon(self, R_LINK_LOST)
            return 0
        if s.user is not None:
            return (<MuxPipe>s.user).finish(self.why if self.lost and self.why else reason)
        return 0

    cdef int on_closed(self, Stream s) except -1:
        if s is self.control:
            raise_wire(-<int>R_LINK_LOST, "the control stream was ended")
        if s.user is not None:
            (<MuxPipe>s.user).parted = True
        return 0

    cdef int on_writable(self, Stream s) except -1:
        if s.user is not None:
            return (<MuxPipe>s.user).stream_writable()
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
        if self.lost:
            return
        self.mux.goaway(0)
        self.flush()
        self.why = reason_number(reason)
        self.pipe.close()

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


@cython.final
cdef class Way:
    pass


@cython.final
cdef class MuxPipe(Pipe):
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
        cdef Inbound inbound
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
        inbound = self.inbound
        self.inbound = None
        inbound.header = waiting.ptr[2:2 + length]
        self.held.consume(2 + length)
        self.debt += 2 + length
        self.waiting = WAIT_NOTHING
        return inbound.open_up()

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
            n = waiting.len
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
        self.finished = True
        self.closing = True
        self.receiver = None
        self.stream.user = None
        self.inbound = None
        self.held.clear()
        if self.debt:
            self.stream.consumed(self.debt)        # a closed stream's window still counts for the link
            self.debt = 0
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


# -- two pipes as one ------------------------------------------------------------------------------


@cython.final
cdef class Side(Receiver):
    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        if self.inbound is not None:
            self.inbound.accept()          # an origin that speaks first: the status byte goes before its words
        if self.there is None:
            return pipe.abort(R_INTERNAL)
        self.there.write(p, n)
        if self.there.full():
            pipe.pause()
        return 0

    cdef int on_eof(self, Pipe pipe) except -1:
        if self.inbound is not None:
            self.inbound.accept()
        self.ended = True
        if self.there is None:
            return pipe.close()
        self.there.end()
        if self.other.ended:               # both directions are through
            self.there.close()
            pipe.close()
        return 0

    cdef int on_writable(self, Pipe pipe) except -1:
        # `pipe` takes bytes again: the other one may bring some.
        if self.there is not None:
            self.there.resume()
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        cdef Pipe there = self.there
        cdef Side other = self.other
        cdef bint clean = self.ended and reason == 0
        self.here = None
        self.there = None
        if other is not None:
            other.there = None
            if other.here is None:         # both are gone: let go of the cycle
                other.other = None
                self.other = None
        if there is None:
            return 0
        if clean:
            return there.close()           # its end went through before
        return there.abort(reason if reason else R_STREAM_RESET)


@cython.final
cdef class Inbound:
    cdef int open_up(self) except -1:
        """The header is here: tell the carrier's owner, who accepts or refuses now or later."""
        try:
            self.link.stream_asked(self)
        except Exception:
            log.exception("link %d: a stream could not be served", self.link.number)
            self.refuse("origin-unreachable")
        return 0

    def origin(self, TlsClientContext context=None, str server_name=""):
        """Return (protocol, future) to dial with: the protocol for create_connection, the future
        for when the connection can be used. What the origin says goes to the stream from its first byte on."""
        cdef OriginPipe plain
        cdef OriginTlsPipe secure
        cdef Pipe pipe
        ready = self.link.loop.create_future()
        if context is None:
            plain = OriginPipe.__new__(OriginPipe)
            plain.loop, plain.ready = self.link.loop, ready
            pipe = plain
        else:
            secure = OriginTlsPipe.__new__(OriginTlsPipe)
            secure.loop, secure.ready = self.link.loop, ready
            secure.tls = tls_connect(context, server_name.encode())
            pipe = secure
        self.far.here = pipe
        self.far.inbound = self
        pipe.receiver = self.far
        return pipe, ready

    def accept(self):
        """The origin is there: answer with status 0 and let the bytes flow."""
        cdef uint8_t zero = 0
        if self.answered:
            return
        self.answered = True
        self.far.inbound = None
        if self.pipe.finished:
            if self.far.here is not None:
                self.far.here.abort(R_STREAM_RESET)
            return
        if self.far.here is None:
            self.pipe.abort(R_STREAM_RESET)
            return
        if not self.transparent:
            self.pipe.write(&zero, 1)
        if isinstance(self.far.here, TcpPipe):
            (<TcpPipe>self.far.here).ready = None      # its result is the pipe: a cycle
        self.near.there = self.far.here
        self.far.there = self.pipe
        self.pipe.resume()

    def refuse(self, str reason, str text=""):
        """Answer with a reason's name and end the stream; bytes that came are dropped."""
        cdef bytes body
        cdef Pipe origin = self.far.here
        if self.answered:
            return
        self.answered = True
        self.far.inbound = None
        self.far.here = None
        if origin is not None:
            origin.receiver = None
            origin.abort(0)
        if self.pipe.finished:
            return
        body = msgpack.packb({"reason": reason, "text": text[:500]})
        head = bytes((1, len(body) >> 8, len(body) & 255)) + body
        self.pipe.write(<const uint8_t*><const char*>head, len(head))
        self.pipe.close()

    def cut(self, str reason):
        """Reset the stream, whatever it does now."""
        self.pipe.abort(reason_number(reason))

    @property
    def gone(self):
        """True when the other side gave the stream up, or it ended."""
        return self.pipe.finished


cdef Inbound inbound_new(Carrier carrier, Stream s):
    """Wrap a stream that the other side opened; it stays paused until it is accepted."""
    cdef Inbound inbound = Inbound.__new__(Inbound)
    cdef Side near = Side.__new__(Side)
    cdef Side far = Side.__new__(Side)
    inbound.link = carrier
    inbound.pipe = pipe_new(carrier, s, WAIT_HEADER)
    inbound.near, inbound.far = near, far
    inbound.header = b""
    near.here, near.other = inbound.pipe, far
    far.other = near
    inbound.pipe.inbound = inbound
    inbound.pipe.receiver = near
    inbound.pipe.paused = True
    s.accept()
    return inbound


cdef class OriginPipe(TcpPipe):
    pass


cdef class OriginTlsPipe(TlsPipe):
    pass


# -- the connector's end ---------------------------------------------------------------------------


@cython.final
cdef class DialledLink(Carrier):
    def __init__(self, loop, hooks):
        self.loop = loop
        self.hooks = hooks

    def begin(self, Pipe pipe not None):
        """Take over a pipe whose handshake is done."""
        self.start(pipe, True, ACCEPT_ANY)

    cdef int accept_stream(self, Stream s) except -1:
        inbound_new(self, s)
        return 0

    cdef int control_message(self, bytes message) except -1:
        self.hooks.message(self, message)
        return 0

    cdef int ended(self) except -1:
        hooks = self.hooks
        self.hooks = None
        if hooks is not None:
            hooks.lost(self, self.reason)
        return 0

    def stream_asked(self, Inbound inbound):
        self.hooks.stream(self, inbound)


def client_pipe(loop, TlsClientContext context=None, str server_name=""):
    """Return (protocol, future): a pipe to dial with, and the future for when it can be used."""
    cdef TcpPipe plain
    cdef TlsPipe secure
    ready = loop.create_future()
    if context is None:
        plain = TcpPipe.__new__(TcpPipe)
        plain.loop, plain.ready = loop, ready
        return plain, ready
    secure = TlsPipe.__new__(TlsPipe)
    secure.loop, secure.ready = loop, ready
    secure.tls = tls_connect(context, server_name.encode())
    return secure, ready
