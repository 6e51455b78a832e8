"""HTTP/1.1 heads (RFC 9112), strict and sans-IO.

A head is parsed in one pass from its first byte; nothing is kept between calls. What stands further on
never changes what was already an error: the verdict on a head doesn't depend on how it was cut (A44).

    request-line / status-line     request_line, status_line
    fields                         fields_parse: names, values, ids
    what they mean together        framing_of, options_of, request_rules, upgrade_of
"""

from libc.stdint cimport int16_t, int32_t
from libc.string cimport memchr, memcmp, memcpy, memset

from _fastpath.errors cimport *
from _fastpath.head cimport *
from _fastpath.head import FRAMINGS, KINDS
from _fastpath.limits cimport *
from _fastpath.slice cimport Slice, slice_bytes, slice_eq, slice_is, slice_of

cdef struct Cursor:              # where the parser stands in the bytes it was given
    const uint8_t* q             # next byte
    const uint8_t* line          # first byte of the current line
    const uint8_t* stop          # one past the last byte that the current line may use: its limit or the end
    const uint8_t* end           # one past the last byte here, never beyond MAX_HEAD
    bint over_head               # the bytes here reach MAX_HEAD


cdef inline void line_begin(Cursor* k) noexcept nogil:
    k.line = k.q
    k.stop = k.end if k.end - k.q <= MAX_LINE else k.q + MAX_LINE + 1


cdef int starved(const Cursor* k) noexcept nogil:
    """What it means that k.stop was reached: a limit, or simply that more bytes are needed (0)."""
    if k.stop - k.line > MAX_LINE:
        return -<int>R_LINE_TOO_LONG
    return -<int>R_HEAD_TOO_LARGE if k.over_head else 0


cdef inline int line_end(Cursor* k) noexcept nogil:
    """Take CRLF at q, where a CR or LF stands: 1, 0 when the LF isn't here yet, or a Wire code."""
    if k.q[0] == LF:
        return -<int>R_LINE_END_INVALID
    if k.q + 1 >= k.end:
        return -<int>R_HEAD_TOO_LARGE if k.over_head else 0
    if k.q[1] != LF:
        return -<int>R_LINE_END_INVALID
    k.q += 2
    return 1


cdef inline const uint8_t* text_end(const uint8_t* q, const uint8_t* stop) noexcept nogil:
    """First byte from q that may not stand in a field value (controls but TAB, and 0x7F), or stop."""
    cdef uint64_t word, low, deleted
    while True:
        while stop - q >= 8:
            memcpy(&word, q, 8)
            # Eight bytes at once: is any below 0x20, is any 0x7F? (May say yes wrongly only above a true one.)
            low = (word - 0x2020202020202020ULL) & ~word
            word ^= 0x7F7F7F7F7F7F7F7FULL
            deleted = (word - 0x0101010101010101ULL) & ~word
            if (low | deleted) & 0x8080808080808080ULL:
                break
            q += 8
        while q < stop and (q[0] >= 0x20 and q[0] != 0x7F):
            q += 1
        if q < stop and q[0] == TAB:
            q += 1
            continue
        return q


# -- start lines -----------------------------------------------------------------------------------

cdef const char* ROOT = "/"      # path of an absolute-form target that has none


