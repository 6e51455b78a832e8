"""HTTP/1.1 bodies (RFC 9112 §6, §7): a byte machine for what stands between chunks, strict and sans-IO."""

from libc.string cimport memset

from _fastpath.errors cimport *
from _fastpath.head cimport *
from _fastpath.head import FRAMINGS
from _fastpath.limits cimport *
from _fastpath.slice cimport Slice, slice_bytes, slice_of

cdef enum ChunkState:            # Body.state of a chunked body: what the next byte belongs to
    S_DONE = 0
    S_SIZE                       # digits of the size
    S_EXT_NAME                   # after ';'
    S_EXT_NAME_MORE
    S_EXT_VALUE                  # after '='
    S_EXT_TOKEN
    S_EXT_QUOTED                 # inside "…"
    S_EXT_ESCAPED                # after '\' inside "…"
    S_EXT_AFTER                  # after the closing quote
    S_SIZE_LF
    S_DATA
    S_DATA_CR
    S_DATA_LF
    S_TRAILER                    # first byte of a trailer line, or of the empty one
    S_TRAILER_NAME
    S_TRAILER_VALUE
    S_TRAILER_LF
    S_END_LF


cdef void body_start(Body* b, int framing, uint64_t length) noexcept nogil:
    memset(b, 0, sizeof(Body))
    b.framing = <uint8_t>framing
    if framing == FRAMING_LENGTH:
        b.left = length
    elif framing == FRAMING_CHUNKED:
        b.state = S_SIZE


cdef bint body_done(const Body* b) noexcept nogil:
    if b.framing == FRAMING_CHUNKED:
        return b.state == S_DONE and b.why == 0
    return b.framing == FRAMING_NONE or (b.framing == FRAMING_LENGTH and b.left == 0)


cdef int size_end(Body* b, uint8_t c) noexcept nogil:
    """Next state at a byte that ends a size or an extension."""
    if c == CR:
        return S_SIZE_LF
    if c == c";":
        return S_EXT_NAME
    return -<int>R_CHUNK_EXTENSION_INVALID


cdef int size_byte(Body* b, uint8_t c) noexcept nogil:
    """Next state after a byte of the size line, or a Wire code."""
    if b.state == S_SIZE:
        if HEX_VALUE[c] >= 0:
            if b.digits == MAX_CHUNK_DIGITS or b.left >> 56:     # 2^60 and more is nobody's chunk
                return -<int>R_CHUNK_SIZE_INVALID
            b.digits += 1
            b.left = b.left << 4 | <uint64_t>HEX_VALUE[c]
            return S_SIZE
        if b.digits == 0 or (c != CR and c != c";"):
            return -<int>R_CHUNK_SIZE_INVALID
        return size_end(b, c)
    if b.state == S_SIZE_LF:
        if c != LF:
            return -<int>R_CHUNK_END_INVALID
        b.digits = 0
        return S_DATA if b.left else S_TRAILER
    # The rest is one extension: ";" name [ "=" ( token / quoted string ) ]. It is checked and dropped.
    b.overhead += 1
    if b.overhead > MAX_CHUNK_EXTENSION:
        return -<int>R_CHUNK_OVERHEAD
    if b.state == S_EXT_NAME:
        return S_EXT_NAME_MORE if BYTE_CLASS[c] & C_TOKEN else -<int>R_CHUNK_EXTENSION_INVALID
    if b.state == S_EXT_NAME_MORE:
        if BYTE_CLASS[c] & C_TOKEN:
            return S_EXT_NAME_MORE
        return S_EXT_VALUE if c == c"=" else size_end(b, c)
    if b.state == S_EXT_VALUE:
        if c == c'"':
            return S_EXT_QUOTED
        return S_EXT_TOKEN if BYTE_CLASS[c] & C_TOKEN else -<int>R_CHUNK_EXTENSION_INVALID
    if b.state == S_EXT_TOKEN:
        return S_EXT_TOKEN if BYTE_CLASS[c] & C_TOKEN else size_end(b, c)
    if b.state == S_EXT_AFTER:
        return size_end(b, c)
    if (c < SP and c != TAB) or c == 0x7F:       # inside quotes CR and LF would end somebody's line
        return -<int>R_CHUNK_EXTENSION_INVALID
    if b.state == S_EXT_QUOTED and c == c'"':
        return S_EXT_AFTER
    return S_EXT_ESCAPED if b.state == S_EXT_QUOTED and c == c"\\" else S_EXT_QUOTED


