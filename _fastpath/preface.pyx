"""PROXY protocol headers: who the client of a load balancer is (haproxy's proxy-protocol.txt, 2.1 and 2.2)."""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memchr, memcmp, memcpy, memset

from _fastpath.errors cimport R_PROXY_HEADER_INVALID

cdef enum:
    MAX_V1 = 107                     # bytes, CRLF included (2.1)
    MAX_V2 = 536                     # bytes of addresses and TLVs that we read; a longer header is refused

cdef const uint8_t* SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


cdef int proxy_header(const uint8_t* p, size_t n, uint8_t* ip, bint* local) noexcept nogil:
    cdef size_t check = n if n < 12 else 12
    local[0] = False
    if n == 0:
        return 0
    if memcmp(p, SIGNATURE, check) == 0:
        return version2(p, n, ip, local) if n >= 16 else 0
    check = n if n < 6 else 6
    if memcmp(p, b"PROXY ", check) == 0:
        return version1(p, n, ip, local)
    return -R_PROXY_HEADER_INVALID


cdef int version2(const uint8_t* p, size_t n, uint8_t* ip, bint* local) noexcept nogil:
    cdef uint16_t length = (<uint16_t>p[14] << 8) | p[15]
    cdef size_t at, tlv
    cdef uint8_t family = p[13]
    if p[12] != 0x20 and p[12] != 0x21 or length > MAX_V2:
        return -R_PROXY_HEADER_INVALID
    if n < 16u + length:
        return 0
    if p[12] == 0x20:                # LOCAL: a health check; the rest is to be skipped
        local[0] = True
        return 16 + length
    if family == 0x11:
        at = 12
        if length < at:
            return -R_PROXY_HEADER_INVALID
        memset(ip, 0, 10)
        ip[10] = ip[11] = 0xFF
        memcpy(ip + 12, p + 16, 4)
    elif family == 0x21:
        at = 36
        if length < at:
            return -R_PROXY_HEADER_INVALID
        memcpy(ip, p + 16, 16)
    else:
        return -R_PROXY_HEADER_INVALID
    while at < length:               # TLVs: nothing in them is used, but a length that lies closes the connection (C11)
        if length - at < 3:
            return -R_PROXY_HEADER_INVALID
        tlv = (<size_t>p[16 + at + 1] << 8) | p[16 + at + 2]
        if tlv > length - at - 3:
            return -R_PROXY_HEADER_INVALID
        at += 3 + tlv
    return 16 + length


cdef int version1(const uint8_t* p, size_t n, uint8_t* ip, bint* local) noexcept nogil:
    cdef size_t limit = n if n < MAX_V1 else MAX_V1
    cdef const uint8_t* end = <const uint8_t*>memchr(p, b"\n", limit)
    cdef size_t length
    if end == NULL:
        return 0 if n < MAX_V1 else -R_PROXY_HEADER_INVALID
    length = end - p + 1
    if length < 8 or (end - 1)[0] != b"\r":
        return -R_PROXY_HEADER_INVALID
    if length >= 15 and memcmp(p, b"PROXY UNKNOWN", 13) == 0:
        local[0] = True
        return <int>length
    with gil:
        return parse_v1(p[6:length - 2], ip, <int>length)


cdef int parse_v1(bytes text, uint8_t* ip, int length) noexcept:
    """Once per connection: the address goes through the standard library's strict parser."""
    import ipaddress
    cdef bytes packed
    try:
        family, source, destination, port, port2 = text.decode("ascii").split(" ")
        address = ipaddress.ip_address(source)
        ipaddress.ip_address(destination)
        if family != "TCP%d" % address.version or not (0 <= int(port) < 65536 and 0 <= int(port2) < 65536):
            return -R_PROXY_HEADER_INVALID
        packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
        memcpy(ip, <const char*>packed, 16)
        return length
    except Exception:
        return -R_PROXY_HEADER_INVALID


# -- door for tests --------------------------------------------------------------------------------


def parse(bytes data):
    """Return (bytes used, address as 16 bytes or None when the balancer speaks for itself); used < 0 is a Wire code."""
    cdef uint8_t ip[16]
    cdef bint local = False
    cdef int rc = proxy_header(data, len(data), ip, &local)
    return rc, (None if local or rc <= 0 else ip[:16])
