"""Names, hosts and paths of a head, in the one form that routing, policy and the origin all see.

Nothing here allocates or raises; the doors for Python are at the end."""

from libc.string cimport memset

from _fastpath.errors cimport *
from _fastpath.limits cimport MAX_HOST, MAX_TARGET
from _fastpath.slice cimport Slice, lower, slice_bytes, slice_of

cdef enum:
    MAX_LABEL = 63               # RFC 1035 §2.3.4
    MAX_NAME = 253
    SLOTS = 512                  # of the name table; four times the names keeps the search for MIX short


# -- byte classes ----------------------------------------------------------------------------------

def _fill_classes() -> None:
    cdef int c
    alphabet = b"abcdefghijklmnopqrstuvwxyz"
    digits = b"0123456789"
    word = alphabet + alphabet.upper() + digits
    token = word + b"!#$%&'*+-.^_`|~"
    members = (
        (C_NAME, word + b"-"),
        (C_TOKEN, token),
        (C_METHOD, bytes(set(token) - set(alphabet))),
        (C_TARGET, bytes(set(range(0x21, 0x7F)) - set(b'"#<>\\'))),
        (C_HEX, b"0123456789abcdefABCDEF"),
        (C_UNRESERVED, word + b"-._~"),
        (C_HOST, word + b"-._"),
    )
    memset(BYTE_CLASS, 0, sizeof(BYTE_CLASS))
    for bit, of in members:
        for c in of:
            BYTE_CLASS[c] |= <uint8_t>(<int>bit)
    for c in range(256):
        HEX_VALUE[c] = int(chr(c), 16) if BYTE_CLASS[c] & C_HEX else -1


_fill_classes()


# -- field names -----------------------------------------------------------------------------------

NAMES = {
    b"host": F_HOST, b"connection": F_CONNECTION, b"keep-alive": F_KEEP_ALIVE,
    b"proxy-connection": F_PROXY_CONNECTION, b"te": F_TE, b"trailer": F_TRAILER,
    b"transfer-encoding": F_TRANSFER_ENCODING, b"content-length": F_CONTENT_LENGTH,
    b"upgrade": F_UPGRADE, b"expect": F_EXPECT, b"proxy-authorization": F_PROXY_AUTHORIZATION,
    b"proxy-authenticate": F_PROXY_AUTHENTICATE, b"cookie": F_COOKIE, b"set-cookie": F_SET_COOKIE,
    b"origin": F_ORIGIN, b"accept": F_ACCEPT, b"accept-language": F_ACCEPT_LANGUAGE,
    b"authorization": F_AUTHORIZATION, b"www-authenticate": F_WWW_AUTHENTICATE,
    b"x-requested-with": F_X_REQUESTED_WITH, b"sec-fetch-mode": F_SEC_FETCH_MODE,
    b"sec-fetch-site": F_SEC_FETCH_SITE, b"sec-fetch-dest": F_SEC_FETCH_DEST,
    b"sec-websocket-key": F_SEC_WEBSOCKET_KEY, b"sec-websocket-version": F_SEC_WEBSOCKET_VERSION,
    b"sec-websocket-accept": F_SEC_WEBSOCKET_ACCEPT,
    b"sec-websocket-protocol": F_SEC_WEBSOCKET_PROTOCOL,
    b"sec-websocket-extensions": F_SEC_WEBSOCKET_EXTENSIONS, b"http2-settings": F_HTTP2_SETTINGS,
    b"user-agent": F_USER_AGENT, b"referer": F_REFERER, b"cf-access-token": F_CF_ACCESS_TOKEN,
    b"cf-access-client-id": F_CF_ACCESS_CLIENT_ID,
    b"cf-access-client-secret": F_CF_ACCESS_CLIENT_SECRET,
    b"x-forwarded-for": F_X_FORWARDED_FOR, b"x-forwarded-proto": F_X_FORWARDED_PROTO,
    b"server": F_SERVER, b"date": F_DATE, b"location": F_LOCATION,
    b"strict-transport-security": F_STRICT_TRANSPORT_SECURITY, b"alt-svc": F_ALT_SVC,
    # Names that only the edge may set. `proxy` too: CGI origins read it as HTTP_PROXY (httpoxy).
    b"forwarded": F_OWNED, b"x-real-ip": F_OWNED, b"true-client-ip": F_OWNED,
    b"x-original-url": F_OWNED, b"x-rewrite-url": F_OWNED, b"proxy": F_OWNED,
}
OWNED_PREFIXES = (b"cf-", b"x-forwarded-")      # compared below, byte by byte

cdef struct Name:
    const char* text             # lower case
    uint8_t size                 # 0 = free slot
    uint8_t id

cdef Name TABLE[SLOTS]
cdef uint32_t MIX                # multiplier that gives every name a slot of its own


