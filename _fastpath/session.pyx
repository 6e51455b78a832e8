"""A Mux driven from Python: see session.pxd."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.errors cimport reason_name
from _fastpath.mux cimport ACCEPT_ANY, mux_new
from _fastpath.stream cimport Door


@cython.final
cdef class Session(MuxEvents):
    """A Mux driven from Python; what it says is collected in `events` as tuples that begin with a name.

    Streams are named by id. Microseconds; bytes."""

    def __init__(self, bint client, int accepts=ACCEPT_ANY, uint32_t max_streams=4096, uint64_t now=1) -> None:
        self.mux = mux_new(self, client, accepts, max_streams, now)
        self.known, self.parted, self.events = {}, {}, []
        self.outputs, self.hold, self.claim, self.react = 0, False, True, None

    cdef int tell(self, tuple event) except -1:
        self.events.append(event)
        if self.react is not None:
            self.react(event)
        return 0

    cdef int on_open(self, Stream s) except -1:
        self.known[s.id] = s
        s.user = self                          # a cycle, as an owner would make one: closing must break it
        self.tell(("opened", s.id))
        return s.accept() if self.claim else 0

    cdef int on_data(self, Stream s, const uint8_t* p, size_t n) except -1:
        self.tell(("data", s.id, p[:n]))
        return 0 if self.hold else s.consumed(n)

    cdef int on_end(self, Stream s) except -1:
        return self.tell(("ended", s.id))

    cdef int on_reset(self, Stream s, int reason) except -1:
        if self.parted.pop(s.id, None) is None:
            del self.known[s.id]
        return self.tell(("reset", s.id, reason_name(reason).decode()))

    cdef int on_closed(self, Stream s) except -1:
        del self.known[s.id]
        if s.held:
            self.parted[s.id] = s
        return self.tell(("closed", s.id))

    cdef int on_writable(self, Stream s) except -1:
        return self.tell(("writable", s.id))

    cdef int on_pong(self, uint64_t round_trip) except -1:
        return self.tell(("pong", round_trip))

    cdef int on_goaway(self, uint32_t code) except -1:
        return self.tell(("goaway", code))

    cdef int on_output(self) except -1:
        self.outputs += 1
        return 0

    def take(self) -> list:
        """Return the events so far and forget them."""
        cdef list events = self.events
        self.events = []
        return events

    def feed(self, const uint8_t[::1] data not None, uint64_t now) -> None:
        """Take what the other side sent; WireError when it ends the session."""
        if data.shape[0]:
            self.mux.feed(&data[0], data.shape[0], now)

    def fill(self, size_t room=65536) -> bytes:
        """Return the next bytes to send, at most room of them."""
        cdef bytearray out = bytearray(room)
        return bytes(out[:self.mux.fill(<uint8_t*><char*>out, room)])

    def wants_send(self) -> bool:
        return bool(self.mux.wants_send())

    def open(self, uint64_t now) -> int:
        cdef Stream s = self.mux.open(now)
        s.user = self
        self.known[s.id] = s
        return s.id

    def skip_to(self, uint32_t id) -> None:
        """Let the next stream of ours have that id."""
        self.mux.next_id = id

    def door(self, uint32_t id) -> Door:
        """Return the stream with that id, to keep (KeyError when its last call has come)."""
        cdef Door door = Door.__new__(Door)
        door.stream = self.known[id] if id in self.known else self.parted[id]
        return door

    def accept(self, uint32_t id) -> None:
        (<Stream>self.known[id]).accept()

    def write(self, uint32_t id, const uint8_t[::1] data not None) -> None:
        if data.shape[0]:
            (<Stream>self.known[id]).write(&data[0], data.shape[0])

    def end(self, uint32_t id) -> None:
        (<Stream>self.known[id]).end()

    def reset(self, uint32_t id) -> None:
        (<Stream>self.known.pop(id)).reset()

    def consumed(self, uint32_t id, size_t n) -> None:
        (<Stream>self.known[id]).consumed(n)

    def full(self, uint32_t id) -> bool:
        return bool((<Stream>self.known[id]).full())

    def knows(self, uint32_t id) -> bool:
        return id in self.known

    def stream(self, uint32_t id) -> dict:
        """Return the numbers of one stream."""
        return self.door(id).numbers()

    def state(self) -> dict:
        """Return the numbers of the session."""
        cdef Mux m = self.mux
        return {"live": m.roster.live, "over": bool(m.over), "backlog": m.backlog, "unacked": m.unacked,
                "grown": m.grown, "link_queued": m.link_queued,
                "link_held": m.link_held, "control": m.control.size(),
                "round_trip": m.pulse.round_trip, "slots": len(m.roster.slots),
                "cells": m.roster.cells_mask + 1} | m.counters

    def ping(self, uint64_t now) -> None:
        self.mux.ping(now)

    def goaway(self, uint32_t code=0) -> None:
        self.mux.goaway(code)

    def tick(self, uint64_t now) -> None:
        self.mux.tick(now)

    def deadline(self) -> int:
        return self.mux.deadline()

    def lost(self) -> None:
        self.parted.clear()
        self.mux.lost()


# -- measurements ------------------------------------------------------------------------------

@cython.final
cdef class Answering(MuxEvents):

    cdef int on_data(self, Stream s, const uint8_t* p, size_t n) except -1:
        self.got += n
        s.consumed(n)
        return s.write(<const uint8_t*><const char*>self.answer, len(self.answer)) if self.answer else 0


cdef int pump(Mux a, Mux b, uint8_t* room, size_t size, uint64_t now) except -1:
    """Carry everything between a and b until both are quiet."""
    cdef size_t n
    while a.wants_send() or b.wants_send():
        n = a.fill(room, size)
        if n:
            b.feed(room, n, now)
        n = b.fill(room, size)
        if n:
            a.feed(room, n, now)
    return 0


cdef tuple joined(bytes answer):
    """Two ends, and what they say."""
    cdef Answering asking = Answering.__new__(Answering)
    cdef Answering answering = Answering.__new__(Answering)
    asking.answer, answering.answer = b"", answer
    return mux_new(asking, True, ACCEPT_ANY, 4096, 1), mux_new(answering, False, ACCEPT_ANY, 4096, 1), asking, answering


def converse(int streams, int rounds, int ask, int answer) -> int:
    """In each round every stream asks and is answered; return the frames that both ends made.

    Bytes between two ends in memory, everything in C: what is timed is the mux alone, both ends of it."""
    cdef Mux a, b
    cdef bytearray room = bytearray(65536)
    cdef bytes question = bytes(ask)
    cdef list opened
    cdef Stream s
    cdef uint64_t now
    cdef Answering asking, answering
    a, b, asking, answering = joined(bytes(answer))
    opened = [a.open(1) for _ in range(streams)]
    for now in range(2, 2 + rounds):
        for s in opened:
            s.write(<const uint8_t*><const char*>question, ask)
        pump(a, b, <uint8_t*><char*>room, 65536, now)
    if answering.got != <size_t>ask * streams * rounds or asking.got != <size_t>answer * streams * rounds:
        raise AssertionError("bytes were lost")
    a.lost()
    b.lost()
    return a.counters.frames_out + b.counters.frames_out


def carry(size_t total) -> int:
    """Send total bytes on one stream; return how many came."""
    cdef Mux a, b
    cdef bytearray room = bytearray(65536)
    cdef bytes block = bytes(65536)
    cdef Stream s
    cdef size_t sent = 0
    cdef Answering asking, answering
    a, b, asking, answering = joined(b"")
    s = a.open(1)
    while sent < total:
        while not s.full():
            s.write(<const uint8_t*><const char*>block, 65536)
            sent += 65536
        pump(a, b, <uint8_t*><char*>room, 65536, 2)
    a.lost()
    b.lost()
    if asking.got:
        raise AssertionError("nobody answers here")
    return answering.got