cdef int method_of(Slice m) noexcept nogil:
    """Method number, or a Wire code for those that are never served (E01, E02)."""
    cdef const char* p = <const char*>m.ptr
    if m.len == 3:
        if memcmp(p, "GET", 3) == 0:
            return METHOD_GET
        if memcmp(p, "PUT", 3) == 0:
            return METHOD_PUT
    elif m.len == 4:
        if memcmp(p, "POST", 4) == 0:
            return METHOD_POST
        if memcmp(p, "HEAD", 4) == 0:
            return METHOD_HEAD
    elif m.len == 5:
        if memcmp(p, "PATCH", 5) == 0:
            return METHOD_PATCH
        if memcmp(p, "TRACE", 5) == 0 or memcmp(p, "TRACK", 5) == 0:
            return -<int>R_METHOD_REFUSED
    elif m.len == 6:
        if memcmp(p, "DELETE", 6) == 0:
            return METHOD_DELETE
    elif m.len == 7:
        if memcmp(p, "OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        if memcmp(p, "CONNECT", 7) == 0:
            return -<int>R_METHOD_REFUSED
    return METHOD_OTHER


cdef int target_split(Head* h) noexcept nogil:
    """Authority, path and query of the target; Wire code."""
    cdef const uint8_t* p = h.target.ptr
    cdef const uint8_t* end = p + h.target.len
    cdef const uint8_t* q
    if p[0] != c"/":
        if h.target.len == 1 and p[0] == c"*":
            # For the server as a whole: only OPTIONS asks that (RFC 9112 §3.2.4).
            return OK if h.method_id == METHOD_OPTIONS else -<int>R_TARGET_INVALID
        if h.target.len > 7 and slice_is(slice_of(p, 7), "http://", 7):
            q = p + 7
        elif h.target.len > 8 and slice_is(slice_of(p, 8), "https://", 8):
            q = p + 8
        else:
            return -<int>R_TARGET_INVALID
        p = q
        while q < end and q[0] != c"/" and q[0] != c"?":
            q += 1
        if q == p:
            return -<int>R_TARGET_INVALID
        h.authority = slice_of(p, q - p)
        p = q
    q = <const uint8_t*>memchr(p, c"?", end - p) if p < end else NULL
    if q == NULL:
        q = end
    h.path = slice_of(p, q - p) if q > p else slice_of(<const uint8_t*>ROOT, 1)
    h.query = slice_of(q, end - q)
    return OK


cdef int version_take(Cursor* k, uint8_t* minor) noexcept nogil:
    """Take `HTTP/1.0` or `HTTP/1.1` at q: 1, 0 when it isn't whole yet, or a Wire code."""
    cdef const char* text = "HTTP/1."
    cdef int i
    for i in range(8):
        if k.q + i == k.stop:
            return starved(k)
        if i < 5:
            if k.q[i] != <uint8_t>text[i]:
                return -<int>R_REQUEST_LINE_INVALID
        elif i == 7:
            if k.q[7] != c"0" and k.q[7] != c"1":
                return -<int>R_VERSION_UNSUPPORTED
        elif k.q[i] != <uint8_t>text[i]:
            return -<int>R_VERSION_UNSUPPORTED
    minor[0] = k.q[7] - c"0"
    k.q += 8
    return 1


cdef int request_line(Cursor* k, Head* h) noexcept nogil:
    """Take the request line: 1, 0 when it isn't whole yet, or a Wire code."""
    cdef int rc, empty = 0
    cdef const uint8_t* begin
    line_begin(k)
    while k.q < k.end and (k.q[0] == CR or k.q[0] == LF):
        # Some clients send one CRLF after a body (RFC 9112 §2.2).
        if empty == MAX_LEADING_EMPTY_LINES:
            return -<int>R_REQUEST_LINE_INVALID
        rc = line_end(k)
        if rc <= 0:
            return rc
        empty += 1
    line_begin(k)

    begin = k.q
    while k.q < k.stop and BYTE_CLASS[k.q[0]] & C_METHOD:
        k.q += 1
    if k.q - begin > MAX_METHOD:
        return -<int>R_METHOD_INVALID
    if k.q == k.stop:
        return starved(k)
    if k.q[0] != SP or k.q == begin:
        return -<int>R_METHOD_INVALID
    h.method = slice_of(begin, k.q - begin)
    k.q += 1

    begin = k.q
    while k.q < k.stop and BYTE_CLASS[k.q[0]] & C_TARGET:
        k.q += 1
    if k.q - begin > MAX_TARGET:
        return -<int>R_TARGET_TOO_LONG
    if k.q == k.stop:
        return starved(k)
    if k.q[0] != SP or k.q == begin:
        # CR or LF here is HTTP/0.9 (B01); anything else may not stand in a target (B04, B14).
        return -<int>R_REQUEST_LINE_INVALID if k.q[0] == CR or k.q == begin else -<int>R_TARGET_INVALID
    h.target = slice_of(begin, k.q - begin)
    k.q += 1

    rc = version_take(k, &h.minor)
    if rc <= 0:
        return rc
    if k.q == k.stop:
        return starved(k)
    if k.q[0] != CR and k.q[0] != LF:
        return -<int>R_REQUEST_LINE_INVALID
    rc = line_end(k)
    if rc <= 0:
        return rc
    rc = method_of(h.method)
    if rc < 0:
        return rc
    h.method_id = <uint8_t>rc
    rc = target_split(h)
    return rc if rc < 0 else 1


cdef int status_line(Cursor* k, Head* h) noexcept nogil:
    """Take the status line: 1, 0 when it isn't whole yet, or a Wire code."""
    cdef const uint8_t* begin
    cdef int rc, i
    line_begin(k)
    rc = version_take(k, &h.minor)
    if rc <= 0:
        return rc
    for i in range(4):
        if k.q + i == k.stop:
            return starved(k)
        if i == 0:
            if k.q[0] != SP:
                return -<int>R_ORIGIN_RESPONSE_INVALID
        elif not c"0" <= k.q[i] <= c"9":
            return -<int>R_ORIGIN_RESPONSE_INVALID
    h.status = <uint16_t>((k.q[1] - c"0") * 100 + (k.q[2] - c"0") * 10 + (k.q[3] - c"0"))
    if h.status < 100 or h.status > 599:
        return -<int>R_ORIGIN_RESPONSE_INVALID
    k.q += 4
    if k.q == k.stop:
        return starved(k)
    if k.q[0] == SP:             # many servers leave out the space when there is no phrase
        k.q += 1
        begin = k.q
        k.q = text_end(k.q, k.stop)
        if k.q == k.stop:
            return starved(k)
        h.reason_phrase = slice_of(begin, k.q - begin)
    if k.q[0] != CR and k.q[0] != LF:
        return -<int>R_ORIGIN_RESPONSE_INVALID
    return line_end(k)


# -- fields ----------------------------------------------------------------------------------------

cdef int fields_parse(Cursor* k, Head* h) noexcept nogil:
    """Take all fields and the empty line: 1, 0 when they aren't whole yet, or a Wire code."""
    cdef const uint8_t* begin
    cdef const uint8_t* last
    cdef Field* f
    cdef uint8_t c, all_plain, number
    cdef int rc
    while True:
        line_begin(k)
        if k.q == k.end:
            return starved(k)
        c = k.q[0]
        if c == CR or c == LF:
            return line_end(k)
        if c == SP or c == TAB:
            # A continuation of the line above, or an indented first field (A20, A41).
            return -<int>R_FIELD_FOLDED
        if h.n_fields == MAX_FIELDS:
            return -<int>R_FIELDS_TOO_MANY

        begin = k.q
        all_plain = C_NAME
        while k.q < k.stop and BYTE_CLASS[k.q[0]] & C_TOKEN:
            all_plain &= BYTE_CLASS[k.q[0]]
            k.q += 1
        if k.q == k.stop:
            return starved(k)
        if k.q[0] != c":" or k.q == begin:
            return -<int>R_FIELD_NAME_INVALID
        f = &h.fields[h.n_fields]
        f.name = slice_of(begin, k.q - begin)
        f.flags = 0
        number = plain_id(begin, f.name.len) if all_plain else field_id(begin, f.name.len)
        if number == F_REFUSED:
            return -<int>R_FIELD_NAME_INVALID
        f.id = number
        k.q += 1

        while k.q < k.stop and (k.q[0] == SP or k.q[0] == TAB):
            k.q += 1
        begin = k.q
        k.q = text_end(k.q, k.stop)
        if k.q == k.stop:
            return starved(k)
        if k.q[0] != CR and k.q[0] != LF:
            return -<int>R_FIELD_VALUE_INVALID
        last = k.q
        rc = line_end(k)
        if rc <= 0:
            return rc
        while last > begin and ((last - 1)[0] == SP or (last - 1)[0] == TAB):
            last -= 1
        f.value = slice_of(begin, last - begin)

        if h.first[number] < 0:
            h.first[number] = <int16_t>h.n_fields
        if h.count[number] < 255:
            h.count[number] += 1
        h.n_fields += 1


cdef int length_parse(Slice text, uint64_t* length) noexcept nogil:
    """Content-Length: decimal digits without leading zeros (A05–A08); Wire code."""
    cdef uint64_t value = 0
    cdef size_t i
    if text.len == 0 or text.len > MAX_LENGTH_DIGITS or (text.ptr[0] == c"0" and text.len > 1):
        return -<int>R_LENGTH_INVALID
    for i in range(text.len):
        if not c"0" <= text.ptr[i] <= c"9":
            return -<int>R_LENGTH_INVALID
        value = value * 10 + (text.ptr[i] - c"0")
    length[0] = value
    return OK


cdef bint next_element(Slice* rest, Slice* element) noexcept nogil:
    """Cut the next element, without surrounding whitespace, from a comma list; False at its end.
    `rest.ptr` is NULL once the last one was cut."""
    cdef const uint8_t* p = rest.ptr
    cdef const uint8_t* comma
    cdef size_t n = rest.len
    if p == NULL:
        return False
    comma = <const uint8_t*>memchr(p, c",", n) if n else NULL
    if comma != NULL:
        rest[0] = slice_of(comma + 1, n - (comma - p) - 1)
        n = comma - p
    else:
        rest[0] = slice_of(NULL, 0)
    while n and (p[0] == SP or p[0] == TAB):
        p += 1
        n -= 1
    while n and (p[n - 1] == SP or p[n - 1] == TAB):
        n -= 1
    element[0] = slice_of(p, n)
    return True


cdef bint coding_known(Slice s) noexcept nogil:
    return (slice_is(s, "gzip", 4) or slice_is(s, "x-gzip", 6) or slice_is(s, "deflate", 7)
            or slice_is(s, "compress", 8) or slice_is(s, "x-compress", 10))


cdef int encoding_error(Slice value) noexcept nogil:
    """Why a Transfer-Encoding that isn't `chunked` is refused: 501 for real codings that end in chunked."""
    cdef Slice element = slice_of(NULL, 0)
    cdef bint unsupported = False
    while next_element(&value, &element):
        if value.ptr == NULL:
            return (-<int>R_ENCODING_UNSUPPORTED if unsupported and slice_is(element, "chunked", 7)
                    else -<int>R_ENCODING_INVALID)
        if not coding_known(element):
            break
        unsupported = True
    return -<int>R_ENCODING_INVALID


cdef int framing_of(Head* h) noexcept nogil:
    """framing and length by the fields alone (RFC 9112 §6.3, each doubt an error); Wire code."""
    cdef Slice value
    cdef int rc
    if h.count[<int>F_TRANSFER_ENCODING]:
        if h.count[<int>F_CONTENT_LENGTH]:
            return -<int>R_LENGTH_AND_ENCODING
        if h.minor == 0:
            return -<int>R_ENCODING_IN_HTTP_10
        value = h.fields[h.first[<int>F_TRANSFER_ENCODING]].value
        if h.count[<int>F_TRANSFER_ENCODING] > 1:
            return -<int>R_ENCODING_INVALID
        if not slice_is(value, "chunked", 7):
            return encoding_error(value)
        h.framing = FRAMING_CHUNKED
    elif h.count[<int>F_CONTENT_LENGTH]:
        if h.count[<int>F_CONTENT_LENGTH] > 1:
            return -<int>R_LENGTH_REPEATED
        rc = length_parse(h.fields[h.first[<int>F_CONTENT_LENGTH]].value, &h.length)
        if rc < 0:
            return rc
        h.framing = FRAMING_LENGTH
    return OK


cdef inline bint listable(uint8_t number) noexcept nogil:
    """May a Connection option make this field hop-by-hop? Not what frames, routes or identifies (C03–C05)."""
    return not (number == F_HOST or number == F_CONTENT_LENGTH or number == F_TRANSFER_ENCODING
                or number == F_OWNED or number == F_X_FORWARDED_FOR or number == F_X_FORWARDED_PROTO
                or F_CF_ACCESS_TOKEN <= number <= F_CF_ACCESS_CLIENT_SECRET)


cdef bint same_name(Slice a, Slice b) noexcept nogil:
    cdef size_t i
    if a.len != b.len:
        return False
    for i in range(a.len):
        if a.ptr[i] != b.ptr[i] and ((a.ptr[i] ^ b.ptr[i]) != 32 or not c"a" <= a.ptr[i] | 32 <= c"z"):
            return False
    return True


cdef int options_of(Head* h, bint* upgrade) noexcept nogil:
    """Read Connection: keep_alive, whether `upgrade` is named, FIELD_LISTED; Wire code."""
    cdef Slice rest, option
    cdef bint close = False, keep = False
    cdef int i, j, options = 0
    cdef size_t b
    for i in range(h.n_fields):
        if h.fields[i].id != F_CONNECTION:
            continue
        rest = h.fields[i].value
        while next_element(&rest, &option):
            options += 1
            if options > MAX_OPTIONS:
                return -<int>R_FIELD_VALUE_INVALID
            for b in range(option.len):
                if not BYTE_CLASS[option.ptr[b]] & C_TOKEN:
                    return -<int>R_FIELD_VALUE_INVALID
            if slice_is(option, "close", 5):
                close = True
            elif slice_is(option, "keep-alive", 10):
                keep = True
            elif slice_is(option, "upgrade", 7):
                upgrade[0] = True
            elif option.len:
                for j in range(h.n_fields):
                    if same_name(h.fields[j].name, option) and listable(h.fields[j].id):
                        h.fields[j].flags |= FIELD_LISTED
    h.keep_alive = not close and (h.minor == 1 or keep)
    return OK


cdef int upgrade_of(Head* h, bint named) noexcept nogil:
    """Which upgrade is asked for, or was granted (E06); Wire code."""
    cdef Slice value
    if not h.count[<int>F_UPGRADE]:
        return OK
    value = h.fields[h.first[<int>F_UPGRADE]].value
    if h.minor == 0 or h.count[<int>F_UPGRADE] > 1:
        h.upgrade_other = True
    elif slice_is(value, "websocket", 9):
        h.upgrade_websocket = True
    elif slice_is(value, "sekisho-tcp/1", 13):
        h.upgrade_tcp = True
    else:
        h.upgrade_other = True
    if not named and (h.upgrade_websocket or h.upgrade_tcp):
        return -<int>R_UPGRADE_INVALID       # E04: half of a handshake
    return OK


# -- what a request must be beyond its grammar -------------------------------------------------------

cdef bint websocket_key_valid(Slice key) noexcept nogil:
    """Base64 of 16 bytes: 22 characters and `==` (RFC 6455 §4.2.1)."""
    cdef int i
    cdef uint8_t c
    if key.len != 24 or key.ptr[22] != c"=" or key.ptr[23] != c"=":
        return False
    for i in range(22):
        c = key.ptr[i]
        if not (c"a" <= c | 32 <= c"z" or c"0" <= c <= c"9" or c == c"+" or c == c"/"):
            return False
    return True


cdef int upgrade_rules(Head* h) noexcept nogil:
    """What a request for a switch must bring (E04); Wire code."""
    if h.method_id != METHOD_GET or h.framing == FRAMING_CHUNKED or h.length:
        return -<int>R_UPGRADE_INVALID
    if h.upgrade_websocket:
        if h.count[<int>F_SEC_WEBSOCKET_VERSION] != 1 or not slice_is(
                h.fields[h.first[<int>F_SEC_WEBSOCKET_VERSION]].value, "13", 2):
            return -<int>R_WEBSOCKET_VERSION
        if h.count[<int>F_SEC_WEBSOCKET_KEY] != 1 or not websocket_key_valid(
                h.fields[h.first[<int>F_SEC_WEBSOCKET_KEY]].value):
            return -<int>R_UPGRADE_INVALID
    return OK


cdef int authority_rules(Head* h) noexcept nogil:
    """An absolute-form target must name the host that Host names (B11): there is one host to judge."""
    cdef uint8_t asked[MAX_HOST]
    cdef uint8_t named[MAX_HOST]
    cdef Slice a, b
    cdef int32_t port_a, port_b, usual
    if (host_normal(h.authority, asked, sizeof(asked), &a, &port_a) < 0
            or host_normal(h.host, named, sizeof(named), &b, &port_b) < 0):
        return -<int>R_HOST_INVALID
    usual = 80 if h.authority.ptr - h.target.ptr == 7 else 443
    if port_a < 0:
        port_a = usual
    if port_b < 0:
        port_b = usual
    return OK if slice_eq(a, b) and port_a == port_b else -<int>R_HOST_MISMATCH


cdef int request_rules(Head* h) noexcept nogil:
    """Host, single fields, Expect; Wire code."""
    if not h.count[<int>F_HOST]:
        return -<int>R_HOST_MISSING
    if h.count[<int>F_HOST] > 1:
        return -<int>R_HOST_REPEATED
    h.host = h.fields[h.first[<int>F_HOST]].value
    if h.host.len == 0:
        return -<int>R_HOST_MISSING
    # Fields that we judge by: a second one would be somebody else's choice (C13).
    if (h.count[<int>F_CF_ACCESS_TOKEN] > 1 or h.count[<int>F_CF_ACCESS_CLIENT_ID] > 1
            or h.count[<int>F_CF_ACCESS_CLIENT_SECRET] > 1 or h.count[<int>F_AUTHORIZATION] > 1
            or h.count[<int>F_ORIGIN] > 1):
        return -<int>R_FIELD_REPEATED
    if h.count[<int>F_EXPECT]:
        if h.count[<int>F_EXPECT] > 1 or not slice_is(
                h.fields[h.first[<int>F_EXPECT]].value, "100-continue", 12):
            return -<int>R_EXPECTATION_UNKNOWN
        h.expect_continue = h.minor == 1     # HTTP/1.0 knows no 1xx (RFC 9110 §10.1.1)
    return authority_rules(h) if h.authority.len else OK


cdef inline void head_begin(Cursor* k, const uint8_t* p, size_t n, Head* h) noexcept nogil:
    # All but the fields themselves, which n_fields guards: clearing 4 KB would cost more than the parse.
    memset(h, 0, <const char*>&h.fields[0] - <const char*>h)
    memset(h.first, 0xFF, sizeof(h.first))
    k.q = p
    k.over_head = n >= MAX_HEAD
    k.end = p + (<size_t>MAX_HEAD if k.over_head else n)


cdef int request_parse(const uint8_t* p, size_t n, Head* h) noexcept nogil:
    cdef Cursor k
    cdef bint upgrade = False
    cdef int rc
    head_begin(&k, p, n, h)
    rc = request_line(&k, h)
    if rc > 0:
        rc = fields_parse(&k, h)
    if rc <= 0:
        return rc
    rc = framing_of(h)
    if rc == OK:
        rc = request_rules(h)
    if rc == OK:
        rc = options_of(h, &upgrade)
    if rc == OK and h.count[<int>F_UPGRADE]:
        rc = upgrade_of(h, upgrade)
        if rc == OK and (h.upgrade_websocket or h.upgrade_tcp):
            rc = upgrade_rules(h)
    return rc if rc < 0 else <int>(k.q - p)


cdef int response_parse(const uint8_t* p, size_t n, int request_method, Head* h) noexcept nogil:
    cdef Cursor k
    cdef bint upgrade = False
    cdef int rc
    head_begin(&k, p, n, h)
    rc = status_line(&k, h)
    if rc > 0:
        rc = fields_parse(&k, h)
    if rc <= 0:
        return rc
    rc = framing_of(h)
    if rc == OK:
        rc = options_of(h, &upgrade)
    if rc < 0:
        return rc
    # `length` stays what the field said, for HEAD and 304 describe a body that isn't sent.
    if h.status < 200 or h.status == 204:
        if h.framing == FRAMING_CHUNKED:
            return -<int>R_ENCODING_INVALID      # RFC 9112 §6.1: must not; something else would follow
        h.framing = FRAMING_NONE
    elif h.status == 304 or request_method == METHOD_HEAD:
        h.framing = FRAMING_NONE
    elif h.framing == FRAMING_NONE:
        h.framing = FRAMING_CLOSE
        h.keep_alive = False
    if h.status == 101:
        rc = upgrade_of(h, upgrade)
    return rc if rc < 0 else <int>(k.q - p)


# -- doors for Python ------------------------------------------------------------------------------

METHODS = {b"GET": METHOD_GET, b"HEAD": METHOD_HEAD}     # those that change how a response is read


cdef dict view_of(const Head* h):
    """Everything in h that isn't a field, as plain Python values."""
    return {
        "minor": h.minor, "framing": FRAMINGS[h.framing], "length": h.length,
        "keep_alive": bool(h.keep_alive), "expect_continue": bool(h.expect_continue),
        "upgrade": ("websocket" if h.upgrade_websocket else "tcp" if h.upgrade_tcp
                    else "other" if h.upgrade_other else ""),
        "fields": [(slice_bytes(h.fields[i].name), slice_bytes(h.fields[i].value), KINDS[h.fields[i].id],
                    bool(h.fields[i].flags & FIELD_LISTED)) for i in range(h.n_fields)],
    }


def parse_request(bytes data):
    """Return (bytes of the head, dict of its parts), or None when more bytes are needed; raise WireError."""
    cdef Head h
    cdef int rc = request_parse(data, len(data), &h)
    if rc < 0:
        raise_wire(rc)
    if rc == 0:
        return None
    return rc, view_of(&h) | {
        "method": slice_bytes(h.method), "method_id": h.method_id, "target": slice_bytes(h.target),
        "path": slice_bytes(h.path), "query": slice_bytes(h.query),
        "authority": slice_bytes(h.authority), "host": slice_bytes(h.host),
    }


def parse_response(bytes data, bytes method=b"GET"):
    """Return (bytes of the head, dict of its parts), or None when more bytes are needed; raise WireError."""
    cdef Head h
    cdef int rc = response_parse(data, len(data), METHODS.get(method, METHOD_OTHER), &h)
    if rc < 0:
        raise_wire(rc)
    if rc == 0:
        return None
    return rc, view_of(&h) | {"status": h.status, "reason_phrase": slice_bytes(h.reason_phrase)}


def parse_rounds(bytes data, int rounds) -> int:
    """Parse the same request head `rounds` times without Python in between; for bench/micro."""
    cdef Head h
    cdef const uint8_t* p = data
    cdef size_t n = len(data)
    cdef int rc = 0, _
    with nogil:
        for _ in range(rounds):
            rc = request_parse(p, n, &h)
    return rc
