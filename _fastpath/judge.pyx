"""What is to be done with a request: where it goes, who asks, and whether they may (DESIGN §4)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from _fastpath.accesslog cimport (
    LOG_APP, LOG_DECIDED, LOG_HOST, LOG_METHOD, LOG_PATH, LOG_PERSON, LOG_POLICY, LOG_SERVICE_TOKEN, LOG_TLS, LogRecord, log_text,
)
from _fastpath.answers cimport answer, answer_login, answer_redirect
from _fastpath.checkpoint cimport LISTEN_REDIRECT, LISTEN_TLS, Arrival, Checkpoint
from _fastpath.cookie cimport cookie_find
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_CONTROL, STEP_RELAY, STEP_WAIT, Exchange
from _fastpath.facts cimport (
    FACTS_OF_PERSON, Facts, FactSet, facts_address, facts_clear, facts_person, facts_service,
)
from _fastpath.head cimport *
from _fastpath.hints cimport has_preflight, is_navigation, prefers_japanese
from _fastpath.limits cimport MAX_HOST, MAX_TARGET, MAX_VERIFY_QUEUE, MAX_VERIFY_TURN, TIMEOUT_FACTS
from _fastpath.policy cimport ALLOW, BYPASS, DENY, LOGIN, SERVICE, UNAVAILABLE, admit_preflight, decide
from _fastpath.slice cimport Slice, of_bytes, slice_bytes, slice_eq, slice_is, slice_of
from _fastpath.snapshot cimport APP_ENCODED_SLASH, APP_OPTIONS_BYPASS, ROUTE_CONTROL, ROUTE_NONE, App, Place, Snapshot

from _fastpath.address import pack_ip, parse_hop
from _fastpath.answers import ACCESS_PATH

cdef bytes ACCESS = ACCESS_PATH


cdef int judge(Exchange x, Head* h) except -1:
    """Say what is to be done with the request whose head is h. Called again after STEP_WAIT, with the same head."""
    cdef int reason, rc
    x.method = h.method_id
    x.minor = h.minor
    x.cp.counters.requests += 1 if x.waiting_since == 0 else 0
    x.navigation = is_navigation(h)
    x.japanese = prefers_japanese(h)
    reason = place_request(x, h)
    if x.waiting_since == 0:
        describe(x, h)
    if reason == R_HTTPS_REQUIRED:
        return answer_redirect(x, h)
    if reason:
        return answer(x, reason)
    if x.place.route != NULL and x.place.route.kind == ROUTE_CONTROL:
        x.cp.counters.control += 1
        return STEP_CONTROL
    if x.cp.path.len >= <size_t>len(ACCESS) and memcmp(x.cp.path.ptr, <const char*>ACCESS, len(ACCESS)) == 0:
        if x.place.app == NULL:
            return answer(x, R_APPLICATION_MISSING)
        x.cp.counters.control += 1
        return STEP_CONTROL
    if x.place.app == NULL:
        return answer(x, R_APPLICATION_MISSING)
    # stale: nobody can be told apart from somebody revoked, so all are nobody; what lets nobody in says 503 below
    rc = 0 if x.cp.stale else authenticate(x, h)
    if rc == -2:
        return STEP_WAIT
    if rc:
        return answer(x, rc)
    return decided(x, h)


# -- where to --------------------------------------------------------------------------------------


cdef int place_request(Exchange x, Head* h) except -1:
    cdef Checkpoint cp = x.cp
    cdef Arrival a = x.arrival
    cdef Slice other
    cdef int32_t other_port = -1
    cdef uint8_t other_block[256]
    cdef int rc
    cdef bint https = a.secure
    rc = host_normal(h.host, cp.host_block, MAX_HOST + 1, &cp.host, &cp.port)
    if rc < 0:
        cp.host.len = cp.path.len = 0
        return wire_reason(rc)
    cp.path.len = 0
    if h.authority.len:
        rc = host_normal(h.authority, other_block, 256, &other, &other_port)
        if rc < 0 or not slice_eq(other, cp.host) or other_port != cp.port:
            return R_HOST_MISMATCH
    if h.method_id == METHOD_CONNECT or h.method_id == METHOD_TRACE:
        return R_METHOD_REFUSED
    if a.kind == LISTEN_TLS and not (cp.host.len == <size_t>len(a.sni)
                                     and memcmp(cp.host.ptr, <const char*>a.sni, cp.host.len) == 0):
        return R_TLS_NAME_MISMATCH
    client_address(x, h)
    if h.target.len == 1 and h.target.ptr[0] == b"*":
        return R_METHOD_REFUSED if h.method_id != METHOD_OPTIONS else R_TARGET_INVALID
    rc = path_normal(h.path, True, cp.path_block, MAX_TARGET + 1, &cp.path)
    if rc < 0:
        cp.path.len = 0
        return wire_reason(rc)
    if not slice_eq(cp.path, h.path) and x.waiting_since == 0:
        x.record.dropped += 1
        cp.counters.paths_normalised += 1
    if h.target.len > x.live.max_target:
        return R_TARGET_TOO_LONG
    if h.n_fields > x.live.max_fields:
        return R_FIELDS_TOO_MANY
    x.live.snapshot.find(cp.host, cp.path, &x.place)
    if not x.place.host_known:
        return R_HOST_UNKNOWN
    if a.kind == LISTEN_REDIRECT:
        return R_HTTPS_REQUIRED
    if a.trusted and h.count[<int>F_X_FORWARDED_PROTO]:
        https = (h.count[<int>F_X_FORWARDED_PROTO] == 1
                 and slice_is(h.fields[h.first[<int>F_X_FORWARDED_PROTO]].value, b"https", 5))
    if not https:
        return R_HTTPS_REQUIRED
    if find_encoded_slash(cp.path) and not slash_is_harmless(x.live.snapshot, cp.host, cp.path, &x.place):
        return R_PATH_SLASH_ENCODED
    return 0


cdef bint find_encoded_slash(Slice path) noexcept nogil:
    cdef size_t i
    for i in range(path.len):
        if path.ptr[i] == b"%" and i + 2 < path.len and path.ptr[i + 1] == b"2" and path.ptr[i + 2] == b"F":
            return True
    return False


cdef bint slash_is_harmless(Snapshot snapshot, Slice host, Slice path, const Place* place) noexcept nogil:
    cdef uint8_t decoded[8193]
    cdef uint8_t block[8193]
    cdef Slice other
    cdef Place there
    cdef size_t i = 0, n = 0
    if place.app == NULL or not place.app.flags & APP_ENCODED_SLASH or path.len > MAX_TARGET:
        return False
    while i < path.len:
        if path.ptr[i] == b"%" and i + 2 < path.len and path.ptr[i + 1] == b"2" and path.ptr[i + 2] == b"F":
            decoded[n] = b"/"
            i += 3
        else:
            decoded[n] = path.ptr[i]
            i += 1
        n += 1
    if path_normal(slice_of(decoded, n), False, block, sizeof(block), &other) < 0:
        return False
    snapshot.find(host, other, &there)
    return there.app == place.app and there.route == place.route


cdef int client_address(Exchange x, Head* h) except -1:
    """Who asks, as an address: the peer, or behind a trusted proxy the right-most hop that is none (C07, C08)."""
    cdef Arrival a = x.arrival
    cdef bytes packed, text
    memcpy(x.ip, a.ip, 16)
    x.ip_len = len(a.ip_text)
    memcpy(x.ip_text, <const char*>a.ip_text, x.ip_len)
    x.ip_known = True
    if not a.trusted or h.count[<int>F_X_FORWARDED_FOR] == 0:
        memcpy(x.record.client, x.ip, 16)
        return 0
    ip = forwarded_for(x, h)
    if ip is None:
        x.ip_known = False         # malformed: no rule about addresses may match
    else:
        packed = pack_ip(ip)
        text = str(ip).encode()
        if len(text) > sizeof(x.ip_text):
            raise ValueError("an address is longer than any address")
        memcpy(x.ip, <const char*>packed, 16)
        x.ip_len = len(text)
        memcpy(x.ip_text, <const char*>text, x.ip_len)
    memcpy(x.record.client, x.ip, 16)
    return 0


cdef object forwarded_for(Exchange x, Head* h):
    cdef int i
    hops = []
    for i in range(h.n_fields):
        if h.fields[i].id == F_X_FORWARDED_FOR:
            hops.extend(slice_bytes(h.fields[i].value).split(b","))
    for hop in reversed(hops):
        ip = parse_hop(hop.strip(b" \t"))
        if ip is None:
            return None
        if not x.live.trusts(ip):
            return ip
    return ip


cdef int describe(Exchange x, Head* h) except -1:
    """What the log says of this request; texts are cut to their room there."""
    cdef LogRecord* r = &x.record
    r.wall = <int64_t>x.began + x.cp.wall_offset
    r.snapshot = x.live.snapshot.version
    r.flags = LOG_TLS if x.arrival.kind == LISTEN_TLS else 0
    log_text(r, LOG_METHOD, h.method)
    log_text(r, LOG_HOST, x.cp.host if x.cp.host.len else h.host)
    log_text(r, LOG_PATH, x.cp.path if x.cp.path.len else h.path)
    if r.cut & (1 << <int>LOG_PATH):     # a stream that stays open is judged by the whole of it again
        x.long_path = slice_bytes(x.cp.path if x.cp.path.len else h.path)
    if x.place.app != NULL:
        log_text(r, LOG_APP, x.place.app.name)
    return 0


# -- who -------------------------------------------------------------------------------------------


cdef int authenticate(Exchange x, Head* h) except -1:
    """Find out who asks. 0: known or nobody (x.reason says why nobody); -2: wait; else a Reason to refuse."""
    cdef const App* app = x.place.app
    cdef Slice raw = slice_of(NULL, 0)
    cdef Slice found
    cdef int i, n = 0
    cdef int reason = 0
    cdef int64_t now = x.cp.wall_seconds()
    cdef uint8_t ids = h.count[<int>F_CF_ACCESS_CLIENT_ID]
    cdef uint8_t secrets = h.count[<int>F_CF_ACCESS_CLIENT_SECRET]
    x.reason = R_SESSION_MISSING
    if ids or secrets:
        if ids > 1 or secrets > 1:
            return R_FIELD_REPEATED
        if ids == 0 or secrets == 0:
            x.reason = R_SERVICE_TOKEN_INCOMPLETE
            return 0
        x.service = x.live.services.check(
            h.fields[h.first[<int>F_CF_ACCESS_CLIENT_ID]].value,
            h.fields[h.first[<int>F_CF_ACCESS_CLIENT_SECRET]].value, now, x.cp.revocations, &reason)
        x.reason = 0 if x.service is not None else reason if reason else R_SERVICE_TOKEN_UNKNOWN
        return 0
    if h.count[<int>F_CF_ACCESS_TOKEN]:
        if h.count[<int>F_CF_ACCESS_TOKEN] > 1:
            return R_FIELD_REPEATED
        raw = h.fields[h.first[<int>F_CF_ACCESS_TOKEN]].value
    else:
        for i in range(h.first[<int>F_COOKIE] if h.count[<int>F_COOKIE] else h.n_fields, h.n_fields):
            if h.fields[i].id == F_COOKIE:
                found = slice_of(NULL, 0)
                n += cookie_find(h.fields[i].value, app.cookie, &found)
                if found.len:
                    raw = found
        if n == 0:
            return 0
        if n > 1:
            # One of them was planted by a sibling host; nobody can tell which: use neither (K01).
            x.reason = R_SESSION_DUPLICATE
            x.forged_cookie = True
            return 0
    if raw.len == 0:
        return 0                      # an empty cookie or field is nobody's
    x.token = x.cp.tokens.find(raw, app.aud, now, &reason)
    if x.token is None and reason == 0:
        reason = verify(x, raw, app, now)
        if reason == -2:
            return -2
        if reason == R_VERIFY_QUEUE_FULL:
            return reason             # 503: the session may be good, nobody has looked yet
    if x.token is None:
        x.reason = reason
        # A cookie with what we never wrote, or not for this application: planted, or left over from another edge.
        x.forged_cookie = n > 0 and R_TOKEN_MALFORMED <= reason <= R_TOKEN_CLAIMS
        return 0
    reason = x.cp.revocations.check(x.token)
    if reason:
        x.token = None
        x.reason = reason
        return 0
    x.reason = 0
    return 0


cdef int verify(Exchange x, Slice raw, const App* app, int64_t now) except -1000:
    """A token never seen: check its signature now, or in a later turn when this one has done enough of that."""
    cdef Checkpoint cp = x.cp
    cdef uint64_t start = now_us()
    cdef int reason = 0
    if start - cp.verify_window > 2 * MAX_VERIFY_TURN:
        cp.verify_window = start
        cp.verify_spent = 0
    if cp.verify_spent < MAX_VERIFY_TURN and not cp.verify_queue:
        x.token = cp.tokens.verify(raw, app.aud, now, &reason)
        cp.verify_spent += now_us() - start
        return reason
    if x.waiting_since:                # it is in the queue already: woken too early, or for too long
        return R_VERIFY_QUEUE_FULL if start - x.waiting_since > <uint64_t>TIMEOUT_FACTS * 1000 else -2
    if len(cp.verify_queue) >= MAX_VERIFY_QUEUE:
        return R_VERIFY_QUEUE_FULL
    cp.verify_queue.append((slice_bytes(raw), slice_bytes(app.aud)))
    x.waiting_since = start
    return -2


# -- whether ---------------------------------------------------------------------------------------


cdef int decided(Exchange x, Head* h) except -1:
    cdef const App* app = x.place.app
    cdef Facts f
    cdef FactSet person = None
    cdef int reason, verdict
    if (app.flags & APP_OPTIONS_BYPASS and h.method_id == METHOD_OPTIONS and h.count[<int>F_ORIGIN] == 1
            and x.token is None and x.service is None and has_preflight(h)):
        admit_preflight(x.live.snapshot, app, &x.decision, &x.permit)
    else:
        facts_clear(&f)
        facts_address(&f, x.ip if x.ip_known else NULL)
        if x.service is not None:
            facts_service(&f, x.live.snapshot, of_bytes(x.service.id))
        elif x.token is not None:
            person = x.token.facts
            facts_person(&f, x.live.snapshot, person)
        decide(x.live.snapshot, app, &f, &x.decision, &x.permit)
        if x.decision.method_refused:  # it was decided as for nobody, and goes on so: no e-mail, no assertion
            x.token = None
            x.reason = R_LOGIN_METHOD_NOT_ALLOWED
    verdict = x.decision.verdict
    if ((verdict == DENY or verdict == UNAVAILABLE) and x.decision.missing & FACTS_OF_PERSON
            and x.token is not None):
        reason = ask_facts(x, &f)
        if reason == -2:
            return STEP_WAIT
        verdict = x.decision.verdict
    x.record.verdict = verdict
    x.record.flags |= LOG_DECIDED
    x.record.rule = x.decision.rule
    if x.decision.policy >= 0:
        log_text(&x.record, LOG_POLICY, policy_name(app, x.decision.policy))
    if x.token is not None:
        log_text(&x.record, LOG_PERSON, of_bytes(x.token.email if x.token.email else x.token.sub))
    if x.service is not None:
        log_text(&x.record, LOG_SERVICE_TOKEN, of_bytes(x.service.id))
    if x.cp.stale and verdict != BYPASS:
        return answer(x, R_SNAPSHOT_STALE)
    if verdict != BYPASS and h.count[<int>F_CF_ACCESS_CLIENT_ID] + h.count[<int>F_CF_ACCESS_CLIENT_SECRET]:
        # A program: no sign-in page helps it. 401 when it can't prove who it is, 403 when that doesn't suffice.
        if x.service is None:
            x.cp.counters.denied += 1
            return answer(x, x.reason)
        if verdict == LOGIN:
            x.cp.counters.denied += 1
            return answer(x, R_POLICY_NO_MATCH)
    if verdict == LOGIN:
        x.cp.counters.logins += 1
        return answer_login(x, h)
    if verdict == UNAVAILABLE and x.decision.missing & FACTS_OF_PERSON == 0:
        # only the address is missing, as a proxy sent rubbish: waiting helps nobody (C08)
        x.cp.counters.denied += 1
        return answer(x, R_POLICY_NO_MATCH)
    if verdict == UNAVAILABLE:
        return answer(x, R_FACTS_UNAVAILABLE)
    if verdict != ALLOW and verdict != BYPASS and verdict != SERVICE:
        x.cp.counters.denied += 1
        return answer(x, x.decision.reason if x.decision.reason else R_POLICY_NO_MATCH)
    reason = check_upgrade(x, h)
    if reason:
        memset(&x.permit, 0, sizeof(x.permit))
        return answer(x, reason)
    if verdict == SERVICE:
        x.cp.counters.service += 1
        x.assertion = service_assertion(x)
        if x.assertion is None:
            if x.waiting_since and now_us() - x.waiting_since > <uint64_t>TIMEOUT_FACTS * 1000:
                memset(&x.permit, 0, sizeof(x.permit))
                return answer(x, R_FACTS_UNAVAILABLE)
            if x.waiting_since == 0:
                x.waiting_since = now_us()
            return STEP_WAIT
    elif verdict == BYPASS:
        x.cp.counters.bypassed += 1
        x.assertion = x.token.raw if x.token is not None else None
    else:
        x.cp.counters.allowed += 1
        x.assertion = x.token.raw
    x.reason = x.decision.reason
    if x.place.route == NULL or x.place.route.kind == ROUTE_NONE:
        memset(&x.permit, 0, sizeof(x.permit))
        return answer(x, R_ROUTE_MISSING)
    return STEP_RELAY


cdef Slice policy_name(const App* app, int32_t number) noexcept nogil:
    """The name that the log shows; blocks stand in the order of evaluation: as far as the decision looked too."""
    cdef uint32_t i
    for i in range(app.n_policies):
        if app.policies[i].number == number:
            return slice_of(app.base + app.policies[i].name, app.policies[i].name_len)
    return slice_of(NULL, 0)


cdef int ask_facts(Exchange x, Facts* f) except -1000:
    """Facts that the token lacks: what control answered before, or ask it once and wait."""
    cdef Checkpoint cp = x.cp
    cdef FactSet person
    cdef int64_t now = cp.wall_seconds()
    known = cp.facts.get(x.token.raw)
    if known is not None and known[1] > now:
        if known[0] is None:
            return 0
        person = known[0]
        facts_person(f, x.live.snapshot, person)
        decide(x.live.snapshot, x.place.app, f, &x.decision, &x.permit)
        return 0
    if x.waiting_since and now_us() - x.waiting_since > <uint64_t>TIMEOUT_FACTS * 1000:
        return 0                      # no answer: the decision stands as it is, which lets nobody in
    if x.waiting_since == 0:
        x.waiting_since = now_us()
    return -2 if cp.ask_facts(x.token.raw) else 0


cdef bytes service_assertion(Exchange x):
    """The token that tells the origin which service this is; minted by control, kept until it expires."""
    cdef Checkpoint cp = x.cp
    key = (x.service.client_id, slice_bytes(x.place.app.aud))
    known = cp.assertions.get(key)
    if known is not None and known[1] > cp.wall_seconds():
        return known[0]
    if cp.hooks is not None and key not in cp.asked:
        cp.asked.add(key)
        if not cp.hooks.ask({"service_token": key[0].decode(), "aud": key[1].decode()}):
            cp.asked.discard(key)
    return None


cdef int check_upgrade(Exchange x, Head* h) except -1:
    """WebSocket: a whole handshake, and only from our own pages if a cookie opened the door (H01, DESIGN §4.4)."""
    cdef const App* app = x.place.app
    cdef Slice origin
    cdef uint32_t i
    cdef bytes own
    if not h.upgrade_websocket:
        return 0
    if h.method_id != METHOD_GET or h.minor == 0 or h.framing != FRAMING_NONE:
        return R_UPGRADE_INVALID
    if h.count[<int>F_SEC_WEBSOCKET_VERSION] != 1 or not slice_is(
            h.fields[h.first[<int>F_SEC_WEBSOCKET_VERSION]].value, b"13", 2):
        return R_WEBSOCKET_VERSION
    if h.count[<int>F_SEC_WEBSOCKET_KEY] != 1 or h.fields[h.first[<int>F_SEC_WEBSOCKET_KEY]].value.len != 24:
        return R_UPGRADE_INVALID
    x.websocket = True
    if h.count[<int>F_ORIGIN] > 1:
        return R_FIELD_REPEATED
    if h.count[<int>F_ORIGIN] == 0:
        # No browser leaves it out: then only what a page can't send counts.
        if x.token is not None and h.count[<int>F_CF_ACCESS_TOKEN] == 0:
            return R_ORIGIN_HEADER_MISSING
        return 0
    origin = h.fields[h.first[<int>F_ORIGIN]].value
    own = x.live.scheme + b"://" + slice_bytes(x.cp.host)
    if slice_bytes(origin).lower() in (own, own + x.live.suffix):
        return 0
    if x.cp.port >= 0 and slice_bytes(origin).lower() == own + b":%d" % x.cp.port:
        return 0
    for i in range(app.n_origins):
        if slice_bytes(origin).lower() == slice_bytes(app.origins[i]):
            return 0
    return R_ORIGIN_HEADER_FOREIGN
