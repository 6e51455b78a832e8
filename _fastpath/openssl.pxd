"""The part of OpenSSL 3.0 that we use. Declarations only; macros are declared as functions."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "openssl/err.h" nogil:
    unsigned long ERR_peek_last_error()
    unsigned long ERR_peek_error()
    void ERR_clear_error()
    int ERR_GET_LIB(unsigned long code)
    int ERR_GET_REASON(unsigned long code)
    int ERR_LIB_PEM
    const char* ERR_reason_error_string(unsigned long code)


cdef extern from "openssl/rand.h" nogil:
    int RAND_bytes(unsigned char* out, int n)


cdef extern from "openssl/params.h" nogil:
    ctypedef struct OSSL_PARAM:
        pass
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char* key, void* data, size_t n)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char* key, char* text, size_t n)
    OSSL_PARAM OSSL_PARAM_construct_end()


cdef extern from "openssl/core_names.h" nogil:
    const char* OSSL_MAC_PARAM_KEY
    const char* OSSL_MAC_PARAM_DIGEST
    const char* OSSL_PKEY_PARAM_RSA_N
    const char* OSSL_PKEY_PARAM_RSA_E


cdef extern from "openssl/bn.h" nogil:
    ctypedef struct BIGNUM
    BIGNUM* BN_bin2bn(const unsigned char* p, int n, BIGNUM* into)
    void BN_free(BIGNUM* n)


cdef extern from "openssl/param_build.h" nogil:
    ctypedef struct OSSL_PARAM_BLD
    OSSL_PARAM_BLD* OSSL_PARAM_BLD_new()
    void OSSL_PARAM_BLD_free(OSSL_PARAM_BLD* b)
    int OSSL_PARAM_BLD_push_BN(OSSL_PARAM_BLD* b, const char* key, const BIGNUM* n)
    OSSL_PARAM* OSSL_PARAM_BLD_to_param(OSSL_PARAM_BLD* b)
    void OSSL_PARAM_free(OSSL_PARAM* p)


cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_PKEY
    ctypedef struct EVP_PKEY_CTX
    ctypedef struct EVP_MD
    ctypedef struct EVP_MD_CTX
    ctypedef struct EVP_CIPHER
    ctypedef struct EVP_CIPHER_CTX
    ctypedef struct EVP_MAC_CTX
    ctypedef struct ENGINE
    int EVP_PKEY_PUBLIC_KEY
    const EVP_CIPHER* EVP_aes_256_cbc()
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX* c, const EVP_CIPHER* cipher, ENGINE* e, const unsigned char* key,
                           const unsigned char* iv)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX* c, const EVP_CIPHER* cipher, ENGINE* e, const unsigned char* key,
                           const unsigned char* iv)
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX* c, const OSSL_PARAM* params)
    const EVP_MD* EVP_sha256()
    EVP_MD_CTX* EVP_MD_CTX_new()
    void EVP_MD_CTX_free(EVP_MD_CTX* c)
    int EVP_DigestVerifyInit(EVP_MD_CTX* c, EVP_PKEY_CTX** pctx, const EVP_MD* md, ENGINE* e, EVP_PKEY* key)
    int EVP_DigestVerify(EVP_MD_CTX* c, const unsigned char* sig, size_t sig_len, const unsigned char* data,
                         size_t n)
    int EVP_MD_CTX_copy_ex(EVP_MD_CTX* out, const EVP_MD_CTX* source)
    EVP_PKEY_CTX* EVP_PKEY_CTX_new_from_name(void* lib, const char* name, const char* query)
    void EVP_PKEY_CTX_free(EVP_PKEY_CTX* c)
    int EVP_PKEY_fromdata_init(EVP_PKEY_CTX* c)
    int EVP_PKEY_fromdata(EVP_PKEY_CTX* c, EVP_PKEY** key, int selection, OSSL_PARAM* params)
    void EVP_PKEY_free(EVP_PKEY* key)
    int EVP_PKEY_get_size(const EVP_PKEY* key)
    int EVP_PKEY_get_bits(const EVP_PKEY* key)
    int EVP_Digest(const void* data, size_t n, unsigned char* out, unsigned int* out_len, const EVP_MD* md,
                   ENGINE* e)


cdef extern from "openssl/crypto.h" nogil:
    int CRYPTO_memcmp(const void* a, const void* b, size_t n)
    void OPENSSL_free(void* p)
    void OPENSSL_cleanse(void* p, size_t n)


cdef extern from "openssl/bio.h" nogil:
    ctypedef struct BIO
    ctypedef struct BIO_METHOD
    int BIO_TYPE_SOURCE_SINK
    int BIO_CTRL_FLUSH
    ctypedef int (*bio_write_fn)(BIO*, const char*, int) noexcept nogil
    ctypedef int (*bio_read_fn)(BIO*, char*, int) noexcept nogil
    ctypedef long (*bio_ctrl_fn)(BIO*, int, long, void*) noexcept nogil
    int BIO_get_new_index()
    BIO_METHOD* BIO_meth_new(int type, const char* name)
    void BIO_meth_free(BIO_METHOD* m)
    int BIO_meth_set_write(BIO_METHOD* m, bio_write_fn f)
    int BIO_meth_set_read(BIO_METHOD* m, bio_read_fn f)
    int BIO_meth_set_ctrl(BIO_METHOD* m, bio_ctrl_fn f)
    BIO* BIO_new(const BIO_METHOD* m)
    BIO* BIO_new_mem_buf(const void* p, int n)
    int BIO_free(BIO* b)
    void BIO_set_data(BIO* b, void* data)
    void* BIO_get_data(BIO* b)
    void BIO_set_init(BIO* b, int yes)
    void BIO_set_retry_read(BIO* b)
    void BIO_clear_retry_flags(BIO* b)


cdef extern from "openssl/x509v3.h" nogil:
    ctypedef struct X509
    ctypedef struct X509_CRL
    ctypedef struct X509_NAME
    ctypedef struct X509_STORE
    ctypedef struct X509_STORE_CTX
    ctypedef struct X509_VERIFY_PARAM
    ctypedef struct ASN1_TIME
    ctypedef struct stack_x509 "STACK_OF(X509)"
    int X509_V_OK
    int X509_V_ERR_INVALID_PURPOSE
    unsigned long X509_V_FLAG_PARTIAL_CHAIN
    unsigned long X509_V_FLAG_CRL_CHECK
    unsigned long X509_V_FLAG_CRL_CHECK_ALL
    unsigned int X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
    uint32_t XKU_SSL_CLIENT
    uint32_t X509_get_extended_key_usage(X509* x)
    uint32_t X509_get_extension_flags(X509* x)
    void X509_free(X509* x)
    int X509_up_ref(X509* x)
    int i2d_X509(const X509* x, unsigned char** out)
    X509_NAME* X509_get_subject_name(const X509* x)
    const ASN1_TIME* X509_get0_notAfter(const X509* x)
    const ASN1_TIME* X509_get0_notBefore(const X509* x)
    int X509_cmp_current_time(const ASN1_TIME* t)
    void X509_CRL_free(X509_CRL* x)
    X509* X509_STORE_CTX_get_current_cert(X509_STORE_CTX* c)
    int X509_STORE_CTX_get_error_depth(X509_STORE_CTX* c)
    void X509_STORE_CTX_set_error(X509_STORE_CTX* c, int error)
    int X509_STORE_add_cert(X509_STORE* s, X509* x)
    int X509_STORE_add_crl(X509_STORE* s, X509_CRL* x)
    int X509_STORE_set_flags(X509_STORE* s, unsigned long flags)
    const char* X509_verify_cert_error_string(long n)
    int X509_VERIFY_PARAM_set1_host(X509_VERIFY_PARAM* p, const char* name, size_t n)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM* p, const char* text)
    void X509_VERIFY_PARAM_set_hostflags(X509_VERIFY_PARAM* p, unsigned int flags)
    int sk_X509_num(const stack_x509* s)
    X509* sk_X509_value(const stack_x509* s, int i)


cdef extern from "openssl/pem.h" nogil:
    int PEM_R_NO_START_LINE
    ctypedef int (*pem_password_fn)(char*, int, int, void*) noexcept nogil
    X509* PEM_read_bio_X509(BIO* b, X509** x, pem_password_fn f, void* arg)
    X509_CRL* PEM_read_bio_X509_CRL(BIO* b, X509_CRL** x, pem_password_fn f, void* arg)
    EVP_PKEY* PEM_read_bio_PrivateKey(BIO* b, EVP_PKEY** x, pem_password_fn f, void* arg)
    EVP_PKEY* PEM_read_bio_PUBKEY(BIO* b, EVP_PKEY** x, pem_password_fn f, void* arg)


cdef extern from "openssl/ssl.h":        # callbacks that touch Python objects: libssl is called with the GIL held
    ctypedef struct SSL
    ctypedef struct SSL_CTX
    ctypedef struct SSL_METHOD
    ctypedef int (*hello_fn)(SSL*, int*, void*) noexcept
    ctypedef int (*alpn_fn)(SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int,
                            void*) noexcept
    ctypedef int (*ticket_fn)(SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int) noexcept
    ctypedef int (*verify_fn)(int, X509_STORE_CTX*) noexcept


cdef extern from "openssl/ssl.h" nogil:

    int SSL_ERROR_WANT_READ
    int SSL_KEY_UPDATE_REQUESTED
    int SSL_ERROR_ZERO_RETURN
    int SSL_R_HTTP_REQUEST
    int SSL_CLIENT_HELLO_SUCCESS
    int SSL_CLIENT_HELLO_ERROR
    int SSL_TLSEXT_ERR_OK
    int SSL_TLSEXT_ERR_ALERT_FATAL
    int SSL_AD_ILLEGAL_PARAMETER
    int SSL_AD_DECODE_ERROR
    int SSL_AD_INTERNAL_ERROR
    int SSL_AD_UNRECOGNIZED_NAME
    int SSL_AD_NO_APPLICATION_PROTOCOL
    int SSL_AD_ACCESS_DENIED
    int SSL_VERIFY_NONE
    int SSL_VERIFY_PEER
    int SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    int TLS1_2_VERSION
    int TLS1_3_VERSION
    int SSL_SESS_CACHE_OFF
    int SSL_MODE_RELEASE_BUFFERS
    unsigned int TLSEXT_TYPE_server_name
    unsigned int TLSEXT_TYPE_application_layer_protocol_negotiation
    uint64_t SSL_OP_NO_RENEGOTIATION
    uint64_t SSL_OP_NO_COMPRESSION
    uint64_t SSL_OP_CIPHER_SERVER_PREFERENCE
    uint64_t SSL_OP_PRIORITIZE_CHACHA
    uint64_t SSL_OP_NO_TICKET

    const SSL_METHOD* TLS_server_method()
    const SSL_METHOD* TLS_client_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD* m)
    void SSL_CTX_free(SSL_CTX* c)
    uint64_t SSL_CTX_set_options(SSL_CTX* c, uint64_t options)
    long SSL_CTX_set_mode(SSL_CTX* c, long mode)
    long SSL_CTX_set_session_cache_mode(SSL_CTX* c, long mode)
    int SSL_CTX_set_min_proto_version(SSL_CTX* c, int version)
    int SSL_CTX_set_cipher_list(SSL_CTX* c, const char* names)
    int SSL_CTX_set_ciphersuites(SSL_CTX* c, const char* names)
    long SSL_CTX_set1_groups_list(SSL_CTX* c, const char* names)
    int SSL_CTX_set_num_tickets(SSL_CTX* c, size_t n)
    long SSL_CTX_set_timeout(SSL_CTX* c, long seconds)
    void SSL_CTX_set_client_hello_cb(SSL_CTX* c, hello_fn f, void* arg)
    void SSL_CTX_set_alpn_select_cb(SSL_CTX* c, alpn_fn f, void* arg)
    int SSL_CTX_set_tlsext_ticket_key_evp_cb(SSL_CTX* c, ticket_fn f)
    void SSL_CTX_set_verify(SSL_CTX* c, int mode, verify_fn f)
    int SSL_CTX_set_default_verify_paths(SSL_CTX* c)
    X509_STORE* SSL_CTX_get_cert_store(const SSL_CTX* c)
    int SSL_CTX_add_client_CA(SSL_CTX* c, X509* x)
    int SSL_CTX_use_certificate(SSL_CTX* c, X509* x)
    int SSL_CTX_add1_chain_cert(SSL_CTX* c, X509* x)
    int SSL_CTX_use_PrivateKey(SSL_CTX* c, EVP_PKEY* key)
    int SSL_CTX_check_private_key(const SSL_CTX* c)
    int SSL_CTX_set_session_id_context(SSL_CTX* c, const unsigned char* p, unsigned int n)
    int SSL_CTX_set_alpn_protos(SSL_CTX* c, const unsigned char* p, unsigned int n)
    SSL* SSL_new(SSL_CTX* c)
    void SSL_free(SSL* s)
    int SSL_set_ex_data(SSL* s, int index, void* data)
    void* SSL_get_ex_data(const SSL* s, int index)
    void SSL_set_bio(SSL* s, BIO* r, BIO* w)
    void SSL_set_accept_state(SSL* s)
    void SSL_set_connect_state(SSL* s)
    SSL_CTX* SSL_set_SSL_CTX(SSL* s, SSL_CTX* c)
    void SSL_set_verify(SSL* s, int mode, verify_fn f)
    int SSL_set_min_proto_version(SSL* s, int version)
    int SSL_set_session_id_context(SSL* s, const unsigned char* p, unsigned int n)
    uint64_t SSL_set_options(SSL* s, uint64_t options)
    int SSL_set_num_tickets(SSL* s, size_t n)
    int SSL_client_hello_get0_ext(SSL* s, unsigned int type, const unsigned char** out, size_t* n)
    long SSL_set_tlsext_host_name(SSL* s, const char* name)
    X509_VERIFY_PARAM* SSL_get0_param(SSL* s)
    int SSL_do_handshake(SSL* s)
    int SSL_read_ex(SSL* s, void* out, size_t n, size_t* got)
    int SSL_write_ex(SSL* s, const void* p, size_t n, size_t* written)
    int SSL_shutdown(SSL* s)
    int SSL_get_error(const SSL* s, int rc)
    int SSL_key_update(SSL* s, int kind)
    int SSL_has_pending(const SSL* s)
    long SSL_get_verify_result(const SSL* s)
    X509* SSL_get0_peer_certificate(const SSL* s)
    stack_x509* SSL_get0_verified_chain(const SSL* s)
    void SSL_get0_alpn_selected(const SSL* s, const unsigned char** out, unsigned int* n)
    int SSL_session_reused(const SSL* s)
    const char* SSL_get_version(const SSL* s)
    const char* SSL_get_cipher_name(const SSL* s)
    int SSL_version(const SSL* s)
