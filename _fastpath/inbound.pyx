"""A stream that the other side opened, and the pump that joins it to where it leads."""

cimport cython
from libc.stdint cimport uint8_t

from _fastpath.errors cimport R_INTERNAL, R_ORIGIN_TRUNCATED, R_STREAM_RESET
from _fastpath.muxpipe cimport WAIT_HEADER, pipe_new
from _fastpath.contexts cimport TlsClientContext
from _fastpath.tls cimport tls_connect

import logging

import msgpack

from _fastpath.errors import reason_number

log = logging.getLogger("sekisho.link")

cdef enum:
    TEAR = 20                # milliseconds between two looks whether a cut stream's last bytes have gone


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
        if pipe.torn():                    # a FIN here would tell the other end of the link that all is whole
            self.tear()
            return 0
        self.there.end()
        if self.other.ended:               # both directions are through
            self.there.close()
            pipe.close()
        return 0

    def tear(self):
        """Reset the stream of an origin that was cut (no close_notify), once what came before has gone."""
        if self.there is None or self.here is None:
            return
        if self.there.queued():
            (<TcpPipe>self.here).loop.call_later(TEAR * 0.001, self.tear)
            return
        try:
            self.there.abort(R_ORIGIN_TRUNCATED)
        except BaseException:
            log.exception("a cut stream could not be reset")

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
cdef class Inbound(Asked):
    cdef int header_came(self, bytes header) except -1:
        """Tell the carrier's owner, who accepts or refuses now or later."""
        self.header = header
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
    inbound.pipe.asked = inbound
    inbound.pipe.receiver = near
    inbound.pipe.paused = True
    s.accept()
    return inbound


cdef class OriginPipe(TcpPipe):
    pass


cdef class OriginTlsPipe(TlsPipe):
    pass
