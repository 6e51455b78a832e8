"""Heads that go on, written anew from what was parsed: which fields are the edge's own, each hop's, or the origin's."""

from _fastpath.checkpoint cimport Checkpoint
from _fastpath.cookie cimport cookie_sets_ours, cookie_strip
from _fastpath.exchange cimport Exchange
from _fastpath.head cimport *
from _fastpath.out cimport Out, put, put_bytes, put_number, put_safe, put_slice
from _fastpath.slice cimport Slice, of_bytes
from _fastpath.snapshot cimport APP_PASS_COOKIE


cdef int request_head(Exchange x, Head* h, Out* out, Slice host_header, bint chunked, bint control) except -1:
    """Write the head that the upstream gets, from the model: no byte of the client's head is copied as it is."""
    cdef Checkpoint cp = x.cp
    cdef Field* f
    cdef int i, dropped = 0, stripped = 0
    cdef size_t kept
    cdef bint pass_cookie = control or (x.place.app != NULL and x.place.app.flags & APP_PASS_COOKIE)
    put_slice(out, h.method)
    put(out, b" ", 1)
    put_slice(out, cp.path)
    put_slice(out, h.query)
    put(out, b" HTTP/1.1\r\nHost: ", 17)
    if host_header.len:
        put_slice(out, host_header)
    else:
        put_slice(out, cp.host)
        if cp.port >= 0 and cp.port != 443 and cp.port != 80:
            put(out, b":", 1)
            put_number(out, cp.port)
    put(out, b"\r\n", 2)
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == F_OTHER and not f.flags & FIELD_LISTED:
            put_slice(out, f.name)
            put(out, b": ", 2)
            put_slice(out, f.value)
            put(out, b"\r\n", 2)
            continue
        if f.flags & FIELD_LISTED or drops_request(f.id):
            dropped += counts_as_dropped(f.id) or (f.flags & FIELD_LISTED and f.id == F_OTHER)
            continue
        if f.id == F_COOKIE and not pass_cookie:
            put(out, b"Cookie: ", 8)
            if f.value.len > out.room - out.len:
                out.over = True
                break
            kept = cookie_strip(f.value, out.ptr + out.len, &stripped)
            if kept == 0:
                out.len -= 8
            else:
                out.len += kept
                put(out, b"\r\n", 2)
            continue
        put_slice(out, f.name)
        put(out, b": ", 2)
        put_slice(out, f.value)
        put(out, b"\r\n", 2)
    if x.websocket:
        put(out, b"Connection: Upgrade\r\nUpgrade: websocket\r\n", 41)
    if not control and x.assertion is not None:
        put(out, b"Cf-Access-Jwt-Assertion: ", 25)
        put_bytes(out, x.assertion)
        put(out, b"\r\n", 2)
        if x.token is not None and x.token.email:
            put(out, b"Cf-Access-Authenticated-User-Email: ", 36)
            put_safe(out, of_bytes(x.token.email))
            put(out, b"\r\n", 2)
    if control and x.place.app != NULL:
        put(out, b"Cf-Sekisho-Aud: ", 16)
        put_slice(out, x.place.app.aud)
        put(out, b"\r\n", 2)
    put(out, b"CF-Connecting-IP: ", 18)
    put(out, x.ip_text, x.ip_len)
    put(out, b"\r\nX-Real-IP: ", 13)
    put(out, x.ip_text, x.ip_len)
    put(out, b"\r\nX-Forwarded-For: ", 19)
    put(out, x.ip_text, x.ip_len)
    put(out, b"\r\nX-Forwarded-Proto: ", 21)
    put_bytes(out, x.live.scheme)
    put(out, b"\r\nX-Forwarded-Host: ", 20)
    put_slice(out, cp.host)
    if cp.port >= 0:
        put(out, b":", 1)
        put_number(out, cp.port)
    put(out, b"\r\nCF-Ray: ", 10)
    put(out, x.ray, 16)
    if h.framing == FRAMING_CHUNKED and chunked:
        put(out, b"\r\nTransfer-Encoding: chunked\r\n\r\n", 32)
    elif h.framing == FRAMING_LENGTH:
        put(out, b"\r\nContent-Length: ", 18)
        put_number(out, h.length)
        put(out, b"\r\n\r\n", 4)
    else:
        put(out, b"\r\n\r\n", 4)
    x.record.dropped += dropped
    cp.counters.fields_dropped += dropped
    return 0


