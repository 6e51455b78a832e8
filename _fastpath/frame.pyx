"""yamux frame headers: bytes <-> struct, strict (MUX.md §2; J01, J08)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from _fastpath.errors cimport OK, R_LINK_PROTOCOL, raise_wire


cdef int frame_parse(const uint8_t* p, Frame* f) noexcept nogil:
    f.type = p[1]
    f.flags = <uint16_t>((p[2] << 8) | p[3])
    f.stream = (<uint32_t>p[4] << 24) | (<uint32_t>p[5] << 16) | (<uint32_t>p[6] << 8) | p[7]
    f.length = (<uint32_t>p[8] << 24) | (<uint32_t>p[9] << 16) | (<uint32_t>p[10] << 8) | p[11]
    f.fault = NULL
    if p[0] != 0:
        f.fault = "version is not 0"
    elif f.type > FRAME_GOAWAY:
        f.fault = "unknown frame type"
    elif f.flags & ~<uint16_t>FLAG_KNOWN:
        f.fault = "unknown flags"
    elif f.type <= FRAME_WINDOW:
        if f.stream == 0:
            f.fault = "stream 0 carries no data and no window"
        elif (f.flags & FLAG_SYN) and (f.flags & FLAG_ACK):
            f.fault = "SYN and ACK on one frame"
    elif f.stream != 0:
        f.fault = "ping and go-away belong to stream 0"
    elif f.type == FRAME_PING:
        if f.flags != FLAG_SYN and f.flags != FLAG_ACK:
            f.fault = "a ping asks or answers"
    elif f.flags != 0:
        f.fault = "go-away has no flags"
    return OK if f.fault == NULL else -<int>R_LINK_PROTOCOL


# -- doors for tests and for other implementers ------------------------------------------------

def parse(const uint8_t[::1] data not None) -> tuple:
    """Return (type, flags, stream, length) of a 12-byte header; WireError link-protocol, ValueError when short."""
    cdef Frame f
    cdef int code
    if data.shape[0] < FRAME_HEADER:
        raise ValueError("a header has 12 bytes")
    code = frame_parse(&data[0], &f)
    if code < 0:
        raise_wire(code, f.fault.decode())
    return f.type, f.flags, f.stream, f.length


def build(int type, int flags, uint32_t stream, uint32_t length) -> bytes:
    """Return the 12 bytes of a header; nothing is checked, so that tests can build wrong ones."""
    cdef uint8_t out[FRAME_HEADER]
    frame_write(out, type, flags, stream, length)
    return out[:FRAME_HEADER]