cdef inline uint32_t slot_of(const uint8_t* name, size_t n, uint32_t mix) noexcept nogil:
    """Slot by length and four letters. `| 32` folds the case of letters, which is all that a hash needs."""
    cdef uint32_t key = (name[0] | 32) | <uint32_t>(name[n - 1] | 32) << 8
    key |= <uint32_t>(name[n >> 1] | 32) << 16 | <uint32_t>(name[n - 1 - (n >> 2)] | 32) << 24
    return ((key ^ <uint32_t>n * 0x01000193u) * mix) >> 23


def _fill_names() -> None:
    """Find a multiplier without collisions; the same one each time, as the search begins at the same place."""
    global MIX
    cdef uint32_t mix = 0x9E3779B1u
    cdef int tries = 0
    cdef const uint8_t* text
    while len({slot_of(name, len(name), mix) for name in NAMES}) != len(NAMES):
        mix += 2
        tries += 1
        if tries == 10000:
            raise ImportError("slot_of needs another letter")   # unreachable: until somebody adds a name
    MIX = mix
    memset(TABLE, 0, sizeof(TABLE))
    for name, number in NAMES.items():      # NAMES keeps the bytes alive
        text = name
        TABLE[slot_of(text, len(name), mix)] = Name(text=<const char*>text, size=len(name), id=number)


_fill_names()


cdef uint8_t plain_id(const uint8_t* name, size_t n) noexcept nogil:
    """FieldId of a non-empty name of letters, digits and '-'."""
    cdef Name* entry = &TABLE[slot_of(name, n, MIX)]
    cdef size_t i
    if entry.size == n:
        for i in range(n):
            # `| 32` is exact here: '-' and digits have the bit already, and no other byte comes.
            if (name[i] | 32) != <uint8_t>entry.text[i]:
                break
        else:
            return entry.id
    if n > 3 and (name[0] | 32) == c"c" and (name[1] | 32) == c"f" and name[2] == c"-":
        return F_OWNED
    if n > 12 and (name[0] | 32) == c"x" and name[1] == c"-":
        for i in range(2, 12):
            if (name[i] | 32) != <uint8_t>("x-forwarded-"[i]):
                return F_OTHER
        return F_OWNED
    return F_OTHER


cdef uint8_t disguised_id(const uint8_t* name, size_t n) noexcept nogil:
    """FieldId of a name with other token bytes in it, which CGI-like origins fold into '_' as they do '-'."""
    cdef uint8_t plain[32]       # longer than every name in the table; only a prefix matters beyond
    cdef size_t size = n if n < sizeof(plain) else sizeof(plain)
    cdef size_t i
    cdef uint8_t number
    for i in range(size):
        plain[i] = name[i] if BYTE_CLASS[name[i]] & C_NAME else <uint8_t>c"-"
    number = plain_id(plain, size)
    if number == F_TRANSFER_ENCODING or number == F_CONTENT_LENGTH:
        return F_REFUSED
    if (number == F_OWNED or number == F_X_FORWARDED_FOR or number == F_X_FORWARDED_PROTO
            or F_CF_ACCESS_TOKEN <= number <= F_CF_ACCESS_CLIENT_SECRET):
        return F_OWNED
    return F_OTHER


cdef uint8_t field_id(const uint8_t* name, size_t n) noexcept nogil:
    cdef size_t i
    if n == 0:
        return F_OTHER
    for i in range(n):
        if not BYTE_CLASS[name[i]] & C_NAME:
            return disguised_id(name, n)
    return plain_id(name, n)


# -- host ------------------------------------------------------------------------------------------

cdef int port_parse(const uint8_t* p, size_t n, int32_t* port) noexcept nogil:
    """Decimal port 1–65535 without leading zeros."""
    cdef int32_t value = 0
    cdef size_t i
    if n == 0 or n > 5 or p[0] == c"0":
        return -<int>R_HOST_INVALID
    for i in range(n):
        if not c"0" <= p[i] <= c"9":
            return -<int>R_HOST_INVALID
        value = value * 10 + (p[i] - c"0")
    if value > 65535:
        return -<int>R_HOST_INVALID
    port[0] = value
    return OK


