"""One yamux stream: its two windows, its queue, its state. Owned by one Mux; sans-IO."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from _fastpath.buffer cimport Buffer


cdef enum StreamState:
    # zero is closed: a forgotten branch sends and delivers nothing
    S_CLOSED = 0
    S_OPEN
    S_HALF_LOCAL                 # we will send no more (end() was called; FIN may still wait behind data)
    S_HALF_REMOTE                # the other side sent FIN
    S_BOTH                       # both; our FIN hasn't left yet. Leaves for S_CLOSED when it has


cdef enum StreamEvent:
    E_END_LOCAL = 0
    E_END_REMOTE
    E_FIN_SENT
    E_RESET


cdef enum StreamFlag:
    F_OURS = 1                   # we opened it
    F_SYN_DUE = 2                # SYN hasn't left yet: nothing else may
    F_ACK_DUE = 4                # the owner accepted it: the next frame carries ACK
    F_ACKED = 8                  # ours: the other side's ACK came. Theirs: our ACK has left
    F_FIN_DUE = 16               # FIN follows the last queued byte
    F_UPDATE_DUE = 32            # a window update is worth sending
    F_WAITING = 64               # full() said yes and on_writable is owed
    F_RESET_HELD = 128           # reset by its owner before ACK: RST leaves when ACK comes (MUX.md §6)
    F_CLAIMED = 256              # theirs: the owner accepted it; no longer in the backlog
    F_TELL_CLOSED = 512          # both FINs are through: on_closed is owed


cdef struct Ring:                                         # a node of an intrusive two-way ring, or its head
    Ring* next
    Ring* prev
    void* stream                 # borrowed: a stream leaves its rings before its Mux lets go of it; NULL = head


cdef inline void ring_init(Ring* r, void* stream) noexcept nogil:
    r.next, r.prev, r.stream = r, r, stream


cdef inline bint ring_linked(const Ring* r) noexcept nogil:
    return r.next != r


cdef inline void ring_unlink(Ring* r) noexcept nogil:
    r.prev.next, r.next.prev = r.next, r.prev
    r.next = r.prev = r


cdef inline void ring_push(Ring* head, Ring* r) noexcept nogil:
    """Move r to the tail of head's ring."""
    ring_unlink(r)
    r.prev, r.next = head.prev, head
    head.prev.next = r
    head.prev = r


cdef inline void ring_clear(Ring* head) noexcept nogil:
    """Unlink every node of head's ring."""
    while ring_linked(head):
        ring_unlink(head.next)


cdef class StreamOwner:
    """What a Stream asks of its Mux."""
    cdef size_t link_queued                               # bytes queued on all streams of the link
    cdef size_t link_held                                 # bytes delivered on all of them and not consumed
    cdef uint32_t backlog                                 # streams of the other side that nobody accepted yet
    cdef int stream_sends(self, Stream s) except -1       # s has data or FIN to send
    cdef int stream_signals(self, Stream s) except -1     # s has ACK or a window update to send
    cdef int stream_resets(self, Stream s) except -1      # its owner gave it up


cdef class Stream:
    cdef readonly uint32_t id
    cdef object user
        # the owner's: whoever hears about this stream; None once closed, and all that came is consumed
    cdef StreamOwner mux                                  # None once closed
    cdef StreamOwner bears
        # whose link_held counts what this stream holds: mux, also when that has closed it; None: it was dropped
    cdef Buffer queue                                     # not yet sent; None until the first write
    cdef uint8_t state                                    # StreamState
    cdef uint32_t flags                                   # StreamFlag bits
    cdef uint32_t slot                                    # where the Mux keeps it
    cdef uint64_t send_window                             # bytes we may still send
    cdef uint32_t credit                                  # bytes the other side may still send
    cdef uint32_t coming                                # bytes of the frame being read that are not delivered yet
    cdef uint32_t held                                    # bytes delivered that the owner has not consumed
    cdef uint32_t window                                  # bytes: what credit + coming + held is brought back to ...
    cdef int64_t deficit                                  # bytes it may send in this round
    cdef uint32_t paced                                   # bytes received since paced_from
    cdef uint64_t paced_from                              # microseconds
    cdef uint64_t touched                                 # microseconds: last frame with data in or out, or FIN
    cdef Ring sends                                       # in Mux.sparse or Mux.bulk
    cdef Ring signals                                     # in Mux.signals or Mux.unopened
    cdef Ring fading
        # in Mux.half (half-closed), Mux.parting (RST held) or Mux.holders (closed, bytes held), oldest first

    # built by stream_new(mux, id, ours, now)
    cdef int accept(self) except -1
        # the owner takes a stream that the other side opened: ACK leaves.
                                                        # write, end and consumed imply it; 256 may wait for it
    cdef int write(self, const uint8_t* p, size_t n) except -1
        # queues a copy; sent within the send window. Ignored unless open_for_write
    cdef bint full(self) noexcept                         # stop writing until on_writable
    cdef size_t queued(self) noexcept
    cdef int end(self) except -1                          # FIN after what is queued (idempotent)
    cdef int reset(self) except -1
        # RST, drops what is queued at once; the owner hears no more of it
    cdef int consumed(self, size_t n) except -1
        # the receiver used n bytes: opens the receive window again
    cdef uint32_t grants(self) noexcept                   # ... and what it is while the link holds too much
    cdef bint open_for_write(self) noexcept
    cdef bint turn(self, int event) noexcept
        # StreamEvent; False and no change when the table has a hole there


cdef Stream stream_new(StreamOwner mux, uint32_t id, bint ours, uint64_t now)


cdef class Door:                                          # for tests
    cdef Stream stream