cdef int response_head(
        Exchange x, Head* h, Out* out, bint keep, bint close_framing, bint chunked, bint control) except -1:
    """Write the head that the client gets. `close_framing`: the body ends with the connection (HTTP/1.0)."""
    cdef Field* f
    cdef int i
    put(out, b"HTTP/1.1 ", 9)
    put_number(out, h.status)
    put(out, b" ", 1)
    put_slice(out, h.reason_phrase)
    put(out, b"\r\n", 2)
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.flags & FIELD_LISTED or drops_response(f.id):
            if (f.id == F_CONTENT_LENGTH and h.framing == FRAMING_NONE
                    and (x.method == METHOD_HEAD or h.status == 304)):
                put(out, b"Content-Length: ", 16)
                put_slice(out, f.value)
                put(out, b"\r\n", 2)
            elif f.id == F_STRICT_TRANSPORT_SECURITY and len(x.live.hsts) == 0:
                put_slice(out, f.name)
                put(out, b": ", 2)
                put_slice(out, f.value)
                put(out, b"\r\n", 2)
            continue
        if f.id == F_SET_COOKIE and not control and cookie_sets_ours(f.value):
            x.record.dropped += 1
            continue
        put_slice(out, f.name)
        put(out, b": ", 2)
        put_slice(out, f.value)
        put(out, b"\r\n", 2)
    put_bytes(out, x.live.hsts)
    put(out, b"CF-Ray: ", 8)
    put(out, x.ray, 16)
    if h.status == 101:
        put(out, b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 45)
        return 0
    if chunked:
        put(out, b"\r\nTransfer-Encoding: chunked", 28)
    elif h.framing == FRAMING_LENGTH:
        put(out, b"\r\nContent-Length: ", 18)
        put_number(out, h.length)
    if not keep:
        put(out, b"\r\nConnection: close", 19)
    elif x.minor == 0:
        put(out, b"\r\nConnection: keep-alive", 24)
    put(out, b"\r\n\r\n", 4)
    return 0


cdef inline bint drops_request(int field) noexcept nogil:
    return (field == F_HOST or field == F_CONNECTION or field == F_KEEP_ALIVE or field == F_PROXY_CONNECTION
            or field == F_TE or field == F_TRAILER or field == F_TRANSFER_ENCODING or field == F_CONTENT_LENGTH
            or field == F_UPGRADE or field == F_EXPECT or field == F_PROXY_AUTHORIZATION
            or field == F_PROXY_AUTHENTICATE or field == F_HTTP2_SETTINGS or field == F_CF_ACCESS_TOKEN
            or field == F_CF_ACCESS_CLIENT_ID or field == F_CF_ACCESS_CLIENT_SECRET or field == F_X_FORWARDED_FOR
            or field == F_X_FORWARDED_PROTO or field == F_OWNED)


cdef inline bint counts_as_dropped(int field) noexcept nogil:
    """Only what nobody but us may say; hop-by-hop fields are everybody's ordinary business."""
    return field == F_OWNED or field == F_X_FORWARDED_FOR or field == F_X_FORWARDED_PROTO


cdef inline bint drops_response(int field) noexcept nogil:
    return (field == F_CONNECTION or field == F_KEEP_ALIVE or field == F_PROXY_CONNECTION or field == F_TE
            or field == F_TRAILER or field == F_TRANSFER_ENCODING or field == F_CONTENT_LENGTH or field == F_UPGRADE
            or field == F_PROXY_AUTHENTICATE or field == F_PROXY_AUTHORIZATION or field == F_HTTP2_SETTINGS
            or field == F_ALT_SVC or field == F_OWNED or field == F_CF_ACCESS_TOKEN
            or field == F_CF_ACCESS_CLIENT_ID or field == F_CF_ACCESS_CLIENT_SECRET
            or field == F_STRICT_TRANSPORT_SECURITY)
