"""A stream driven from Python."""

from libc.stdint cimport uint8_t

from _fastpath.endpoint cimport Pipe
from _fastpath.errors cimport R_STREAM_RESET

import asyncio

from _fastpath.errors import reason_of


cdef class Probe(Receiver):
    cdef int on_data(self, Pipe pipe, const uint8_t* p, size_t n) except -1:
        self.received += p[:n]
        self.count += n
        self.wake()
        return 0

    cdef int on_eof(self, Pipe pipe) except -1:
        self.ended = True
        self.wake()
        return 0

    cdef int on_writable(self, Pipe pipe) except -1:
        self.wake()
        return 0

    cdef int on_lost(self, Pipe pipe, int reason) except -1:
        self.lost = reason_of(reason) if reason else "closed"
        self.pipe = None
        self.wake()
        return 0

    def wake(self):
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def until(self, condition):
        """Wait until condition(self) is true, or the stream ended or was lost."""
        while not (condition(self) or self.ended or self.lost):
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        return bytes(self.received)

    def write(self, bytes data):
        if self.pipe is not None:
            self.pipe.write(<const uint8_t*><const char*>data, len(data))

    def full(self):
        return self.pipe is not None and self.pipe.full()

    def end(self):
        if self.pipe is not None:
            self.pipe.end()

    def abort(self):
        if self.pipe is not None:
            self.pipe.abort(R_STREAM_RESET)

    def rest(self):
        """Wait as a stream in a pool does."""
        self.pipe.rest()

    def pause(self):
        self.pipe.pause()

    def resume(self):
        self.pipe.resume()