cdef int trailer_byte(Body* b, uint8_t c) noexcept nogil:
    """Next state after a byte of the trailer section, or a Wire code. Fields are checked and dropped (A32)."""
    b.trailer += 1
    if b.trailer > MAX_TRAILER:
        return -<int>R_TRAILER_TOO_LARGE
    if b.state == S_TRAILER:
        if c == CR:
            return S_END_LF
        if not BYTE_CLASS[c] & C_TOKEN:
            return -<int>R_TRAILER_INVALID
        if b.fields == MAX_TRAILER_FIELDS:
            return -<int>R_TRAILER_TOO_LARGE
        b.fields += 1
        return S_TRAILER_NAME
    if b.state == S_TRAILER_NAME:
        if c == c":":
            return S_TRAILER_VALUE
        return S_TRAILER_NAME if BYTE_CLASS[c] & C_TOKEN else -<int>R_TRAILER_INVALID
    if b.state == S_TRAILER_VALUE:
        if c == CR:
            return S_TRAILER_LF
        return -<int>R_TRAILER_INVALID if (c < SP and c != TAB) or c == 0x7F else S_TRAILER_VALUE
    if c != LF:                  # S_TRAILER_LF, S_END_LF
        return -<int>R_TRAILER_INVALID
    return S_TRAILER if b.state == S_TRAILER_LF else S_DONE


cdef int chunked_feed(Body* b, const uint8_t* p, size_t n, Slice* data, size_t* used) noexcept nogil:
    cdef size_t i = 0, run
    cdef int next_state
    while i < n:
        if b.state == S_DATA:
            if data.len:
                break            # one run a call; the next one begins here
            run = n - i if <uint64_t>(n - i) < b.left else <size_t>b.left
            data[0] = slice_of(p + i, run)
            i += run
            b.left -= run
            if b.left == 0:
                b.state = S_DATA_CR
            continue
        if b.state >= S_TRAILER:
            next_state = trailer_byte(b, p[i])
        elif b.state == S_DATA_CR:
            next_state = S_DATA_LF if p[i] == CR else -<int>R_CHUNK_END_INVALID
        elif b.state == S_DATA_LF:
            next_state = S_SIZE if p[i] == LF else -<int>R_CHUNK_END_INVALID
        elif b.state == S_DONE:
            break
        else:
            next_state = size_byte(b, p[i])
        if next_state < 0:
            b.why = <uint16_t>-next_state
            data[0] = slice_of(p, 0)
            used[0] = i
            return next_state
        b.state = <uint8_t>next_state
        i += 1
    used[0] = i
    return BODY_DONE if b.state == S_DONE else BODY_MORE


cdef int body_feed(Body* b, const uint8_t* p, size_t n, Slice* data, size_t* used) noexcept nogil:
    cdef size_t run
    data[0] = slice_of(p, 0)
    used[0] = 0
    if b.why:
        return -<int>b.why
    if b.framing == FRAMING_CHUNKED:
        return chunked_feed(b, p, n, data, used)
    if b.framing == FRAMING_CLOSE:
        data.len = used[0] = n
        return BODY_MORE
    if b.framing == FRAMING_LENGTH and b.left:
        run = n if <uint64_t>n < b.left else <size_t>b.left
        data.len = used[0] = run
        b.left -= run
    return BODY_DONE if body_done(b) else BODY_MORE


cdef size_t chunk_head(uint8_t* out, size_t n) noexcept nogil:
    cdef int shift = 60
    cdef size_t o = 0
    while shift > 0 and not <uint64_t>n >> shift:
        shift -= 4
    while shift >= 0:
        out[o] = <uint8_t>"0123456789abcdef"[(<uint64_t>n >> shift) & 15]
        o += 1
        shift -= 4
    out[o] = CR
    out[o + 1] = LF
    return o + 2


# -- doors for Python ------------------------------------------------------------------------------

cdef class BodyReader:
    """A body decoder for tests: framing is "none", "length", "chunked" or "close"."""
    cdef Body body

    def __cinit__(self, str framing, uint64_t length=0):
        body_start(&self.body, FRAMINGS.index(framing), length)

    def feed(self, bytes data) -> tuple:
        """Return (payload, bytes that belong to the next message); raise WireError."""
        cdef const uint8_t* p = data
        cdef size_t at = 0, n = len(data), used = 0
        cdef Slice run
        cdef list payload = []
        cdef int rc = BODY_MORE
        while rc == BODY_MORE:
            rc = body_feed(&self.body, p + at, n - at, &run, &used)
            if rc < 0:
                raise_wire(rc)
            payload.append(slice_bytes(run))
            at += used
            if at == n:
                break
        return b"".join(payload), data[at:]

    @property
    def done(self) -> bool:
        return bool(body_done(&self.body))


def chunk_line(size_t n) -> bytes:
    """Return the size line of a chunk of n bytes."""
    cdef uint8_t out[18]
    cdef size_t size = chunk_head(out, n)
    return out[:size]
