"""The head of one request or response, whatever HTTP version it came in. All slices borrow from the
bytes that the codec parsed; nothing here allocates."""

from libc.stdint cimport int8_t, int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.limits cimport MAX_FIELDS
from _fastpath.slice cimport Slice


cdef enum:                   # bytes that heads and bodies are cut by
    TAB = 9
    LF = 10
    CR = 13
    SP = 32


cdef enum Method:            # 0 = a valid token that has no number
    METHOD_OTHER = 0
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_OPTIONS
    METHOD_PATCH
    METHOD_CONNECT           # answered 405 by us
    METHOD_TRACE             # answered 405 by us (TRACK too)


cdef enum Framing:
    FRAMING_NONE = 0         # no body
    FRAMING_LENGTH           # Head.length bytes
    FRAMING_CHUNKED
    FRAMING_CLOSE            # responses only: until end of file


cdef enum FieldId:           # what a field name means to us; order is free, F_COUNT last
    F_OTHER = 0              # nobody's business but the two ends'
    F_HOST
    F_CONNECTION
    F_KEEP_ALIVE
    F_PROXY_CONNECTION
    F_TE
    F_TRAILER
    F_TRANSFER_ENCODING
    F_CONTENT_LENGTH
    F_UPGRADE
    F_EXPECT
    F_PROXY_AUTHORIZATION
    F_PROXY_AUTHENTICATE
    F_COOKIE
    F_SET_COOKIE
    F_ORIGIN
    F_ACCEPT
    F_ACCEPT_LANGUAGE
    F_AUTHORIZATION
    F_WWW_AUTHENTICATE
    F_X_REQUESTED_WITH
    F_SEC_FETCH_MODE
    F_SEC_FETCH_SITE
    F_SEC_FETCH_DEST
    F_SEC_WEBSOCKET_KEY
    F_SEC_WEBSOCKET_VERSION
    F_SEC_WEBSOCKET_ACCEPT
    F_SEC_WEBSOCKET_PROTOCOL
    F_SEC_WEBSOCKET_EXTENSIONS
    F_HTTP2_SETTINGS
    F_USER_AGENT
    F_REFERER
    F_CF_ACCESS_TOKEN        # the names of ours that are read ...
    F_CF_ACCESS_CLIENT_ID
    F_CF_ACCESS_CLIENT_SECRET
    F_X_FORWARDED_FOR        # read from a trusted proxy only, never passed through
    F_X_FORWARDED_PROTO
    F_OWNED                  # any other name that only we may set (design §4.6): cf-*, x-forwarded-*, forwarded,
                             # x-real-ip, true-client-ip, x-original-url, x-rewrite-url; '_' read as '-'
    F_SERVER
    F_DATE
    F_LOCATION
    F_STRICT_TRANSPORT_SECURITY
    F_ALT_SVC
    F_REFUSED                # a framing name in disguise (`Transfer_Encoding`, `Content.Length`): the head is refused
    F_COUNT


cdef enum FieldFlag:
    FIELD_LISTED = 1         # named by a Connection field: hop-by-hop for this message


cdef struct Field:
    Slice name               # as sent
    Slice value              # without surrounding whitespace
    uint8_t id               # FieldId
    uint8_t flags            # FieldFlag


cdef struct Head:
    # request
    Slice method
    Slice target             # as sent (origin form, absolute form, or "*")
    Slice path               # raw path of the target, before '?'; normalised by path_normal
    Slice query              # with its leading '?', or empty
    Slice authority          # of an absolute-form target, else empty
    Slice host               # value of Host as sent; checked by host_normal
    uint8_t method_id        # Method
    # response
    uint16_t status
    Slice reason_phrase
    # both
    uint8_t minor            # HTTP/1.minor: 0 or 1
    uint8_t framing          # Framing
    bint keep_alive          # the sender wants the connection kept
    bint expect_continue
    bint upgrade_websocket   # Connection names upgrade and Upgrade is exactly "websocket"
    bint upgrade_tcp         # ... exactly "sekisho-tcp/1"
    bint upgrade_other       # anything else in Upgrade: dropped
    uint64_t length          # bytes, when framing is FRAMING_LENGTH
    uint16_t n_fields
    int16_t first[64]        # [FieldId] index in fields of the first one, -1 = absent
    uint8_t count[64]        # [FieldId] how many (saturates at 255)
    Field fields[MAX_FIELDS]


cdef enum Class:             # what a byte may be, for BYTE_CLASS[byte] & …
    C_NAME = 1               # letter, digit, '-': an ordinary byte of a field name
    C_TOKEN = 2              # any byte of a token (RFC 9110 §5.6.2)
    C_METHOD = 4             # a token byte that is not a lower-case letter
    C_TARGET = 8             # may stand raw in a request target: visible ASCII but " # < > and backslash
    C_HEX = 16
    C_UNRESERVED = 32        # letter, digit, - . _ ~
    C_HOST = 64              # letter, digit, - . _

cdef uint8_t BYTE_CLASS[256]
cdef int8_t HEX_VALUE[256]         # value of a hexadecimal digit, -1 = none


cdef uint8_t field_id(const uint8_t* name, size_t n) noexcept nogil
    # FieldId of a name (any case). Owned names are found with any token byte in place of '-' too.
cdef uint8_t plain_id(const uint8_t* name, size_t n) noexcept nogil
    # The same for a non-empty name whose bytes are all C_NAME.
cdef int host_normal(Slice host, uint8_t* out, size_t room, Slice* name, int32_t* port) noexcept nogil
    # Lower-case host without port and trailing dot, written to out (host.len bytes are enough); an IPv6
    # literal keeps its brackets; port -1 when absent. Wire code.
cdef int path_normal(Slice path, bint encoded_slash, uint8_t* out, size_t room, Slice* normal) noexcept nogil
    # Normal form (section D): unreserved decoded, slashes merged, dot segments removed, hex in upper case.
    # `out` needs path.len bytes. Wire code; refuses what section D refuses. Idempotent.