cdef int host_normal(Slice host, uint8_t* out, size_t room, Slice* name, int32_t* port) noexcept nogil:
    cdef size_t i = 0, label = 0
    cdef uint8_t c
    port[0] = -1
    name[0] = slice_of(out, 0)
    if host.len == 0 or host.len > MAX_HOST or host.len > room:
        return -<int>R_HOST_INVALID
    if host.ptr[0] == c"[":
        out[0] = c"["
        for i in range(1, host.len):
            c = host.ptr[i]
            out[i] = lower(c)
            if c == c"]":
                break
            if not (BYTE_CLASS[c] & C_HEX or c == c":" or c == c"."):
                return -<int>R_HOST_INVALID
        else:
            return -<int>R_HOST_INVALID
        if i < 3:                # `[]`, `[:]`
            return -<int>R_HOST_INVALID
        i += 1
        name.len = i
        if i == host.len:
            return OK
        if host.ptr[i] != c":":
            return -<int>R_HOST_INVALID
        return port_parse(host.ptr + i + 1, host.len - i - 1, port)

    while i < host.len and host.ptr[i] != c":":
        c = host.ptr[i]
        if not BYTE_CLASS[c] & C_HOST:
            return -<int>R_HOST_INVALID
        if c == c".":
            if label == 0:       # an empty label: `..a`, `a..`, `.`
                return -<int>R_HOST_INVALID
            label = 0
        else:
            label += 1
            if label > MAX_LABEL:
                return -<int>R_HOST_INVALID
        out[i] = lower(c)
        i += 1
    if i == 0:
        return -<int>R_HOST_INVALID
    name.len = i if label else i - 1             # the root's dot
    if name.len > MAX_NAME:
        return -<int>R_HOST_INVALID
    if i == host.len:
        return OK
    return port_parse(host.ptr + i + 1, host.len - i - 1, port)


# -- path ------------------------------------------------------------------------------------------

cdef inline bint is_dots(const uint8_t* p, size_t n) noexcept nogil:
    return (n == 1 and p[0] == c".") or (n == 2 and p[0] == c"." and p[1] == c".")


cdef inline bint ends_in_space(const uint8_t* p, size_t n) noexcept nogil:
    return n >= 3 and p[n - 3] == c"%" and p[n - 2] == c"2" and p[n - 1] == c"0"


cdef inline int escaped(Slice path, size_t i) noexcept nogil:
    """The byte that `%XX` at i stands for, or -1."""
    if i + 2 >= path.len or path.ptr[i] != c"%":
        return -1
    if HEX_VALUE[path.ptr[i + 1]] < 0 or HEX_VALUE[path.ptr[i + 2]] < 0:
        return -1
    return HEX_VALUE[path.ptr[i + 1]] << 4 | HEX_VALUE[path.ptr[i + 2]]


cdef size_t utf8_run(Slice path, size_t i) noexcept nogil:
    """Bytes of path that one escaped UTF-8 character beyond ASCII takes from i, or 0 when it is malformed:
    overlong, a surrogate, above U+10FFFF, cut off (RFC 3629 §4)."""
    cdef int lead = escaped(path, i), low = 0x80, high = 0xBF, more, k, c
    if 0xC2 <= lead <= 0xDF:
        more = 1
    elif 0xE0 <= lead <= 0xEF:
        more = 2
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
    elif 0xF0 <= lead <= 0xF4:
        more = 3
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    else:
        return 0
    for k in range(1, more + 1):
        c = escaped(path, i + 3 * k)
        if not low <= c <= high:
            return 0
        low, high = 0x80, 0xBF
    return 3 * (<size_t>more + 1)


cdef bint hides_structure(Slice path, size_t i) noexcept nogil:
    """True when what follows an escaped '%' at i would, decoded again, be a dot, a separator or a control
    byte (D08). `%2525…2e` counts however deep it is."""
    cdef int hi, lo, c
    i += 3
    while i + 1 < path.len and path.ptr[i] == c"2" and path.ptr[i + 1] == c"5":
        i += 2
    if i + 1 >= path.len:
        return False
    hi, lo = HEX_VALUE[path.ptr[i]], HEX_VALUE[path.ptr[i + 1]]
    if hi < 0 or lo < 0:
        return False
    c = hi << 4 | lo
    return c < 0x20 or c == 0x7F or c == c"." or c == c"/" or c == c"\\"


cdef inline void write_escape(uint8_t* out, int c) noexcept nogil:
    out[0] = c"%"
    out[1] = <uint8_t>"0123456789ABCDEF"[c >> 4]
    out[2] = <uint8_t>"0123456789ABCDEF"[c & 15]


