"""yamux frames (version 0): the 12-byte header <-> struct. See MUX.md §2.

    0        1        2           4                   8                   12
    | version | type   | flags     | stream id         | length            |   big-endian"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    FRAME_HEADER = 12            # bytes


cdef enum FrameType:
    FRAME_DATA = 0               # length = bytes of payload that follow
    FRAME_WINDOW = 1             # length = bytes by which the receiver's window opens
    FRAME_PING = 2               # length = opaque value
    FRAME_GOAWAY = 3             # length = GoAway code


cdef enum FrameFlag:
    FLAG_SYN = 1                 # opens the stream; on a ping: asks
    FLAG_ACK = 2                 # accepts the stream; on a ping: answers
    FLAG_FIN = 4                 # the sender will send no more data
    FLAG_RST = 8                 # the stream is dead, both ways
    FLAG_KNOWN = 15


cdef enum GoAwayCode:
    GOAWAY_NORMAL = 0            # no new streams please; old ones go on
    GOAWAY_PROTOCOL = 1          # protocol error: the session is over
    GOAWAY_INTERNAL = 2          # internal error: the session is over


cdef struct Frame:
    uint8_t type                 # FrameType
    uint16_t flags               # FrameFlag bits
    uint32_t stream              # 0 = the session itself
    uint32_t length
    const char* fault            # why frame_parse refused it; NULL when it didn't


cdef int frame_parse(const uint8_t* p, Frame* f) noexcept nogil
    # Read the FRAME_HEADER bytes at p and check what can be checked without state. OK or -R_LINK_PROTOCOL
    # (f.fault then says what is wrong).


cdef inline void frame_write(uint8_t* out, int type, int flags, uint32_t stream, uint32_t length) noexcept nogil:
    """Write one header: FRAME_HEADER bytes at out."""
    out[0], out[1], out[2], out[3] = 0, <uint8_t>type, <uint8_t>(flags >> 8), <uint8_t>flags
    out[4], out[5] = <uint8_t>(stream >> 24), <uint8_t>(stream >> 16)
    out[6], out[7] = <uint8_t>(stream >> 8), <uint8_t>stream
    out[8], out[9] = <uint8_t>(length >> 24), <uint8_t>(length >> 16)
    out[10], out[11] = <uint8_t>(length >> 8), <uint8_t>length
