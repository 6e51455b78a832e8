"""The part of OpenSSL 3.0 that tls.pyx and token.pyx use. Declarations only."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "openssl/ssl.h" nogil:
    ctypedef struct SSL
    ctypedef struct SSL_CTX
    ctypedef struct BIO
    ctypedef struct X509
