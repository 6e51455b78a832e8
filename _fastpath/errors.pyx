"""The closed list of reasons, and the one border from codes to exceptions (errors.pxd, docs/reasons.md)."""

FAULTS = ("none", "client", "person", "operator", "origin", "connector", "edge")   # by Fault

# Reason, name, HTTP status of our answer (0 = close without one), who has to act, is a repeat later safe
# and hopeful. Statuses of rules are those of the decision that they led to.
ROWS = (
    (R_NONE, "none", 500, FAULT_EDGE, False),
    (R_REQUEST_LINE_INVALID, "request-line-invalid", 400, FAULT_CLIENT, False),
    (R_METHOD_INVALID, "method-invalid", 400, FAULT_CLIENT, False),
    (R_METHOD_REFUSED, "method-refused", 405, FAULT_CLIENT, False),
    (R_TARGET_INVALID, "target-invalid", 400, FAULT_CLIENT, False),
    (R_VERSION_UNSUPPORTED, "version-unsupported", 505, FAULT_CLIENT, False),
    (R_LINE_END_INVALID, "line-end-invalid", 400, FAULT_CLIENT, False),
    (R_FIELD_NAME_INVALID, "field-name-invalid", 400, FAULT_CLIENT, False),
    (R_FIELD_VALUE_INVALID, "field-value-invalid", 400, FAULT_CLIENT, False),
    (R_FIELD_FOLDED, "field-folded", 400, FAULT_CLIENT, False),
    (R_FIELD_REPEATED, "field-repeated", 400, FAULT_CLIENT, False),
    (R_HOST_MISSING, "host-missing", 400, FAULT_CLIENT, False),
    (R_HOST_REPEATED, "host-repeated", 400, FAULT_CLIENT, False),
    (R_HOST_INVALID, "host-invalid", 400, FAULT_CLIENT, False),
    (R_HOST_MISMATCH, "host-mismatch", 400, FAULT_CLIENT, False),
    (R_LENGTH_INVALID, "length-invalid", 400, FAULT_CLIENT, False),
    (R_LENGTH_REPEATED, "length-repeated", 400, FAULT_CLIENT, False),
    (R_LENGTH_AND_ENCODING, "length-and-encoding", 400, FAULT_CLIENT, False),
    (R_ENCODING_INVALID, "encoding-invalid", 400, FAULT_CLIENT, False),
    (R_ENCODING_UNSUPPORTED, "encoding-unsupported", 501, FAULT_CLIENT, False),
    (R_ENCODING_IN_HTTP_10, "encoding-in-http-1.0", 400, FAULT_CLIENT, False),
    (R_CHUNK_SIZE_INVALID, "chunk-size-invalid", 400, FAULT_CLIENT, False),
    (R_CHUNK_END_INVALID, "chunk-end-invalid", 400, FAULT_CLIENT, False),
    (R_CHUNK_EXTENSION_INVALID, "chunk-extension-invalid", 400, FAULT_CLIENT, False),
    (R_CHUNK_OVERHEAD, "chunk-overhead", 400, FAULT_CLIENT, False),
    (R_TRAILER_INVALID, "trailer-invalid", 400, FAULT_CLIENT, False),
    (R_PATH_ESCAPE_INVALID, "path-escape-invalid", 400, FAULT_CLIENT, False),
    (R_PATH_CONTROL, "path-control", 400, FAULT_CLIENT, False),
    (R_PATH_SLASH_ENCODED, "path-slash-encoded", 400, FAULT_CLIENT, False),
    (R_PATH_BACKSLASH, "path-backslash", 400, FAULT_CLIENT, False),
    (R_PATH_DOUBLE_ENCODED, "path-double-encoded", 400, FAULT_CLIENT, False),
    (R_PATH_DOT_PARAMETER, "path-dot-parameter", 400, FAULT_CLIENT, False),
    (R_PATH_NOT_UTF8, "path-not-utf8", 400, FAULT_CLIENT, False),
    (R_PATH_ABOVE_ROOT, "path-above-root", 400, FAULT_CLIENT, False),
    (R_EXPECTATION_UNKNOWN, "expectation-unknown", 417, FAULT_CLIENT, False),
    (R_UPGRADE_INVALID, "upgrade-invalid", 400, FAULT_CLIENT, False),
    (R_WEBSOCKET_VERSION, "websocket-version", 426, FAULT_CLIENT, False),
    (R_BODY_TRUNCATED, "body-truncated", 400, FAULT_CLIENT, False),
    (R_PLAIN_ON_TLS_PORT, "plain-on-tls-port", 400, FAULT_CLIENT, False),
    (R_TLS_ON_PLAIN_PORT, "tls-on-plain-port", 0, FAULT_CLIENT, False),
    (R_PROXY_HEADER_INVALID, "proxy-header-invalid", 0, FAULT_OPERATOR, False),

    (R_HEAD_TOO_LARGE, "head-too-large", 431, FAULT_CLIENT, False),
    (R_LINE_TOO_LONG, "line-too-long", 431, FAULT_CLIENT, False),
    (R_FIELDS_TOO_MANY, "fields-too-many", 431, FAULT_CLIENT, False),
    (R_TARGET_TOO_LONG, "target-too-long", 414, FAULT_CLIENT, False),
    (R_TRAILER_TOO_LARGE, "trailer-too-large", 431, FAULT_CLIENT, False),
    (R_BODY_TOO_LARGE, "body-too-large", 413, FAULT_CLIENT, False),
    (R_CLIENT_CONNECTIONS, "client-connections", 503, FAULT_CLIENT, True),
    (R_OVERLOADED, "overloaded", 503, FAULT_EDGE, True),
    (R_VERIFY_QUEUE_FULL, "verify-queue-full", 503, FAULT_EDGE, True),
    (R_BUFFER_FULL, "buffer-full", 0, FAULT_EDGE, False),

    (R_HANDSHAKE_TIMEOUT, "handshake-timeout", 0, FAULT_CLIENT, True),
    (R_HEAD_TIMEOUT, "head-timeout", 408, FAULT_CLIENT, True),
    (R_BODY_TIMEOUT, "body-timeout", 408, FAULT_CLIENT, False),
    (R_CLIENT_STALLED, "client-stalled", 0, FAULT_CLIENT, False),
    (R_UPGRADE_IDLE, "upgrade-idle", 0, FAULT_NONE, True),

    (R_CLIENT_CLOSED, "client-closed", 0, FAULT_NONE, False),
    (R_TLS_FAILED, "tls-failed", 0, FAULT_CLIENT, False),
    (R_TLS_NAME_MISMATCH, "tls-name-mismatch", 421, FAULT_CLIENT, True),
    (R_HTTPS_REQUIRED, "https-required", 308, FAULT_CLIENT, True),
    (R_DRAINING, "draining", 503, FAULT_NONE, True),
    (R_INTERNAL, "internal", 500, FAULT_EDGE, False),

    (R_SESSION_MISSING, "session-missing", 401, FAULT_PERSON, False),
    (R_SESSION_EXPIRED, "session-expired", 401, FAULT_PERSON, False),
    (R_SESSION_REVOKED, "session-revoked", 401, FAULT_PERSON, False),
    (R_SESSION_OUTDATED, "session-outdated", 401, FAULT_PERSON, False),
    (R_SESSION_DUPLICATE, "session-duplicate", 401, FAULT_PERSON, False),
    (R_TOKEN_MALFORMED, "token-malformed", 401, FAULT_CLIENT, False),
    (R_TOKEN_ALGORITHM, "token-algorithm", 401, FAULT_CLIENT, False),
    (R_TOKEN_SIGNATURE, "token-signature", 401, FAULT_CLIENT, False),
    (R_TOKEN_KEY_UNKNOWN, "token-key-unknown", 401, FAULT_CLIENT, False),
    (R_TOKEN_ISSUER, "token-issuer", 401, FAULT_CLIENT, False),
    (R_TOKEN_AUDIENCE, "token-audience", 401, FAULT_CLIENT, False),
    (R_TOKEN_TYPE, "token-type", 401, FAULT_CLIENT, False),
    (R_TOKEN_NOT_YET_VALID, "token-not-yet-valid", 401, FAULT_CLIENT, True),
    (R_TOKEN_CLAIMS, "token-claims", 401, FAULT_CLIENT, False),
    (R_SERVICE_TOKEN_UNKNOWN, "service-token-unknown", 401, FAULT_CLIENT, False),
    (R_SERVICE_TOKEN_EXPIRED, "service-token-expired", 401, FAULT_CLIENT, False),
    (R_SERVICE_TOKEN_REVOKED, "service-token-revoked", 401, FAULT_CLIENT, False),
    (R_SERVICE_TOKEN_INCOMPLETE, "service-token-incomplete", 401, FAULT_CLIENT, False),
    (R_CLIENT_CERTIFICATE_MISSING, "client-certificate-missing", 403, FAULT_PERSON, False),
    (R_CLIENT_CERTIFICATE_INVALID, "client-certificate-invalid", 403, FAULT_PERSON, False),
    (R_CLIENT_CERTIFICATE_EXPIRED, "client-certificate-expired", 403, FAULT_PERSON, False),
    (R_CLIENT_CERTIFICATE_REVOKED, "client-certificate-revoked", 403, FAULT_PERSON, False),

    (R_POLICY_ALLOWED, "policy-allowed", 200, FAULT_NONE, False),
    (R_POLICY_BYPASSED, "policy-bypassed", 200, FAULT_NONE, False),
    (R_POLICY_SERVICE_ADMITTED, "policy-service-admitted", 200, FAULT_NONE, False),
    (R_POLICY_DENIED, "policy-denied", 403, FAULT_PERSON, False),
    (R_POLICY_NO_MATCH, "policy-no-match", 403, FAULT_PERSON, False),
    (R_POLICY_NONE, "policy-none", 403, FAULT_OPERATOR, False),
    (R_POLICY_FAILED, "policy-failed", 503, FAULT_EDGE, True),
    (R_LOGIN_NEEDED, "login-needed", 401, FAULT_PERSON, False),
    (R_LOGIN_METHOD_NOT_ALLOWED, "login-method-not-allowed", 401, FAULT_PERSON, False),
    (R_FACTS_UNAVAILABLE, "facts-unavailable", 503, FAULT_EDGE, True),
    (R_SNAPSHOT_STALE, "snapshot-stale", 503, FAULT_OPERATOR, True),
    (R_SNAPSHOT_MISSING, "snapshot-missing", 503, FAULT_OPERATOR, True),

    (R_RULE_EVERYONE, "rule-everyone", 403, FAULT_PERSON, False),
    (R_RULE_EMAIL, "rule-email", 403, FAULT_PERSON, False),
    (R_RULE_EMAIL_DOMAIN, "rule-email-domain", 403, FAULT_PERSON, False),
    (R_RULE_IP, "rule-ip", 403, FAULT_PERSON, False),
    (R_RULE_LOGIN_METHOD, "rule-login-method", 403, FAULT_PERSON, False),
    (R_RULE_CLAIM, "rule-claim", 403, FAULT_PERSON, False),
    (R_RULE_IDP_GROUP, "rule-idp-group", 403, FAULT_PERSON, False),
    (R_RULE_AUTH_METHOD, "rule-auth-method", 403, FAULT_PERSON, False),
    (R_RULE_SERVICE_TOKEN, "rule-service-token", 403, FAULT_PERSON, False),
    (R_RULE_GROUP, "rule-group", 403, FAULT_PERSON, False),
    (R_RULE_EXCLUDED, "rule-excluded", 403, FAULT_PERSON, False),
    (R_RULE_REQUIRED, "rule-required", 403, FAULT_PERSON, False),
    (R_RULE_FACT_UNKNOWN, "rule-fact-unknown", 503, FAULT_EDGE, True),

    (R_HOST_UNKNOWN, "host-unknown", 404, FAULT_CLIENT, False),
    (R_APPLICATION_MISSING, "application-missing", 403, FAULT_OPERATOR, False),
    (R_ROUTE_MISSING, "route-missing", 502, FAULT_OPERATOR, False),
    (R_TUNNEL_UNKNOWN, "tunnel-unknown", 502, FAULT_OPERATOR, False),
    (R_TUNNEL_DOWN, "tunnel-down", 502, FAULT_CONNECTOR, True),
    (R_TUNNEL_SERVICE_MISSING, "tunnel-service-missing", 502, FAULT_OPERATOR, False),
    (R_TUNNEL_TABLE_UNKNOWN, "tunnel-table-unknown", 502, FAULT_CONNECTOR, True),
    (R_TUNNEL_STREAMS, "tunnel-streams", 503, FAULT_EDGE, True),
    (R_CONTROL_DOWN, "control-down", 503, FAULT_EDGE, True),

    (R_LINK_LOST, "link-lost", 502, FAULT_CONNECTOR, True),
    (R_LINK_TIMEOUT, "link-timeout", 502, FAULT_CONNECTOR, True),
    (R_LINK_PROTOCOL, "link-protocol", 502, FAULT_CONNECTOR, False),
    (R_LINK_ROLE, "link-role", 502, FAULT_CONNECTOR, False),
    (R_LINK_GOAWAY, "link-goaway", 502, FAULT_CONNECTOR, True),
    (R_LINK_REFUSED, "link-refused", 0, FAULT_OPERATOR, False),
    (R_LINK_VERSION, "link-version", 0, FAULT_OPERATOR, False),
    (R_LINK_REVOKED, "link-revoked", 0, FAULT_OPERATOR, False),
    (R_STREAM_RESET, "stream-reset", 502, FAULT_CONNECTOR, True),
    (R_STREAM_WINDOW, "stream-window", 502, FAULT_CONNECTOR, False),
    (R_STREAM_TIMEOUT, "stream-timeout", 504, FAULT_CONNECTOR, False),

    (R_RELAY_REFUSED, "relay-refused", 502, FAULT_EDGE, True),
    (R_RELAY_LOST, "relay-lost", 502, FAULT_EDGE, True),
    (R_RELAY_LOOP, "relay-loop", 502, FAULT_EDGE, False),

    (R_ORIGIN_REFUSED, "origin-refused", 502, FAULT_ORIGIN, True),
    (R_ORIGIN_UNREACHABLE, "origin-unreachable", 502, FAULT_ORIGIN, True),
    (R_ORIGIN_NAME, "origin-name", 502, FAULT_OPERATOR, True),
    (R_ORIGIN_TLS, "origin-tls", 502, FAULT_ORIGIN, False),
    (R_ORIGIN_CONNECT_TIMEOUT, "origin-connect-timeout", 504, FAULT_ORIGIN, True),
    (R_ORIGIN_HEAD_TIMEOUT, "origin-head-timeout", 504, FAULT_ORIGIN, False),
    (R_ORIGIN_BODY_TIMEOUT, "origin-body-timeout", 0, FAULT_ORIGIN, False),
    (R_ORIGIN_CLOSED, "origin-closed", 502, FAULT_ORIGIN, False),
    (R_ORIGIN_TRUNCATED, "origin-truncated", 0, FAULT_ORIGIN, False),
    (R_ORIGIN_RESPONSE_INVALID, "origin-response-invalid", 502, FAULT_ORIGIN, False),
    (R_ORIGIN_RESPONSE_TOO_LARGE, "origin-response-too-large", 502, FAULT_ORIGIN, False),
    (R_ORIGIN_EXCESS, "origin-excess", 0, FAULT_ORIGIN, False),
    (R_ORIGIN_UPGRADE_UNASKED, "origin-upgrade-unasked", 502, FAULT_ORIGIN, False),
    (R_ORIGIN_ADDRESS_REFUSED, "origin-address-refused", 502, FAULT_OPERATOR, False),

    (R_ORIGIN_HEADER_MISSING, "origin-header-missing", 403, FAULT_CLIENT, False),
    (R_ORIGIN_HEADER_FOREIGN, "origin-header-foreign", 403, FAULT_CLIENT, False),
    (R_TCP_COOKIE, "tcp-cookie", 403, FAULT_CLIENT, False),
    (R_TCP_ORIGIN_HEADER, "tcp-origin-header", 403, FAULT_CLIENT, False),
)


