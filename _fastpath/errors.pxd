"""Codes inside, exceptions at the border (STYLE rule 3).

There is one closed list of reasons, for requests, links and decisions. A *Wire code*, what a nogil codec
returns, is OK or the negative of a Reason: `return -R_LENGTH_INVALID`. raise_wire is the one place where a
code becomes an exception. Names, statuses and faults are rows of errors.pyx; docs/reasons.md explains each.

To add a reason: a value here (before R_COUNT, nothing is ever renumbered on the wire or on disk: only
names travel), a row in errors.pyx, a row in docs/reasons.md, a sentence in both locales of edge/control."""


cdef enum Wire:
    OK = 0                       # and every error is -Reason


cdef enum Reason:
    R_NONE = 0                   # nothing has been said yet; never shown to anybody

    # The request as bytes: the client's fault, nothing reached an origin
    R_REQUEST_LINE_INVALID
    R_METHOD_INVALID
    R_METHOD_REFUSED             # CONNECT, TRACE, TRACK
    R_TARGET_INVALID
    R_VERSION_UNSUPPORTED
    R_LINE_END_INVALID           # bare LF, bare CR
    R_FIELD_NAME_INVALID
    R_FIELD_VALUE_INVALID
    R_FIELD_FOLDED
    R_FIELD_REPEATED             # a field of ours, or one that must be single, came twice
    R_HOST_MISSING
    R_HOST_REPEATED
    R_HOST_INVALID
    R_HOST_MISMATCH              # absolute-form target and Host differ
    R_LENGTH_INVALID
    R_LENGTH_REPEATED
    R_LENGTH_AND_ENCODING        # Content-Length beside Transfer-Encoding
    R_ENCODING_INVALID           # Transfer-Encoding that is not exactly `chunked`
    R_ENCODING_UNSUPPORTED       # a coding that we don't implement
    R_ENCODING_IN_HTTP_10
    R_CHUNK_SIZE_INVALID
    R_CHUNK_END_INVALID
    R_CHUNK_EXTENSION_INVALID
    R_CHUNK_OVERHEAD
    R_TRAILER_INVALID
    R_PATH_ESCAPE_INVALID        # `%`, `%1`, `%zz`
    R_PATH_CONTROL               # an encoded control byte or space at a segment's end
    R_PATH_SLASH_ENCODED
    R_PATH_BACKSLASH
    R_PATH_DOUBLE_ENCODED
    R_PATH_DOT_PARAMETER         # `..;`, `.;x`
    R_PATH_NOT_UTF8
    R_PATH_ABOVE_ROOT            # more `..` than segments
    R_EXPECTATION_UNKNOWN
    R_UPGRADE_INVALID
    R_WEBSOCKET_VERSION
    R_BODY_TRUNCATED             # the client closed inside its body
    R_PLAIN_ON_TLS_PORT
    R_TLS_ON_PLAIN_PORT
    R_PROXY_HEADER_INVALID       # PROXY protocol: malformed, or from an address that may not send it

    # Limits
    R_HEAD_TOO_LARGE
    R_LINE_TOO_LONG
    R_FIELDS_TOO_MANY
    R_TARGET_TOO_LONG
    R_TRAILER_TOO_LARGE
    R_BODY_TOO_LARGE
    R_CLIENT_CONNECTIONS         # too many from this address
    R_OVERLOADED
    R_VERIFY_QUEUE_FULL          # too many tokens wait for their signature check
    R_BUFFER_FULL

    # Time-outs towards the client
    R_HANDSHAKE_TIMEOUT
    R_HEAD_TIMEOUT
    R_BODY_TIMEOUT
    R_CLIENT_STALLED             # takes no bytes
    R_UPGRADE_IDLE

    # How a connection ended
    R_CLIENT_CLOSED
    R_TLS_FAILED
    R_TLS_NAME_MISMATCH          # SNI and Host differ
    R_HTTPS_REQUIRED
    R_DRAINING
    R_INTERNAL

    # Who is asking: session, token, service token, client certificate
    R_SESSION_MISSING
    R_SESSION_EXPIRED
    R_SESSION_REVOKED
    R_SESSION_OUTDATED           # the person's or application's epoch was raised
    R_SESSION_DUPLICATE          # two cookies of our name
    R_TOKEN_MALFORMED
    R_TOKEN_ALGORITHM
    R_TOKEN_SIGNATURE
    R_TOKEN_KEY_UNKNOWN
    R_TOKEN_ISSUER
    R_TOKEN_AUDIENCE
    R_TOKEN_TYPE
    R_TOKEN_NOT_YET_VALID
    R_TOKEN_CLAIMS               # a claim is missing or has a wrong type
    R_SERVICE_TOKEN_UNKNOWN
    R_SERVICE_TOKEN_EXPIRED
    R_SERVICE_TOKEN_REVOKED
    R_SERVICE_TOKEN_INCOMPLETE
    R_CLIENT_CERTIFICATE_MISSING
    R_CLIENT_CERTIFICATE_INVALID
    R_CLIENT_CERTIFICATE_EXPIRED
    R_CLIENT_CERTIFICATE_REVOKED

    # What the policies said
    R_POLICY_ALLOWED
    R_POLICY_BYPASSED
    R_POLICY_SERVICE_ADMITTED
    R_POLICY_DENIED              # a deny policy matched
    R_POLICY_NO_MATCH            # no policy matched
    R_POLICY_NONE                # the application has no policy
    R_POLICY_FAILED              # an exception inside a decision
    R_LOGIN_NEEDED
    R_LOGIN_METHOD_NOT_ALLOWED   # signed in, by a provider that this application doesn't take (any more)
    R_FACTS_UNAVAILABLE
    R_SNAPSHOT_STALE             # no word from control for max_stale
    R_SNAPSHOT_MISSING           # the worker has none yet

    # Rules of one policy (explain, log): why it did not match
    R_RULE_EVERYONE
    R_RULE_EMAIL
    R_RULE_EMAIL_DOMAIN
    R_RULE_IP
    R_RULE_LOGIN_METHOD
    R_RULE_CLAIM
    R_RULE_IDP_GROUP
    R_RULE_AUTH_METHOD
    R_RULE_SERVICE_TOKEN
    R_RULE_GROUP
    R_RULE_EXCLUDED
    R_RULE_REQUIRED
    R_RULE_FACT_UNKNOWN

    # Where it should go
    R_HOST_UNKNOWN
    R_APPLICATION_MISSING        # a route, but no application covers it
    R_ROUTE_MISSING              # an application, but no route
    R_TUNNEL_UNKNOWN             # the route names a tunnel that does not exist
    R_TUNNEL_DOWN                # no link
    R_TUNNEL_SERVICE_MISSING     # no entry of the connector's table matches
    R_TUNNEL_TABLE_UNKNOWN       # version or index that the connector no longer keeps
    R_TUNNEL_STREAMS             # stream limit of the link
    R_CONTROL_DOWN

    # Links and the mux
    R_LINK_LOST
    R_LINK_TIMEOUT               # dead peer
    R_LINK_PROTOCOL              # yamux or control-stream rule broken
    R_LINK_ROLE                  # a stream that this role may not open
    R_LINK_GOAWAY
    R_LINK_REFUSED               # registration refused
    R_LINK_VERSION
    R_LINK_REVOKED
    R_STREAM_RESET
    R_STREAM_WINDOW              # data beyond the window
    R_STREAM_TIMEOUT             # half-closed for too long

    # Between workers
    R_RELAY_REFUSED
    R_RELAY_LOST
    R_RELAY_LOOP

    # The origin, as the edge or the connector sees it
    R_ORIGIN_REFUSED
    R_ORIGIN_UNREACHABLE
    R_ORIGIN_NAME                # does not resolve
    R_ORIGIN_TLS                 # certificate or handshake
    R_ORIGIN_CONNECT_TIMEOUT
    R_ORIGIN_HEAD_TIMEOUT
    R_ORIGIN_BODY_TIMEOUT
    R_ORIGIN_CLOSED              # before a whole response head
    R_ORIGIN_TRUNCATED           # inside the body
    R_ORIGIN_RESPONSE_INVALID
    R_ORIGIN_RESPONSE_TOO_LARGE  # head
    R_ORIGIN_EXCESS              # bytes after the response
    R_ORIGIN_UPGRADE_UNASKED     # 101 that nobody asked for
    R_ORIGIN_ADDRESS_REFUSED     # local rules forbid to dial it

    # Upgrades and cross-site requests
    R_ORIGIN_HEADER_MISSING      # upgrade with a cookie and no Origin
    R_ORIGIN_HEADER_FOREIGN
    R_TCP_COOKIE                 # a TCP service never takes a cookie
    R_TCP_ORIGIN_HEADER

    R_COUNT


