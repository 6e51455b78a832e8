"""One yamux stream: windows, queue and state. Frames are the Mux's business (mux.pyx)."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport buffer_new
from _fastpath.limits cimport (
    HELD_WINDOW, INITIAL_WINDOW, LINK_HELD, LINK_HIGH_WATER, MAX_STREAM_QUEUE, STREAM_HIGH_WATER, STREAM_LOW_WATER,
)

cdef enum:
    S_BAD = 255                      # a hole of the table below
    BULK = 16384                     # bytes: who writes that much at once writes more

cdef uint8_t NEXT[5][4]              # [StreamState][StreamEvent]; see MUX.md §6
#                    end local     end remote     FIN sent  reset
NEXT[<int>S_CLOSED][:] = [S_BAD,        S_BAD,         S_BAD,    S_BAD]
NEXT[<int>S_OPEN][:] = [S_HALF_LOCAL,   S_HALF_REMOTE, S_BAD,    S_CLOSED]
NEXT[<int>S_HALF_LOCAL][:] = [S_BAD,    S_BOTH,        S_HALF_LOCAL, S_CLOSED]
NEXT[<int>S_HALF_REMOTE][:] = [S_BOTH,  S_BAD,         S_BAD,    S_CLOSED]
NEXT[<int>S_BOTH][:] = [S_BAD,          S_BAD,         S_CLOSED, S_CLOSED]

cdef int LIVE = 0                    # Stream objects that exist: the tests assert zero at their end


cdef class StreamOwner:
    cdef int stream_sends(self, Stream s) except -1:
        raise NotImplementedError                # unreachable: a Mux has its own

    cdef int stream_signals(self, Stream s) except -1:
        raise NotImplementedError                # unreachable: a Mux has its own

    cdef int stream_resets(self, Stream s) except -1:
        raise NotImplementedError                # unreachable: a Mux has its own


@cython.final
cdef class Stream:
    """A stream's two halves. Its queue holds what the send window or the scheduler doesn't let go yet."""

    def __cinit__(self):
        global LIVE
        LIVE += 1
        ring_init(&self.sends, <void*>self)
        ring_init(&self.signals, <void*>self)
        ring_init(&self.fading, <void*>self)

    def __dealloc__(self):
        global LIVE
        LIVE -= 1
        # A Mux that dies without lost() drops its streams in any order.
        ring_unlink(&self.sends)
        ring_unlink(&self.signals)
        ring_unlink(&self.fading)

    cdef bint turn(self, int event) noexcept:
        cdef uint8_t state = NEXT[self.state][event]
        if state == S_BAD:
            return False
        self.state = state
        return True

    cdef bint open_for_write(self) noexcept:
        return self.mux is not None and (self.state == S_OPEN or self.state == S_HALF_REMOTE)

    cdef size_t queued(self) noexcept:
        return self.queue.size() if self.queue is not None else 0

    cdef bint full(self) noexcept:
        cdef size_t waiting = self.queued()
        # One peer that opens no window must not make a link's memory grow with its number of streams.
        if waiting > STREAM_HIGH_WATER or (
                waiting > STREAM_LOW_WATER and self.mux is not None and self.mux.link_queued > LINK_HIGH_WATER):
            self.flags |= F_WAITING
            return True
        return False

    cdef int accept(self) except -1:
        if self.mux is not None and not self.flags & (F_OURS | F_CLAIMED):
            self.flags |= F_ACK_DUE | F_CLAIMED
            self.mux.backlog -= 1
            self.mux.stream_signals(self)
        return 0

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        if n == 0 or not self.open_for_write():
            return 0
        if self.queue is None:
            self.queue = buffer_new(MAX_STREAM_QUEUE)
        if n >= BULK and self.queue.size() == 0:
            # More of this size will follow until full(): room for all of it at once spares moving it as it grows.
            self.queue.reserve(STREAM_HIGH_WATER + n)
        self.queue.append(p, n)
        self.mux.link_queued += n
        self.accept()
        self.mux.stream_sends(self)
        return 0

    cdef int end(self) except -1:
        if not self.open_for_write():
            return 0
        self.turn(E_END_LOCAL)
        self.flags |= F_FIN_DUE
        self.accept()
        self.mux.stream_sends(self)
        return 0

    cdef int reset(self) except -1:
        if self.mux is None or self.state == S_CLOSED:
            return 0
        self.turn(E_RESET)
        self.mux.stream_resets(self)
        return 0

    cdef uint32_t grants(self) noexcept:
        # A slow reader needs no large window: what it holds shrinks, and quick ones have room.
        return min(self.window, <uint32_t>HELD_WINDOW) if self.mux.link_held > LINK_HELD else self.window

    cdef int consumed(self, size_t n) except -1:
        if n > self.held:
            raise ValueError(f"stream {self.id}: {n} bytes consumed of {self.held} delivered")
        self.held -= <uint32_t>n
        if self.bears is not None:
            self.bears.link_held -= n
        if self.mux is None:
            if self.held == 0 and ring_linked(&self.fading):     # in Mux.holders: nothing is left to take away
                ring_unlink(&self.fading)
                self.user = None
            return 0
        self.accept()
        # Half a window at a time: an update per read would cost more than the reading. After FIN none is owed.
        if (self.state == S_OPEN or self.state == S_HALF_LOCAL) and \
                self.grants() - self.grants() // 2 >= self.credit + self.coming + self.held:
            self.flags |= F_UPDATE_DUE
            self.mux.stream_signals(self)
        return 0


cdef Stream stream_new(StreamOwner mux, uint32_t id, bint ours, uint64_t now):
    cdef Stream s = Stream.__new__(Stream)
    s.mux, s.id, s.state = mux, id, S_OPEN
    s.bears = mux
    s.flags = F_OURS | F_SYN_DUE if ours else 0
    s.send_window = INITIAL_WINDOW
    s.credit = s.window = INITIAL_WINDOW
    s.touched = s.paced_from = now
    return s


# -- doors for tests ---------------------------------------------------------------------------

def footprint() -> int:
    """Return the bytes of one Stream object, its garbage-collector head included, without what it queues."""
    return Stream.__basicsize__ + 16


def live() -> int:
    """Return how many Stream objects exist in this process."""
    return LIVE


def next_state(int state, int event) -> int | None:
    """Return the state that follows, or None where the table has a hole."""
    cdef uint8_t state_after = NEXT[state][event]
    return None if state_after == S_BAD else state_after


cdef class Door:
    """One stream driven from Python, also after its session let go of it."""

    def write(self, const uint8_t[::1] data not None) -> None:
        if data.shape[0]:
            self.stream.write(&data[0], data.shape[0])

    def accept(self) -> None:
        self.stream.accept()

    def end(self) -> None:
        self.stream.end()

    def reset(self) -> None:
        self.stream.reset()

    def consumed(self, size_t n) -> None:
        self.stream.consumed(n)

    def full(self) -> bool:
        return bool(self.stream.full())

    def queued(self) -> int:
        return self.stream.queued()

    def numbers(self) -> dict:
        cdef Stream s = self.stream
        return {"state": s.state, "queued": s.queued(), "send_window": s.send_window, "credit": s.credit,
                "held": s.held, "window": s.window, "writable": bool(s.open_for_write()), "user": s.user}
