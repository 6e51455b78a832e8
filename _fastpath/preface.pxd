"""The PROXY protocol (v1, v2), as a load balancer writes it before the first byte of a client. Sans-IO."""

from libc.stdint cimport uint8_t


cdef int proxy_header(const uint8_t* p, size_t n, uint8_t* ip, bint* local) noexcept nogil
    # > 0: bytes of the header; ip holds 16 bytes (IPv4 mapped), unless *local: the balancer speaks for itself.
    # 0: more bytes are needed. < 0: Wire code; close.