cdef int path_normal(Slice path, bint encoded_slash, uint8_t* out, size_t room, Slice* normal) noexcept nogil:
    # A segment is what stands between '/'; a piece what stands between '/', an encoded '/' and ';', because
    # some origin reads each of them as an end.
    cdef size_t i = 1, o = 1
    cdef size_t segment = 1      # where the current segment begins in out
    cdef size_t piece = 1        # where the current piece begins
    cdef bint parameters = False     # the current piece comes after a ';' of its segment
    cdef bint slashes = False    # the current segment holds an encoded '/'
    cdef bint any_parameter = False, any_dots = False, at_end
    cdef size_t run, k
    cdef int c
    normal[0] = slice_of(out, 0)
    if path.len == 0 or path.ptr[0] != c"/":
        return -<int>R_TARGET_INVALID
    if path.len > room or path.len > MAX_TARGET:
        return -<int>R_TARGET_TOO_LONG
    out[0] = c"/"
    while True:
        at_end = i == path.len
        if at_end or path.ptr[i] == c"/":
            if ends_in_space(out + piece, o - piece):
                return -<int>R_PATH_CONTROL
            if slashes and not parameters and is_dots(out + piece, o - piece):
                return -<int>R_PATH_SLASH_ENCODED
            if is_dots(out + segment, o - segment):
                any_dots = True
                if o - segment == 2:
                    if segment == 1:
                        return -<int>R_PATH_ABOVE_ROOT
                    segment -= 1
                    while out[segment - 1] != c"/":
                        segment -= 1
                o = segment
            elif o > segment and not at_end:
                out[o] = c"/"
                o += 1
            segment = piece = o
            parameters = slashes = False
            if at_end:
                break
            i += 1
            continue

        c = path.ptr[i]
        if c != c"%":
            if c == c"\\":
                return -<int>R_PATH_BACKSLASH
            if not BYTE_CLASS[c] & C_TARGET or c == c"?":
                return -<int>R_TARGET_INVALID
            run = 1
        else:
            c = escaped(path, i)
            if c < 0:
                return -<int>R_PATH_ESCAPE_INVALID
            run = 3

        if c == c";":            # raw or escaped: both end a piece; neither is turned into the other
            if ends_in_space(out + piece, o - piece):
                return -<int>R_PATH_CONTROL
            if not parameters and is_dots(out + piece, o - piece):
                return -<int>R_PATH_DOT_PARAMETER
            any_parameter = parameters = True
        if run == 1:
            out[o] = <uint8_t>c
            o += 1
            i += 1
            if c == c";":
                piece = o
            continue

        if BYTE_CLASS[c] & C_UNRESERVED:
            out[o] = <uint8_t>c
            o += 1
            i += 3
            continue
        if c >= 0x80:
            run = utf8_run(path, i)
            if run == 0:
                return -<int>R_PATH_NOT_UTF8
            for k in range(0, run, 3):
                write_escape(out + o, escaped(path, i + k))
                o += 3
            i += run
            continue
        if c < 0x20 or c == 0x7F:
            return -<int>R_PATH_CONTROL
        if c == c"\\":
            return -<int>R_PATH_BACKSLASH
        if c == c"%" and hides_structure(path, i):
            return -<int>R_PATH_DOUBLE_ENCODED
        if c == c"/":
            # Where the application opted in it travels as %2F; pieces that an origin would resolve don't.
            if not encoded_slash or (not parameters and o == piece) or ends_in_space(out + piece, o - piece):
                return -<int>R_PATH_SLASH_ENCODED
            if not parameters and is_dots(out + piece, o - piece):
                return -<int>R_PATH_SLASH_ENCODED
            slashes = True
            parameters = False
        write_escape(out + o, c)
        o += 3
        i += 3
        if c == c"/" or c == c";":
            piece = o

    if any_parameter and any_dots:
        # `/admin;/../public`: whether the parameter belongs to what `..` removes is read differently.
        return -<int>R_PATH_DOT_PARAMETER
    normal.len = o
    return OK


# -- doors for Python ------------------------------------------------------------------------------

def normal_host(bytes host) -> tuple:
    """Return (lower-case name, port or None) of a Host value; raise WireError host-invalid."""
    cdef uint8_t out[MAX_HOST]
    cdef Slice name
    cdef int32_t port
    cdef int rc = host_normal(slice_of(host, len(host)), out, sizeof(out), &name, &port)
    if rc < 0:
        raise_wire(rc, host)
    return slice_bytes(name), None if port < 0 else port


def normal_path(bytes path, bint encoded_slash=False) -> bytes:
    """Return the normal form of a path without query; raise WireError with the reason of section D."""
    cdef uint8_t out[MAX_TARGET]
    cdef Slice normal
    cdef int rc = path_normal(slice_of(path, len(path)), encoded_slash, out, sizeof(out), &normal)
    if rc < 0:
        raise_wire(rc, path)
    return slice_bytes(normal)


KINDS = {number: name.decode() for name, number in NAMES.items() if number != F_OWNED} | {
    F_OTHER: "other", F_OWNED: "owned", F_REFUSED: "refused"}
FRAMINGS = ("none", "length", "chunked", "close")        # by Framing


def kind_of(bytes name) -> str:
    """Return what a field name means to us: its own lower-case name, "owned", "refused" or "other"."""
    return KINDS[field_id(name, len(name))]
