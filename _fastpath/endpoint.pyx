"""TCP, Unix-socket and TLS endpoints on uvloop: direct send(2) while nothing is queued, the transport's queue after."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from _fastpath.errors cimport R_INTERNAL, R_TLS_FAILED
from _fastpath.limits cimport HIGH_WATER, LOW_WATER, READ_BUDGET, READ_BUFFER
from _fastpath.slice cimport Slice
from _fastpath.tls cimport TLS_AGAIN, TLS_CLOSED, TLS_DATA

import asyncio
import logging
import socket

cdef extern from "sys/socket.h" nogil:
    ssize_t send(int fd, const void* buf, size_t n, int flags)
    int MSG_NOSIGNAL
    int MSG_DONTWAIT

log = logging.getLogger("sekisho.endpoint")


cdef uint64_t now_us() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000 + <uint64_t>t.tv_nsec // 1000


cdef class Receiver:
    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        return 0

    cdef int on_eof(self, Pipe pipe) except -1:
        return pipe.close()

    cdef int on_writable(self, Pipe pipe) except -1:
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        return 0


cdef class Pipe:
    cdef int write(self, const uint8_t* p, size_t n) except -1:
        return 0

    cdef size_t queued(self) noexcept:
        return 0

    cdef bint full(self) noexcept:
        return False

    cdef int pause(self) except -1:
        return 0

    cdef int resume(self) except -1:
        return 0

    cdef int end(self) except -1:
        return 0

    cdef int close(self) except -1:
        return 0

    cdef int abort(self, int reason) except -1:
        return 0

    cdef bint alive(self) noexcept:
        return False

    cdef bint torn(self) noexcept:
        return False

    cdef int rest(self) except -1:
        return 0


@cython.final
cdef class ReadBuffer:
    def __cinit__(self):
        self.block = bytearray(READ_BUFFER)
        self.ptr = <uint8_t*><char*>self.block
        self.size = READ_BUFFER


cdef ReadBuffer _shared = None
cdef ReadBuffer _plain = None      # where TLS records are decrypted into: a second block, as both are in use at once


cdef ReadBuffer shared_buffer():
    global _shared
    if _shared is None:
        _shared = ReadBuffer()
    return _shared


cdef ReadBuffer plain_buffer():
    global _plain
    if _plain is None:
        _plain = ReadBuffer()
    return _plain


cdef class TcpPipe(Pipe):
    def __cinit__(self):
        self.buffer = shared_buffer()
        self.loop = None
        self.transport = None
        self.fd = -1
        self.ready = None
        self.receiver = None

    # -- asyncio calls us --------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        sock = transport.get_extra_info("socket")
        self.fd = sock.fileno()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connected()
        except BaseException:
            self.fail()

    def get_buffer(self, sizehint):
        return self.buffer.block

    def buffer_updated(self, size_t n):
        try:
            self.incoming(self.buffer.ptr, n)
            # libuv reads one socket up to 32 times before it looks at the next: others would wait for megabytes.
            if n < self.buffer.size:
                self.full_reads = 0
            elif not self.paused and not self.closing:
                self.full_reads += 1
                if self.full_reads >= READ_BUDGET:
                    self.full_reads = 0
                    self.transport.pause_reading()
                    self.loop.call_soon(self.next_turn)
        except BaseException:
            self.fail()

    def next_turn(self):
        """Read again after a full budget, unless somebody paused us meanwhile."""
        if not self.paused and not self.closing and not self.lost:
            try:
                self.transport.resume_reading()
            except BaseException:
                self.fail()

    def eof_received(self):
        try:
            if self.receiver is not None and not self.closing:
                self.on_socket_eof()
        except BaseException:
            self.fail()
        return True            # keep the transport: the other half may still be in use

    def pause_writing(self):
        self.choked = True

    def resume_writing(self):
        self.choked = False
        try:
            if self.receiver is not None:
                self.receiver.on_writable(self)
        except BaseException:
            self.fail()

    def connection_lost(self, exc):
        cdef Receiver receiver = self.receiver
        self.fd = -1           # the number may be another user's socket from here on
        self.lost = self.closing = True
        self.transport = None
        self.receiver = None
        try:
            self.dropped()
            if receiver is not None:
                receiver.on_lost(self, self.reason)
        except BaseException:
            log.exception("a receiver failed while its connection ended")

    # -- for subclasses ----------------------------------------------------------------------------

    def connected(self):
        """The socket is connected; the receiver may be chosen now."""
        if self.ready is not None and not self.ready.done():
            self.ready.set_result(self)

    def on_socket_eof(self):
        self.receiver.on_eof(self)

    def dropped(self):
        """The transport is gone: let go of everything that points back."""
        if self.ready is not None and not self.ready.done():
            self.ready.set_exception(ConnectionResetError("closed before it was ready"))

    cdef int incoming(self, const uint8_t* p, size_t n) except -1:
        if self.receiver is not None and not self.closing:
            self.receiver.on_data(self, p, n)
        return 0

    cdef int outgoing(self, const uint8_t* p, size_t n) except -1:
        cdef ssize_t r
        if self.lost or n == 0:
            return 0
        if self.handed and self.transport.get_write_buffer_size() == 0:
            self.handed = False
        if not self.handed and self.fd >= 0:
            r = send(self.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT)
            if r == <ssize_t>n:
                return 0
            if r < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.abort(0)
                    return 0
                r = 0
            p += r
            n -= r
        self.handed = True
        self.transport.write(PyBytes_FromStringAndSize(<const char*>p, n))
        return 0

    cdef int fail(self) except -1:
        log.exception("a callback failed; its connection is closed")
        try:
            self.abort(R_INTERNAL)
        except BaseException:
            log.exception("closing failed too")
        return 0

    # -- Pipe --------------------------------------------------------------------------------------

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        if self.closing or self.ended:
            return 0
        return self.outgoing(p, n)

    cdef size_t queued(self) noexcept:
        if not self.handed or self.transport is None:
            return 0
        try:
            return self.transport.get_write_buffer_size()
        except Exception:
            return 0

    cdef bint full(self) noexcept:
        return self.choked

    cdef int pause(self) except -1:
        if not self.paused and not self.closing:
            self.paused = True
            if self.transport is not None:
                self.transport.pause_reading()
        return 0

    cdef int resume(self) except -1:
        if self.paused and not self.closing:
            self.paused = False
            if self.transport is not None:
                self.transport.resume_reading()
        return 0

    cdef int end(self) except -1:
        if not self.ended and not self.closing and self.transport is not None:
            self.ended = True
            if self.transport.can_write_eof():
                self.transport.write_eof()
        return 0

    cdef int close(self) except -1:
        if not self.closing:
            self.closing = True
            self.fd = -1
            if self.transport is not None:
                self.transport.close()
        return 0

    cdef int abort(self, int reason) except -1:
        if not self.lost:
            if self.reason == 0:
                self.reason = reason
            self.closing = True
            self.fd = -1
            if self.transport is not None:
                self.transport.abort()
        return 0

    cdef bint alive(self) noexcept:
        return self.transport is not None and not self.closing

    def peer_address(self):
        """Return (host, port) of the other end, or None when it is gone or a Unix socket."""
        if self.transport is None:
            return None
        peer = self.transport.get_extra_info("peername")
        return peer[:2] if isinstance(peer, tuple) and len(peer) >= 2 else None


cdef class TlsPipe(TcpPipe):
    cdef int on_open(self) except -1:
        if self.ready is not None and not self.ready.done():
            self.ready.set_result(self)
        return 0

    def connected(self):
        if self.tls.handshake() < 0:      # a client speaks first
            self.handshake_failed()
        self.flush()

    def handshake_failed(self):
        self.why = self.tls.why
        self.flush()                      # the alert tells the other side why
        if self.ready is not None and not self.ready.done():
            self.ready.set_exception(ConnectionError(self.why or "TLS handshake failed"))
        self.reason = R_TLS_FAILED
        self.close()

    def on_socket_eof(self):
        # Without close_notify the stream may have been cut by anybody: torn() says so (RFC 8446 6.1).
        self.cable_ended = True
        if self.open:
            self.drain()                  # tells the end once all before it has been handed up
        elif not self.lost:
            self.close()

    def dropped(self):
        TcpPipe.dropped(self)
        self.tls = None

    cdef int incoming(self, const uint8_t* p, size_t n) except -1:
        cdef int rc
        if self.tls is None or self.closing:
            return 0
        self.tls.feed(p, n)
        if not self.open:
            rc = self.tls.handshake()
            if rc < 0:
                self.handshake_failed()
                return 0
            self.flush()
            if rc == 0:
                return 0
            self.open = True
            self.on_open()
            if self.end_wanted:
                self.end()
        return self.drain()

    cdef int drain(self) except -1:
        """Decrypt what has arrived and hand it up, a block at a time, until it is used up or we are paused."""
        cdef ReadBuffer plain = plain_buffer()
        cdef size_t got, filled
        cdef int rc = TLS_DATA
        while rc == TLS_DATA and not self.paused and not self.closing and self.tls is not None:
            filled = 0
            while filled + 16384 <= plain.size:       # one SSL_read gives at most one record of 16 KiB
                got = 0
                rc = self.tls.read(plain.ptr + filled, plain.size - filled, &got)
                if rc != TLS_DATA:
                    break
                filled += got
            if filled and self.receiver is not None:
                self.receiver.on_data(self, plain.ptr, filled)
        if self.tls is None or self.lost:
            return 0
        self.flush()                                  # a key update or alert may wait
        if rc == TLS_CLOSED:
            self.notified = True
            return self.tell_end()
        if rc == TLS_AGAIN:
            return self.tell_end() if self.cable_ended else 0
        if rc != TLS_DATA:
            self.why = self.tls.why
            self.abort(R_TLS_FAILED)
        return 0

    cdef int tell_end(self) except -1:
        if not self.told and not self.closing and self.receiver is not None:
            self.told = True
            self.receiver.on_eof(self)
        return 0

    cdef bint torn(self) noexcept:
        return self.told and not self.notified

    cdef int rest(self) except -1:
        if self.tls is not None and self.open:
            self.tls.idle()
        return 0

    cdef int flush(self) except -1:
        cdef Slice out
        if self.tls is None:
            return 0
        out = self.tls.to_send()
        if out.len:
            self.outgoing(out.ptr, out.len)           # takes all of it
            if self.tls is not None:
                self.tls.sent(out.len)
        return 0

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        if self.closing or self.ended or self.tls is None or n == 0:
            return 0
        self.tls.write(p, n)
        return self.flush()

    cdef int resume(self) except -1:
        if self.paused and not self.closing:
            TcpPipe.resume(self)
            # Decrypted bytes may wait; never from inside this call, as the caller may stand on the same block.
            self.loop.call_soon(self.drain_later)
        return 0

    def drain_later(self):
        try:
            if self.open and not self.paused and not self.closing:
                self.drain()
        except BaseException:
            self.fail()

    cdef int end(self) except -1:
        if not self.open:
            self.end_wanted = True
        elif not self.ended and not self.closing and self.tls is not None:
            self.tls.shutdown()
            self.flush()
            TcpPipe.end(self)
        return 0

    cdef int close(self) except -1:
        if not self.closing and self.tls is not None and self.open and not self.ended:
            self.tls.shutdown()
            self.flush()
        return TcpPipe.close(self)
