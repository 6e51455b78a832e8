"""yamux version 0: one session, sans-IO (MUX.md). Bytes and the time in; bytes, events and a deadline out."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport Buffer
from _fastpath.frame cimport FRAME_HEADER, Frame
from _fastpath.muxevents cimport MuxEvents
from _fastpath.pulse cimport Pulse
from _fastpath.roster cimport Roster
from _fastpath.schedule cimport Schedule
from _fastpath.slice cimport Slice
from _fastpath.stream cimport Ring, Stream, StreamOwner


cdef enum AcceptPolicy:
    # which streams the other side may open; anything else is a session error (J23)
    ACCEPT_NONE = 0
    ACCEPT_FIRST = 1             # one: stream 1 (2 when we are the client)
    ACCEPT_ANY = 2


cdef struct MuxCounters:
    uint64_t bytes_in            # payload of Data frames
    uint64_t bytes_out
    uint64_t frames_in
    uint64_t frames_out
    uint64_t opened              # streams, both sides'
    uint64_t refused             # SYNs that we answered with RST (backlog, stream limit, going away)
    uint64_t resets_in
    uint64_t resets_out
    uint64_t strays              # frames for streams that are gone (J09)
    uint64_t pings_ignored       # over the rate that we answer (J10)
    uint64_t timed_out           # half-closed streams that were reaped
    uint64_t shed                # streams that held most when the link held too much


cdef struct Bucket:                                       # token bucket; zero time
    uint32_t tokens
    uint64_t filled              # microseconds


cdef class Mux(StreamOwner):
    cdef MuxEvents events                                 # None after lost()
    cdef readonly bint client
    cdef int accepts                                      # AcceptPolicy
    cdef readonly uint32_t max_streams
    cdef readonly bint over
        # session error or lost: nothing goes in or on any more
    cdef int why                                          # errors.Reason that lost() gives to streams
    cdef bint going_away                                  # we sent GoAway
    cdef bint gone_away                                   # the other side did
    cdef uint64_t now
        # microseconds: latest time that feed, tick, open or ping was given
    cdef Roster roster                                    # the streams, and the ids that were used
    cdef uint32_t next_id                                 # of the next stream that we open
    cdef Pulse pulse                                      # liveness and round trip

    # what is to be sent
    cdef Ring signals                                     # streams with SYN, ACK or a window update due
    cdef Ring unopened                                    # streams whose SYN waits for ACKs of others
    cdef Schedule schedule                                # streams with data or FIN to send
    cdef Ring half                                        # half-closed, least recently active first
    cdef Ring parting                                     # reset by us before ACK, oldest first
    cdef Ring holders                                     # ended, but their owners hold bytes; oldest first
    cdef Buffer control
        # encoded frames of the session: GoAway, ping, RST (J11)
    cdef bint signalled                                   # on_output was called since the last fill
    cdef list told                                        # streams whose owners are told at the end of fill

    # what is coming in
    cdef uint8_t head[12]                                 # a header not yet whole
    cdef uint32_t head_have
    cdef Frame frame                                      # whose body is being read
    cdef uint32_t body_left
    cdef Stream body                                      # None: the body is dropped

    # limits
    cdef uint32_t unacked                                 # our streams without ACK, SYN sent
    cdef uint64_t grown
        # bytes by which windows of the link exceed the initial one
    cdef Bucket rapid                                     # J07
    cdef Bucket answers                                   # J10

    cdef MuxCounters counters

    # built by mux_new(events, client, accept_streams, max_streams, now)
    cdef int feed(self, const uint8_t* p, size_t n, uint64_t now) except -1
        # now: monotonic microseconds, never 0; raises WireError on a session error (GoAway is queued: fill
        # once more, then lost())
    cdef Stream open(self, uint64_t now)
        # a new stream; raises WireError tunnel-streams at the limit, link-goaway after goaway, link-lost
    cdef size_t fill(self, uint8_t* out, size_t room) except? 0
        # next frames to send, control first, then deficit round robin; room >= 256
    cdef bint wants_send(self) noexcept
    cdef int ping(self, uint64_t now) except -1           # no effect while one is under way
    cdef int goaway(self, uint32_t code) except -1        # no new streams either way from now on
    cdef int tick(self, uint64_t now) except -1
        # time-outs: ping, half-closed streams; dead peer raises WireError link-timeout
    cdef uint64_t deadline(self) noexcept
        # when tick() is due; may be early, never late; 0 = never
    cdef int lost(self) except -1
        # transport gone: resets every stream (link-lost), lets go of events. Idempotent
    cdef int fail(self, int reason, object why) except -1
        # session error: GoAway, no more traffic, raises

    # inside
    cdef void drop_queue(self, Stream s) noexcept
    cdef void drop_held(self, Stream s) noexcept
    cdef void touch(self, Stream s) noexcept
    cdef int shed(self) except -1                         # the link holds too much: whoever holds most is reset
    cdef void part(self, Stream s) noexcept               # s is closed, and its owner was told
    cdef int take_away(self, Stream s) except -1          # what one of `holders` holds
    cdef int rapid_reset(self) except -1
    cdef int window_opens(self, Stream s, uint32_t n) except -1
    cdef int give_up(self, Stream s, int reason) except -1
    cdef int send_reset(self, Stream s) except -1
    cdef int forget(self, Stream s) except -1             # out of every table and ring; frees what it queued
    cdef int stream_frame(self) except -1
    cdef int frame_end(self) except -1                    # the frame's last byte is in: its FIN counts
    cdef Stream incoming(self)                            # SYN: the new stream, or None when refused
    cdef int acknowledged(self, Stream s) except -1
    cdef int reset_in(self, Stream s) except -1
    cdef int pace(self, Stream s, uint32_t n) except -1   # window tuning (MUX.md §5)
    cdef int session_frame(self) except -1
    cdef int send_control(self, int type, int flags, uint32_t stream, uint32_t length) except -1
    cdef int output(self) except -1
    cdef size_t fill_signals(self, uint8_t* out, size_t room) except? 0
    cdef size_t fill_data(self, uint8_t* out, size_t room, bint begun) except? 0
        # begun: out already holds frames
    cdef size_t put_data(self, Stream s, uint8_t* out, size_t most) except 0
        # one Data frame of <= most payload bytes
    cdef size_t put_window(self, Stream s, uint8_t* out) noexcept
    cdef int tell(self) except -1


cdef Mux mux_new(MuxEvents events, bint client, int accept_streams, uint32_t max_streams, uint64_t now)