cdef struct Row:
    const char* name
    int status
    int fault
    bint retry

cdef Row TABLE[<int>R_COUNT]
cdef list NAMES = []             # keeps the bytes behind Row.name alive
cdef dict NUMBERS = {}


def _fill() -> None:
    """Build TABLE from ROWS; a missing or repeated reason is an import error."""
    cdef int number
    for number in range(<int>R_COUNT):
        TABLE[number].name = NULL
    for number, text, status, fault, retry in ROWS:
        if TABLE[number].name != NULL or text in NUMBERS:
            raise ImportError(f"reason {text} has two rows")
        name = text.encode()
        NAMES.append(name)
        NUMBERS[text] = number
        TABLE[number] = Row(name=name, status=status, fault=fault, retry=retry)
    for number in range(<int>R_COUNT):
        if TABLE[number].name == NULL:
            raise ImportError(f"reason {number} has no row in errors.pyx")


_fill()


cdef const char* reason_name(int reason) noexcept nogil:
    if 0 <= reason < <int>R_COUNT:
        return TABLE[reason].name
    return "unknown"


cdef str reason_text(int reason):
    return (<bytes>reason_name(reason)).decode("ascii") if reason else None


cdef int reason_status(int reason) noexcept nogil:
    return TABLE[reason].status if 0 <= reason < <int>R_COUNT else 500


