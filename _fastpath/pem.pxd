"""PEM text into an SSL_CTX. What libssl can't use is a TlsError that says which and why."""

from _fastpath.openssl cimport SSL_CTX


cdef str last_error()
    # The newest entry of libssl's queue in words; the queue is emptied.
cdef int use_certificate(SSL_CTX* ctx, bytes certificate, bytes key) except -1
    # Give ctx a certificate chain (leaf first) and its key.
cdef int add_anchors(SSL_CTX* ctx, bytes pem, bint announce) except -1
    # Add every certificate of pem as a trust anchor; return how many. announce: name them to clients.
cdef int add_revocations(SSL_CTX* ctx, bytes pem) except -1
    # Add every CRL of pem and demand one for each issuer; return how many, 0 when one can't be read.