cdef enum Fault:                 # who has to do something about it
    FAULT_NONE = 0               # nobody: an ordinary outcome
    FAULT_CLIENT                 # the program that sent the request
    FAULT_PERSON                 # who is signed in, or is not
    FAULT_OPERATOR               # configuration
    FAULT_ORIGIN
    FAULT_CONNECTOR
    FAULT_EDGE


cdef const char* reason_name(int reason) noexcept nogil      # kebab-case; "unknown" out of range
cdef str reason_text(int reason)                              # the same; None for 0
cdef int reason_status(int reason) noexcept nogil            # HTTP status of our answer; 0 = close without one
cdef int reason_fault(int reason) noexcept nogil             # Fault
cdef bint reason_retry(int reason) noexcept nogil            # repeating the same request later may succeed, and is safe

cdef inline int wire_reason(int code) noexcept nogil:
    """Reason of a Wire code (0 for OK and for byte counts)."""
    return -code if code < 0 else 0

cdef int origin_reason(int code) noexcept nogil
    # What a Wire code of response_parse or body_feed means on the origin's side:
    # head limits → R_ORIGIN_RESPONSE_TOO_LARGE, R_ORIGIN_* as they are, the rest R_ORIGIN_RESPONSE_INVALID.

cdef int raise_wire(int code, object detail=*) except -1     # always raises WireError