cdef int reason_fault(int reason) noexcept nogil:
    return TABLE[reason].fault if 0 <= reason < <int>R_COUNT else <int>FAULT_EDGE


cdef bint reason_retry(int reason) noexcept nogil:
    return TABLE[reason].retry if 0 <= reason < <int>R_COUNT else False


cdef int origin_reason(int code) noexcept nogil:
    cdef int reason = wire_reason(code)
    if reason in (R_HEAD_TOO_LARGE, R_LINE_TOO_LONG, R_FIELDS_TOO_MANY, R_TRAILER_TOO_LARGE):
        return R_ORIGIN_RESPONSE_TOO_LARGE
    if R_ORIGIN_REFUSED <= reason <= R_ORIGIN_ADDRESS_REFUSED:
        return reason
    return R_ORIGIN_RESPONSE_INVALID


class WireError(Exception):
    """A rule of a wire format or a limit was broken.

    `reason` (str), `status` (HTTP, 0 = close), `fault` (str, who has to act), `retry` (bool), `code` (int)."""

    def __init__(self, int code, detail: object = None) -> None:
        cdef int reason = wire_reason(code)
        self.code = code
        self.reason = reason_name(reason).decode()
        self.status = reason_status(reason)
        self.fault = FAULTS[reason_fault(reason)]
        self.retry = bool(reason_retry(reason))
        self.detail = detail
        super().__init__(self.reason if detail is None else f"{self.reason}: {detail}")


cdef int raise_wire(int code, object detail=None) except -1:
    raise WireError(code, detail)


def reasons() -> dict:
    """Return {name: (status, fault, retry)} of every reason but none, in the list's order."""
    return {name: (status, FAULTS[fault], retry) for number, name, status, fault, retry in ROWS if number}


def reason_number(str name) -> int:
    """Return the number of a reason in this build (KeyError when there is none)."""
    return NUMBERS[name]


def reason_of(int number) -> str:
    """Return the name of a reason by its number in this build."""
    return reason_name(number).decode()


def reason_at_origin(int number) -> int:
    """Return the number of the reason that a codec's reason becomes in an origin's response."""
    return origin_reason(-number)
