"""Certificates, keys, trust anchors and revocation lists out of PEM text, into an SSL_CTX."""

from _fastpath.openssl cimport *


class TlsError(ValueError):
    """A certificate, key or CA file that libssl can't use; the text says which and why."""


cdef int no_password(char* out, int room, int writing, void* arg) noexcept nogil:
    return -1                # never ask on a terminal


cdef str last_error():
    """The newest entry of libssl's queue in words; the queue is emptied."""
    cdef const char* text = ERR_reason_error_string(ERR_peek_last_error())
    cdef str words = (<bytes>text).decode("ascii", "replace") if text != NULL else "no detail"
    ERR_clear_error()
    return words


cdef bint pem_ended() noexcept nogil:
    """Did reading stop because nothing more stood there, and not at something that can't be read?"""
    cdef unsigned long code = ERR_peek_last_error()
    return ERR_GET_LIB(code) == ERR_LIB_PEM and ERR_GET_REASON(code) == PEM_R_NO_START_LINE


cdef BIO* pem_bio(bytes pem) except NULL:
    cdef BIO* bio = BIO_new_mem_buf(<const char*>pem, <int>len(pem))
    if bio == NULL:
        raise MemoryError
    ERR_clear_error()
    return bio


cdef int use_certificate(SSL_CTX* ctx, bytes certificate, bytes key) except -1:
    """Give ctx a certificate chain (leaf first) and its key, both PEM."""
    cdef BIO* bio = pem_bio(certificate)
    cdef X509* x = NULL
    cdef EVP_PKEY* pkey = NULL
    cdef int count = 0, ok = 1
    while ok:
        x = PEM_read_bio_X509(bio, NULL, no_password, NULL)
        if x == NULL:
            break
        ok = SSL_CTX_use_certificate(ctx, x) if count == 0 else SSL_CTX_add1_chain_cert(ctx, x)
        X509_free(x)
        count += 1
    BIO_free(bio)
    if not ok:
        raise TlsError(f"certificate {count} can't be used: {last_error()}")
    if count == 0:
        raise TlsError(f"no certificate in the PEM text: {last_error()}")
    if not pem_ended():
        raise TlsError(f"certificate {count + 1} of the PEM text can't be read: {last_error()}")
    bio = pem_bio(key)
    pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL)
    BIO_free(bio)
    if pkey == NULL:
        raise TlsError(f"no usable private key in the PEM text: {last_error()}")
    ok = SSL_CTX_use_PrivateKey(ctx, pkey) and SSL_CTX_check_private_key(ctx)
    EVP_PKEY_free(pkey)
    if not ok:
        raise TlsError(f"the private key doesn't belong to the certificate: {last_error()}")
    return 0


cdef int add_anchors(SSL_CTX* ctx, bytes pem, bint announce) except -1:
    """Add every certificate of pem as a trust anchor; return how many. announce: name them to clients."""
    cdef BIO* bio = pem_bio(pem)
    cdef X509_STORE* store = SSL_CTX_get_cert_store(ctx)
    cdef X509* x
    cdef int count = 0, ok = 1
    while ok:
        x = PEM_read_bio_X509(bio, NULL, no_password, NULL)
        if x == NULL:
            break
        ok = X509_STORE_add_cert(store, x)
        if ok and announce:
            ok = SSL_CTX_add_client_CA(ctx, x)
        X509_free(x)
        count += 1
    BIO_free(bio)
    if not ok:
        raise TlsError(f"trust anchor {count} can't be used: {last_error()}")
    ERR_clear_error()
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN)     # an intermediate CA may be an anchor
    return count


cdef int add_revocations(SSL_CTX* ctx, bytes pem) except -1:
    """Add every CRL of pem and demand one for each issuer; return how many, 0 when one can't be read."""
    cdef BIO* bio = pem_bio(pem)
    cdef X509_STORE* store = SSL_CTX_get_cert_store(ctx)
    cdef X509_CRL* x
    cdef int count = 0, ok = 1
    while ok:
        x = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)
        if x == NULL:
            break
        ok = X509_STORE_add_crl(store, x)
        X509_CRL_free(x)
        count += 1
    BIO_free(bio)
    if not ok:
        raise TlsError(f"revocation list {count} can't be used: {last_error()}")
    if not pem_ended():
        count = 0            # the list that can't be read may be the newer one: whom it names is unknown
    ERR_clear_error()
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)
    return count


def certificate_names(pem: bytes) -> list[str]:
    """DNS names of the first certificate in pem (RFC 6125: subjectAltName only)."""
    from cryptography import x509
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.DNSName))
