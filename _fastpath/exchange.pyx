"""A request's life: place it, see who asks, decide, and write the heads that go on (DESIGN §4)."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from _fastpath.accesslog cimport (
    LOG_APP, LOG_HOST, LOG_METHOD, LOG_PATH, LOG_PERSON, LOG_POLICY, LOG_SERVICE_TOKEN, LOG_TLS, LogRecord, log_text,
)
from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.cookie cimport cookie_find, cookie_strip
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.head cimport *
from _fastpath.limits cimport (
    MAX_FIELDS, MAX_HEAD, MAX_HOST, MAX_TARGET, MAX_VERIFY_QUEUE, MAX_VERIFY_TURN, TIMEOUT_FACTS,
)
from _fastpath.policy cimport (
    ALLOW, BYPASS, DENY, LOGIN, SERVICE, UNAVAILABLE, FACTS_OF_PERSON, Facts, FactSet, admit_preflight, decide,
    facts_address, facts_clear, facts_person, facts_service,
)
from _fastpath.slice cimport Slice, lower, slice_bytes, slice_eq, slice_is, slice_of
from _fastpath.snapshot cimport (
    APP_ENCODED_SLASH, APP_OPTIONS_BYPASS, APP_PASS_COOKIE, APP_SERVICE_401, ROUTE_CONTROL, ROUTE_NONE, App, Place,
    Snapshot,
)
from _fastpath.revocations cimport REVOKED_SERVICE_TOKEN
from _fastpath.servicetoken cimport ServiceToken, ServiceTokens

import base64
import collections
import hashlib
import html
import http
import ipaddress
import json
import os
import time
from urllib.parse import quote

ACCESS_PATH = b"/cdn-cgi/access/"
cdef bytes ACCESS = ACCESS_PATH
cdef const char* HEX_DIGITS = b"0123456789abcdef"
cdef bytes NO_STORE = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"


cdef inline Slice of_bytes(bytes b) noexcept:
    return slice_of(<const uint8_t*><const char*>b, len(b))


# -- what a worker shares --------------------------------------------------------------------------


@cython.final
cdef class Arrival:
    @staticmethod
    cdef Arrival new(int kind, object address, bytes sni, bint trusted, bint secure):
        cdef Arrival a = Arrival.__new__(Arrival)
        cdef bytes packed
        a.kind = kind
        a.trusted = trusted
        a.secure = secure
        a.sni = sni
        ip = ipaddress.ip_address(address.partition("%")[0])
        if ip.version == 6 and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped           # ::ffff:10.1.2.3 is 10.1.2.3 everywhere (C09)
        a.ip_text = str(ip).encode()
        packed = pack_ip(ip)
        memcpy(a.ip, <const char*>packed, 16)
        return a


def pack_ip(ip) -> bytes:
    """Return 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    return ip.packed if ip.version == 6 else b"\0" * 10 + b"\xff\xff" + ip.packed


cdef uint64_t seconds(object timeouts, str name, double default):
    value = timeouts.get(name)
    return <uint64_t>((default if value is None else float(value)) * 1e6)


@cython.final
cdef class Live:
    def __init__(self, Snapshot snapshot, list targets):
        settings = snapshot.settings
        self.snapshot = snapshot
        self.targets = targets
        self.auth_domain = settings["auth_domain"].encode()
        self.scheme = settings.get("public_scheme", "https").encode()
        self.suffix = settings.get("public_suffix", "").encode()
        hsts = settings.get("hsts", 0)
        self.hsts = b"Strict-Transport-Security: max-age=%d\r\n" % hsts if hsts and self.scheme == b"https" else b""
        self.pages = settings.get("pages", {})
        self.page_fields = settings.get("page_fields", "").encode()
        self.services = ServiceTokens(settings.get("service_tokens", {}))
        self.trusted = [ipaddress.ip_network(text) for text in settings.get("trusted_proxies", [])]
        timeouts = settings.get("timeouts", {})
        self.handshake_timeout = seconds(timeouts, "handshake", 10)
        self.head_timeout = seconds(timeouts, "head", 15)
        self.body_timeout = seconds(timeouts, "body_idle", 60)
        self.write_timeout = seconds(timeouts, "write", 60)
        self.keep_alive_timeout = seconds(timeouts, "keep_alive", 75)
        self.upstream_connect_timeout = seconds(timeouts, "upstream_connect", 10)
        self.upstream_head_timeout = seconds(timeouts, "upstream_head", 300)
        self.upgrade_timeout = seconds(timeouts, "upgrade_idle", 3600)
        limits = settings.get("limits", {})
        self.connections_per_address = limits.get("connections_per_address", 1000)
        self.max_head = min(limits.get("head", MAX_HEAD), MAX_HEAD)
        self.max_fields = min(limits.get("fields", MAX_FIELDS), MAX_FIELDS)
        self.max_target = min(limits.get("target", MAX_TARGET), MAX_TARGET)

    def trusts(self, ip):
        """True when ip (ipaddress) is a trusted proxy."""
        return any(ip.version == network.version and ip in network for network in self.trusted)


cdef class Checkpoint:
    def __cinit__(self):
        cdef Buffer block
        hosts = buffer_new(4096)
        paths = buffer_new(65536)
        block = hosts
        self.host_block = block.reserve(MAX_HOST + 1)
        block = paths
        self.path_block = block.reserve(MAX_TARGET + 1)
        self.memory = (hosts, paths)
        self.verify_queue = collections.deque()
        self.facts = {}
        self.assertions = {}
        self.asked = set()
        self.waiting = []
        self.ray_key = int.from_bytes(os.urandom(8), "big")
        self.set_clock()

    def set_clock(self):
        """Take the wall clock again: records and token times are monotonic plus this offset."""
        self.wall_offset = time.time_ns() // 1000 - <int64_t>now_us()

    cdef int64_t wall_seconds(self) noexcept:
        return (<int64_t>now_us() + self.wall_offset) // 1000000

    cdef uint64_t next_ray(self) noexcept:
        # splitmix64 from a random start: unique in a worker, and says nothing about how many there were
        cdef uint64_t z
        self.ray_key += <uint64_t>0x9E3779B97F4A7C15u
        z = self.ray_key
        z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9u
        z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EBu
        return z ^ (z >> 31)


# -- one request -----------------------------------------------------------------------------------


@cython.final
cdef class Exchange:
    @staticmethod
    cdef Exchange new(Checkpoint cp):
        cdef Exchange x = Exchange.__new__(Exchange)
        x.cp = cp
        return x

    cdef int start(self, Arrival arrival) except -1:
        """Forget the last request; this one has its id from here on."""
        cdef uint64_t ray = self.cp.next_ray()
        cdef int i
        self.live = self.judged = self.cp.live
        self.arrival = arrival
        memset(&self.place, 0, sizeof(Place))
        memset(&self.decision, 0, sizeof(self.decision))
        memset(&self.permit, 0, sizeof(self.permit))
        # everything but the text, which `used` bounds
        memset(&self.record, 0, sizeof(LogRecord) - sizeof(self.record.text))
        self.token = None
        self.service = None
        self.assertion = None
        self.fields = self.body = None
        self.reason = self.status = 0
        self.websocket = self.navigation = self.japanese = self.forged_cookie = False
        self.asked_upstream = self.heard_upstream = self.waiting_since = 0
        self.began = now_us()
        self.record.request_id = ray
        self.record.rule = -1
        self.record.first = self.record.upstream = self.record.link_rtt = -1
        for i in range(16):
            self.ray[i] = HEX_DIGITS[(ray >> (60 - 4 * i)) & 15]
        return 0

    cdef int forget(self) except -1:
        """Hold nothing of a finished request: an unused exchange must not keep an old snapshot alive."""
        self.live = None
        self.judged = None
        self.arrival = None
        self.token = None
        self.service = None
        self.assertion = None
        self.fields = self.body = None
        return 0

    cdef int judge(self, Head* h) except -1:
        """Say what is to be done with the request whose head is h. Called again after STEP_WAIT, with the same head."""
        cdef int reason, rc
        self.method = h.method_id
        self.minor = h.minor
        self.cp.counters.requests += 1 if self.waiting_since == 0 else 0
        self.navigation = is_navigation(h)
        self.japanese = prefers_japanese(h)
        reason = self.place_request(h)
        if self.waiting_since == 0:
            self.describe(h)
        if reason == R_HTTPS_REQUIRED:
            return self.answer_redirect(h)
        if reason:
            return self.answer(reason)
        if self.place.route != NULL and self.place.route.kind == ROUTE_CONTROL:
            self.cp.counters.control += 1
            return STEP_CONTROL
        if self.cp.path.len >= <size_t>len(ACCESS) and memcmp(self.cp.path.ptr, <const char*>ACCESS, len(ACCESS)) == 0:
            if self.place.app == NULL:
                return self.answer(R_APPLICATION_MISSING)
            self.cp.counters.control += 1
            return STEP_CONTROL
        if self.place.app == NULL:
            return self.answer(R_APPLICATION_MISSING)
        if self.cp.stale:
            return self.answer(R_SNAPSHOT_STALE)
        rc = self.authenticate(h)
        if rc == -2:
            return STEP_WAIT
        if rc:
            return self.answer(rc)
        return self.decided(h)

    # -- where to ----------------------------------------------------------------------------------

    cdef int place_request(self, Head* h) except -1:
        cdef Checkpoint cp = self.cp
        cdef Arrival a = self.arrival
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
        self.client_address(h)
        if h.target.len == 1 and h.target.ptr[0] == b"*":
            return R_METHOD_REFUSED if h.method_id != METHOD_OPTIONS else R_TARGET_INVALID
        rc = path_normal(h.path, True, cp.path_block, MAX_TARGET + 1, &cp.path)
        if rc < 0:
            cp.path.len = 0
            return wire_reason(rc)
        if not slice_eq(cp.path, h.path) and self.waiting_since == 0:
            self.record.dropped += 1
            cp.counters.paths_normalised += 1
        if h.target.len > self.live.max_target:
            return R_TARGET_TOO_LONG
        if h.n_fields > self.live.max_fields:
            return R_FIELDS_TOO_MANY
        self.live.snapshot.find(cp.host, cp.path, &self.place)
        if not self.place.host_known:
            return R_HOST_UNKNOWN
        if a.kind == LISTEN_REDIRECT:
            return R_HTTPS_REQUIRED
        if a.trusted and h.count[<int>F_X_FORWARDED_PROTO]:
            https = (h.count[<int>F_X_FORWARDED_PROTO] == 1
                     and slice_is(h.fields[h.first[<int>F_X_FORWARDED_PROTO]].value, b"https", 5))
        if not https:
            return R_HTTPS_REQUIRED
        if self.place.app == NULL or not (self.place.app.flags & APP_ENCODED_SLASH):
            if find_encoded_slash(cp.path):
                return R_PATH_SLASH_ENCODED
        return 0

    cdef int client_address(self, Head* h) except -1:
        """Who asks, as an address: the peer, or behind a trusted proxy the right-most hop that is none (C07, C08)."""
        cdef Arrival a = self.arrival
        cdef bytes packed, text
        memcpy(self.ip, a.ip, 16)
        self.ip_len = len(a.ip_text)
        memcpy(self.ip_text, <const char*>a.ip_text, self.ip_len)
        self.ip_known = True
        if not a.trusted or h.count[<int>F_X_FORWARDED_FOR] == 0:
            memcpy(self.record.client, self.ip, 16)
            return 0
        ip = self.forwarded_for(h)
        if ip is None:
            self.ip_known = False         # malformed: no rule about addresses may match
        else:
            packed = pack_ip(ip)
            text = str(ip).encode()
            if len(text) > sizeof(self.ip_text):
                raise ValueError("an address is longer than any address")
            memcpy(self.ip, <const char*>packed, 16)
            self.ip_len = len(text)
            memcpy(self.ip_text, <const char*>text, self.ip_len)
        memcpy(self.record.client, self.ip, 16)
        return 0

    cdef object forwarded_for(self, Head* h):
        cdef int i
        hops = []
        for i in range(h.n_fields):
            if h.fields[i].id == F_X_FORWARDED_FOR:
                hops.extend(slice_bytes(h.fields[i].value).split(b","))
        for hop in reversed(hops):
            ip = parse_hop(hop.strip(b" \t"))
            if ip is None:
                return None
            if not self.live.trusts(ip):
                return ip
        return ip

    cdef int describe(self, Head* h) except -1:
        """What the log says of this request; texts are cut to their room there."""
        cdef LogRecord* r = &self.record
        r.wall = <int64_t>self.began + self.cp.wall_offset
        r.snapshot = self.live.snapshot.version
        r.flags = LOG_TLS if self.arrival.kind == LISTEN_TLS else 0
        log_text(r, LOG_METHOD, h.method)
        log_text(r, LOG_HOST, self.cp.host if self.cp.host.len else h.host)
        log_text(r, LOG_PATH, self.cp.path if self.cp.path.len else h.path)
        if self.place.app != NULL:
            log_text(r, LOG_APP, self.place.app.name)
        return 0

    # -- who ---------------------------------------------------------------------------------------

    cdef int authenticate(self, Head* h) except -1:
        """Find out who asks. 0: known or nobody (self.reason says why nobody); -2: wait; else a Reason to refuse."""
        cdef const App* app = self.place.app
        cdef Slice raw = slice_of(NULL, 0)
        cdef Slice found
        cdef int i, n = 0
        cdef int reason = 0
        cdef int64_t now = self.cp.wall_seconds()
        cdef uint8_t ids = h.count[<int>F_CF_ACCESS_CLIENT_ID]
        cdef uint8_t secrets = h.count[<int>F_CF_ACCESS_CLIENT_SECRET]
        self.reason = R_SESSION_MISSING
        if ids or secrets:
            if ids > 1 or secrets > 1:
                return R_FIELD_REPEATED
            if ids == 0 or secrets == 0:
                self.reason = R_SERVICE_TOKEN_INCOMPLETE
                return 0
            self.service = self.live.services.check(
                h.fields[h.first[<int>F_CF_ACCESS_CLIENT_ID]].value,
                h.fields[h.first[<int>F_CF_ACCESS_CLIENT_SECRET]].value, now, self.cp.revocations, &reason)
            self.reason = 0 if self.service is not None else reason if reason else R_SERVICE_TOKEN_UNKNOWN
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
                self.reason = R_SESSION_DUPLICATE
                self.forged_cookie = True
                return 0
        if raw.len == 0:
            return 0                      # an empty cookie or field is nobody's
        self.token = self.cp.tokens.find(raw, app.aud, now, &reason)
        if self.token is None and reason == 0:
            reason = self.verify(raw, app, now)
            if reason == -2:
                return -2
            if reason == R_VERIFY_QUEUE_FULL:
                return reason             # 503: the session may be good, nobody has looked yet
        if self.token is None:
            self.reason = reason
            return 0
        reason = self.cp.revocations.check(self.token)
        if reason:
            self.token = None
            self.reason = reason
            return 0
        self.reason = 0
        return 0

    cdef int verify(self, Slice raw, const App* app, int64_t now) except -1000:
        """A token never seen: check its signature now, or in a later turn when this one has done enough of that."""
        cdef Checkpoint cp = self.cp
        cdef uint64_t start = now_us()
        cdef int reason = 0
        if start - cp.verify_window > 2 * MAX_VERIFY_TURN:
            cp.verify_window = start
            cp.verify_spent = 0
        if cp.verify_spent < MAX_VERIFY_TURN and not cp.verify_queue:
            self.token = cp.tokens.verify(raw, app.aud, now, &reason)
            cp.verify_spent += now_us() - start
            return reason
        if self.waiting_since:                # it is in the queue already: woken too early, or for too long
            return R_VERIFY_QUEUE_FULL if start - self.waiting_since > <uint64_t>TIMEOUT_FACTS * 1000 else -2
        if len(cp.verify_queue) >= MAX_VERIFY_QUEUE:
            return R_VERIFY_QUEUE_FULL
        cp.verify_queue.append((slice_bytes(raw), slice_bytes(app.aud)))
        self.waiting_since = start
        return -2

    # -- whether -----------------------------------------------------------------------------------

    cdef int decided(self, Head* h) except -1:
        cdef const App* app = self.place.app
        cdef Facts f
        cdef FactSet person = None
        cdef int reason, verdict
        if (app.flags & APP_OPTIONS_BYPASS and h.method_id == METHOD_OPTIONS and h.count[<int>F_ORIGIN] == 1
                and self.token is None and self.service is None and has_preflight(h)):
            admit_preflight(self.live.snapshot, app, &self.decision, &self.permit)
        else:
            facts_clear(&f)
            facts_address(&f, self.ip if self.ip_known else NULL)
            if self.service is not None:
                facts_service(&f, self.live.snapshot, of_bytes(self.service.id))
            elif self.token is not None:
                person = self.token.facts
                facts_person(&f, self.live.snapshot, person)
            decide(self.live.snapshot, app, &f, &self.decision, &self.permit)
        verdict = self.decision.verdict
        if ((verdict == DENY or verdict == UNAVAILABLE) and self.decision.missing & FACTS_OF_PERSON
                and self.token is not None):
            reason = self.ask_facts(&f)
            if reason == -2:
                return STEP_WAIT
            verdict = self.decision.verdict
        self.record.verdict = verdict
        self.record.rule = self.decision.rule
        if self.decision.policy >= 0:
            log_text(&self.record, LOG_POLICY, policy_name(app, self.decision.policy))
        if self.token is not None:
            log_text(&self.record, LOG_PERSON, of_bytes(self.token.email if self.token.email else self.token.sub))
        if self.service is not None:
            log_text(&self.record, LOG_SERVICE_TOKEN, of_bytes(self.service.id))
        if verdict == LOGIN and h.count[<int>F_CF_ACCESS_CLIENT_ID] + h.count[<int>F_CF_ACCESS_CLIENT_SECRET]:
            self.cp.counters.denied += 1
            return self.answer(self.reason)     # a program that can't prove who it is: no sign-in page helps it
        if verdict == LOGIN:
            self.cp.counters.logins += 1
            return self.answer_login(h)
        if verdict == UNAVAILABLE and self.decision.missing & FACTS_OF_PERSON == 0:
            # only the address is missing, as a proxy sent rubbish: waiting helps nobody (C08)
            self.cp.counters.denied += 1
            return self.answer(R_POLICY_NO_MATCH)
        if verdict == UNAVAILABLE:
            return self.answer(R_FACTS_UNAVAILABLE)
        if verdict != ALLOW and verdict != BYPASS and verdict != SERVICE:
            self.cp.counters.denied += 1
            return self.answer(self.decision.reason if self.decision.reason else R_POLICY_NO_MATCH)
        reason = self.check_upgrade(h)
        if reason:
            memset(&self.permit, 0, sizeof(self.permit))
            return self.answer(reason)
        if verdict == SERVICE:
            self.cp.counters.service += 1
            self.assertion = self.service_assertion()
            if self.assertion is None:
                if self.waiting_since and now_us() - self.waiting_since > <uint64_t>TIMEOUT_FACTS * 1000:
                    memset(&self.permit, 0, sizeof(self.permit))
                    return self.answer(R_FACTS_UNAVAILABLE)
                if self.waiting_since == 0:
                    self.waiting_since = now_us()
                return STEP_WAIT
        elif verdict == BYPASS:
            self.cp.counters.bypassed += 1
            self.assertion = self.token.raw if self.token is not None else None
        else:
            self.cp.counters.allowed += 1
            self.assertion = self.token.raw
        self.reason = self.decision.reason
        if self.place.route == NULL or self.place.route.kind == ROUTE_NONE:
            memset(&self.permit, 0, sizeof(self.permit))
            return self.answer(R_ROUTE_MISSING)
        return STEP_RELAY

    cdef int ask_facts(self, Facts* f) except -1000:
        """Facts that the token lacks: what control answered before, or ask it once and wait."""
        cdef Checkpoint cp = self.cp
        cdef FactSet person
        cdef int64_t now = cp.wall_seconds()
        known = cp.facts.get(self.token.raw)
        if known is not None and known[1] > now:
            if known[0] is None:
                return 0
            person = known[0]
            facts_person(f, self.live.snapshot, person)
            decide(self.live.snapshot, self.place.app, f, &self.decision, &self.permit)
            return 0
        if cp.hooks is None:
            return 0
        if self.waiting_since and now_us() - self.waiting_since > <uint64_t>TIMEOUT_FACTS * 1000:
            return 0                      # no answer: the decision stands as it is, which lets nobody in
        if self.waiting_since == 0:
            self.waiting_since = now_us()
        if self.token.raw not in cp.asked:
            cp.asked.add(self.token.raw)
            if not cp.hooks.ask({"token": self.token.raw}):
                cp.asked.discard(self.token.raw)
                return 0
        return -2

    cdef bytes service_assertion(self):
        """The token that tells the origin which service this is; minted by control, kept until it expires."""
        cdef Checkpoint cp = self.cp
        key = (self.service.client_id, slice_bytes(self.place.app.aud))
        known = cp.assertions.get(key)
        if known is not None and known[1] > cp.wall_seconds():
            return known[0]
        if cp.hooks is not None and key not in cp.asked:
            cp.asked.add(key)
            if not cp.hooks.ask({"service_token": key[0].decode(), "aud": key[1].decode()}):
                cp.asked.discard(key)
        return None

    cdef int check_upgrade(self, Head* h) except -1:
        """WebSocket: a whole handshake, and only from our own pages if a cookie opened the door (H01, DESIGN §4.4)."""
        cdef const App* app = self.place.app
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
        self.websocket = True
        if h.count[<int>F_ORIGIN] > 1:
            return R_FIELD_REPEATED
        if h.count[<int>F_ORIGIN] == 0:
            # No browser leaves it out: then only what a page can't send counts.
            if self.token is not None and h.count[<int>F_CF_ACCESS_TOKEN] == 0:
                return R_ORIGIN_HEADER_MISSING
            return 0
        origin = h.fields[h.first[<int>F_ORIGIN]].value
        own = self.live.scheme + b"://" + slice_bytes(self.cp.host)
        if slice_bytes(origin).lower() in (own, own + self.live.suffix):
            return 0
        if self.cp.port >= 0 and slice_bytes(origin).lower() == own + b":%d" % self.cp.port:
            return 0
        for i in range(app.n_origins):
            if slice_bytes(origin).lower() == slice_bytes(app.origins[i]):
                return 0
        return R_ORIGIN_HEADER_FOREIGN

    cdef int still_allowed(self) except -1:
        """Whether an open stream may stay: 0, or why not. Cheap while nothing was revoked."""
        cdef int reason
        if self.token is not None:
            reason = self.cp.revocations.check(self.token)
            if reason:
                return reason
            if self.token.exp <= self.cp.wall_seconds():
                return R_SESSION_EXPIRED
        elif self.service is not None:
            if self.cp.revocations.listed(REVOKED_SERVICE_TOKEN, self.service.client_id):
                return R_SERVICE_TOKEN_REVOKED
            row = self.cp.live.services.tokens.get(self.service.client_id)
            if row is None:
                return R_SERVICE_TOKEN_UNKNOWN
            for _, expiry in (<ServiceToken>row).secrets:
                if not expiry or expiry > self.cp.wall_seconds():
                    break
            else:
                return R_SERVICE_TOKEN_EXPIRED
        if self.cp.stale:
            return R_SNAPSHOT_STALE
        return 0

    cdef int rejudge(self, Live live, Slice host, Slice path) except -1:
        """The same facts under another snapshot: 0 when it still lets this stream be, else the reason."""
        cdef Place place
        cdef Facts f
        cdef Permit permit
        live.snapshot.find(host, path, &place)
        if place.app == NULL or place.route == NULL:
            return R_APPLICATION_MISSING
        if self.token is not None and not slice_eq(place.app.aud, of_bytes(self.token.aud)):
            return R_TOKEN_AUDIENCE
        facts_clear(&f)
        facts_address(&f, self.ip if self.ip_known else NULL)
        if self.service is not None:
            facts_service(&f, live.snapshot, of_bytes(self.service.id))
        elif self.token is not None:
            known = self.cp.facts.get(self.token.raw)
            facts_person(&f, live.snapshot,
                         known[0] if known is not None and known[0] is not None else self.token.facts)
        decide(live.snapshot, place.app, &f, &self.decision, &permit)
        if permit.application == 0:
            return self.decision.reason if self.decision.reason else R_POLICY_NO_MATCH
        return 0

    # -- answers of our own ------------------------------------------------------------------------

    cdef int answer(self, int reason) except -1:
        """Prepare the page (people) or the problem document (programs) that says why."""
        cdef str name = reason_name(reason).decode()
        cdef object page
        self.reason = reason
        self.status = reason_status(reason) or 400
        memset(&self.permit, 0, sizeof(self.permit))
        if reason <= R_PROXY_HEADER_INVALID:
            self.cp.counters.refused_bytes += 1
        ray = self.ray[:16]
        fields = [NO_STORE]
        page = self.live.pages.get(name) if self.navigation else None
        if page:
            language = "ja" if self.japanese and "ja" in page else "en"
            self.body = page[language].replace(b"@@request-id@@", ray)
            email = self.token.email.decode("utf-8", "replace") if self.token is not None else ""
            self.body = self.body.replace(b"@@email@@", html.escape(email).encode())
            fields.append(b"Content-Type: text/html; charset=utf-8\r\nContent-Language: %s\r\n" % language.encode())
            fields.append(self.live.page_fields)
        else:
            document = {"type": "about:blank", "title": http.HTTPStatus(self.status).phrase, "status": self.status,
                        "reason": name, "request_id": ray.decode()}
            self.body = json.dumps(document).encode() + b"\n"
            fields.append(b"Content-Type: application/problem+json\r\n")
        if self.status in (503, 502, 504):
            fields.append(b"Retry-After: 2\r\n")
        if reason == R_WEBSOCKET_VERSION:
            fields.append(b"Sec-WebSocket-Version: 13\r\n")
        if reason == R_METHOD_REFUSED:
            fields.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
        fields.append(b"Vary: Accept, Accept-Language, Cookie\r\n")
        self.fields = b"".join(fields)
        return STEP_ANSWER

    cdef int answer_redirect(self, Head* h) except -1:
        """308 to https; the host is one of ours, so this redirects nobody to a stranger."""
        self.reason = R_HTTPS_REQUIRED
        self.status = 308
        location = (b"https://" + slice_bytes(self.cp.host) + self.live.suffix
                    + slice_bytes(self.cp.path) + slice_bytes(h.query))
        self.fields = NO_STORE + b"Location: " + location + b"\r\nContent-Type: text/plain\r\n"
        self.body = b"This address is served over https only.\n"
        return STEP_ANSWER

    cdef int answer_login(self, Head* h) except -1:
        """Nobody is signed in: send a browser to the sign-in page, tell a program where it is."""
        cdef const App* app = self.place.app
        cdef bytes host = slice_bytes(self.cp.host)
        cdef bytes nonce = self.start_nonce(h)
        cdef bytes digest, login
        if nonce is None:
            nonce = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=")
        digest = base64.urlsafe_b64encode(hashlib.sha256(nonce).digest()).rstrip(b"=")
        target = slice_bytes(self.cp.path) + slice_bytes(h.query)
        login = b"%s://%s%s%slogin/%s?kid=%s&redirect_url=%s&meta=%s" % (
            self.live.scheme, self.live.auth_domain, self.live.suffix, ACCESS, host, slice_bytes(app.aud),
            quote(target, safe="/").encode(), digest)
        # A program's page gets it, too: when it follows login_url, only this lets the browser come back signed in (K08).
        cookies = self.clear_cookies(app) + (
            b"Set-Cookie: CF_AppSession=" + nonce + b"; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax\r\n")
        if self.reason == 0:
            self.reason = R_LOGIN_NEEDED
        if self.navigation and not (app.flags & APP_SERVICE_401 and h.count[<int>F_SEC_FETCH_MODE] == 0):
            self.status = 302
            self.fields = NO_STORE + cookies + b"Location: " + login + b"\r\nVary: Accept, Cookie\r\n"
            self.body = b""
            return STEP_ANSWER
        self.status = 401
        document = {"type": "about:blank", "title": "Unauthorized", "status": 401,
                    "reason": reason_name(self.reason).decode(), "login_url": login.decode("latin-1"),
                    "request_id": self.ray[:16].decode()}
        self.body = json.dumps(document).encode() + b"\n"
        self.fields = (NO_STORE + cookies + b"Content-Type: application/problem+json\r\n"
                       + b"WWW-Authenticate: Cloudflare-Access\r\nVary: Accept, Cookie\r\n")
        return STEP_ANSWER

    cdef bytes clear_cookies(self, const App* app):
        """A stale or doubtful session cookie is cleared, the host's own form and the parent domain's (K01, K12)."""
        cdef bytes name = slice_bytes(app.cookie)
        if self.reason in (0, R_SESSION_MISSING):
            return b""
        line = b"Set-Cookie: %s=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax\r\n" % name
        if self.forged_cookie:
            parent = slice_bytes(self.cp.host).partition(b".")[2]
            if b"." in parent:
                line += b"Set-Cookie: %s=; Domain=%s; Path=/; Max-Age=0; Secure; HttpOnly\r\n" % (name, parent)
        return line

    cdef bytes start_nonce(self, Head* h):
        """The browser's CF_AppSession, when it has exactly one that is well formed."""
        cdef Slice found
        cdef int i, n = 0
        cdef bytes name = b"CF_AppSession"
        cdef bytes value = None
        for i in range(h.n_fields):
            if h.fields[i].id == F_COOKIE:
                found = slice_of(NULL, 0)
                n += cookie_find(h.fields[i].value, of_bytes(name), &found)
                if found.len == 22:
                    value = slice_bytes(found)
        if n == 1 and value is not None and all(c in NONCE_BYTES for c in value):
            return value
        return None

    # -- heads that go on --------------------------------------------------------------------------

    cdef int request_head(self, Head* h, Out* out, Slice host_header, bint chunked, bint control) except -1:
        """Write the head that the upstream gets, from the model: no byte of the client's head is copied as it is."""
        cdef Checkpoint cp = self.cp
        cdef Field* f
        cdef int i, dropped = 0, stripped = 0
        cdef size_t kept
        cdef bint pass_cookie = control or (self.place.app != NULL and self.place.app.flags & APP_PASS_COOKIE)
        put_slice(out, h.method)
        put(out, b" ", 1)
        put_slice(out, cp.path)
        put_slice(out, h.query)
        put(out, b" HTTP/1.1\r\nHost: ", 17)
        if host_header.len:
            put_slice(out, host_header)
        else:
            put_slice(out, cp.host)
            if cp.port >= 0 and cp.port != 443 and cp.port != 80:
                put(out, b":", 1)
                put_number(out, cp.port)
        put(out, b"\r\n", 2)
        for i in range(h.n_fields):
            f = &h.fields[i]
            if f.id == F_OTHER and not f.flags & FIELD_LISTED:
                put_slice(out, f.name)
                put(out, b": ", 2)
                put_slice(out, f.value)
                put(out, b"\r\n", 2)
                continue
            if f.flags & FIELD_LISTED or drops_request(f.id):
                dropped += counts_as_dropped(f.id) or (f.flags & FIELD_LISTED and f.id == F_OTHER)
                continue
            if f.id == F_COOKIE and not pass_cookie:
                put(out, b"Cookie: ", 8)
                if f.value.len > out.room - out.len:
                    out.over = True
                    break
                kept = cookie_strip(f.value, out.ptr + out.len, &stripped)
                if kept == 0:
                    out.len -= 8
                else:
                    out.len += kept
                    put(out, b"\r\n", 2)
                continue
            put_slice(out, f.name)
            put(out, b": ", 2)
            put_slice(out, f.value)
            put(out, b"\r\n", 2)
        if self.websocket:
            put(out, b"Connection: Upgrade\r\nUpgrade: websocket\r\n", 41)
        if not control and self.assertion is not None:
            put(out, b"Cf-Access-Jwt-Assertion: ", 25)
            put_bytes(out, self.assertion)
            put(out, b"\r\n", 2)
            if self.token is not None and self.token.email:
                put(out, b"Cf-Access-Authenticated-User-Email: ", 36)
                put_safe(out, of_bytes(self.token.email))
                put(out, b"\r\n", 2)
        if control and self.place.app != NULL:
            put(out, b"Cf-Sekisho-Aud: ", 16)
            put_slice(out, self.place.app.aud)
            put(out, b"\r\n", 2)
        put(out, b"CF-Connecting-IP: ", 18)
        put(out, self.ip_text, self.ip_len)
        put(out, b"\r\nX-Real-IP: ", 13)
        put(out, self.ip_text, self.ip_len)
        put(out, b"\r\nX-Forwarded-For: ", 19)
        put(out, self.ip_text, self.ip_len)
        put(out, b"\r\nX-Forwarded-Proto: ", 21)
        put_bytes(out, self.live.scheme)
        put(out, b"\r\nX-Forwarded-Host: ", 20)
        put_slice(out, cp.host)
        if cp.port >= 0:
            put(out, b":", 1)
            put_number(out, cp.port)
        put(out, b"\r\nCF-Ray: ", 10)
        put(out, self.ray, 16)
        if h.framing == FRAMING_CHUNKED and chunked:
            put(out, b"\r\nTransfer-Encoding: chunked\r\n\r\n", 32)
        elif h.framing == FRAMING_LENGTH:
            put(out, b"\r\nContent-Length: ", 18)
            put_number(out, h.length)
            put(out, b"\r\n\r\n", 4)
        else:
            put(out, b"\r\n\r\n", 4)
        self.record.dropped += dropped
        cp.counters.fields_dropped += dropped
        return 0

    cdef int response_head(
        self, Head* h, Out* out, bint keep, bint close_framing, bint chunked, bint control,
    ) except -1:
        """Write the head that the client gets. `close_framing`: the body ends with the connection (HTTP/1.0)."""
        cdef Field* f
        cdef int i
        put(out, b"HTTP/1.1 ", 9)
        put_number(out, h.status)
        put(out, b" ", 1)
        put_slice(out, h.reason_phrase)
        put(out, b"\r\n", 2)
        for i in range(h.n_fields):
            f = &h.fields[i]
            if f.flags & FIELD_LISTED or drops_response(f.id):
                if (f.id == F_CONTENT_LENGTH and h.framing == FRAMING_NONE
                        and (self.method == METHOD_HEAD or h.status == 304)):
                    put(out, b"Content-Length: ", 16)
                    put_slice(out, f.value)
                    put(out, b"\r\n", 2)
                elif f.id == F_STRICT_TRANSPORT_SECURITY and len(self.live.hsts) == 0:
                    put_slice(out, f.name)
                    put(out, b": ", 2)
                    put_slice(out, f.value)
                    put(out, b"\r\n", 2)
                continue
            if f.id == F_SET_COOKIE and not control and sets_ours(f.value):
                self.record.dropped += 1
                continue
            put_slice(out, f.name)
            put(out, b": ", 2)
            put_slice(out, f.value)
            put(out, b"\r\n", 2)
        put_bytes(out, self.live.hsts)
        put(out, b"CF-Ray: ", 8)
        put(out, self.ray, 16)
        if h.status == 101:
            put(out, b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 45)
            return 0
        if chunked:
            put(out, b"\r\nTransfer-Encoding: chunked", 28)
        elif h.framing == FRAMING_LENGTH:
            put(out, b"\r\nContent-Length: ", 18)
            put_number(out, h.length)
        if not keep:
            put(out, b"\r\nConnection: close", 19)
        elif self.minor == 0:
            put(out, b"\r\nConnection: keep-alive", 24)
        put(out, b"\r\n\r\n", 4)
        return 0


cdef Slice policy_name(const App* app, int32_t number) noexcept nogil:
    """The name that the log shows; blocks stand in the order of evaluation: as far as the decision looked too."""
    cdef uint32_t i
    for i in range(app.n_policies):
        if app.policies[i].number == number:
            return slice_of(app.base + app.policies[i].name, app.policies[i].name_len)
    return slice_of(NULL, 0)


# -- small judgements ------------------------------------------------------------------------------

NONCE_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


cdef inline bint drops_request(int field) noexcept nogil:
    return (field == F_HOST or field == F_CONNECTION or field == F_KEEP_ALIVE or field == F_PROXY_CONNECTION
            or field == F_TE or field == F_TRAILER or field == F_TRANSFER_ENCODING or field == F_CONTENT_LENGTH
            or field == F_UPGRADE or field == F_EXPECT or field == F_PROXY_AUTHORIZATION
            or field == F_PROXY_AUTHENTICATE or field == F_HTTP2_SETTINGS or field == F_CF_ACCESS_TOKEN
            or field == F_CF_ACCESS_CLIENT_ID or field == F_CF_ACCESS_CLIENT_SECRET or field == F_X_FORWARDED_FOR
            or field == F_X_FORWARDED_PROTO or field == F_OWNED)


cdef inline bint counts_as_dropped(int field) noexcept nogil:
    """Only what nobody but us may say; hop-by-hop fields are everybody's ordinary business."""
    return field == F_OWNED or field == F_X_FORWARDED_FOR or field == F_X_FORWARDED_PROTO


cdef inline bint drops_response(int field) noexcept nogil:
    return (field == F_CONNECTION or field == F_KEEP_ALIVE or field == F_PROXY_CONNECTION or field == F_TE
            or field == F_TRAILER or field == F_TRANSFER_ENCODING or field == F_CONTENT_LENGTH or field == F_UPGRADE
            or field == F_PROXY_AUTHENTICATE or field == F_PROXY_AUTHORIZATION or field == F_HTTP2_SETTINGS
            or field == F_ALT_SVC or field == F_OWNED or field == F_CF_ACCESS_TOKEN
            or field == F_CF_ACCESS_CLIENT_ID or field == F_CF_ACCESS_CLIENT_SECRET
            or field == F_STRICT_TRANSPORT_SECURITY)


cdef bint sets_ours(Slice value) noexcept nogil:
    """A Set-Cookie of an origin that would plant one of our cookies (K05)."""
    cdef size_t n = 0
    while n < value.len and (value.ptr[n] == b" " or value.ptr[n] == b"\t"):
        n += 1
    value.ptr += n
    value.len -= n
    return (starts(value, b"CF_Authorization", 16) or starts(value, b"CF_AppSession", 13)
            or starts(value, b"CF_Binding", 10) or starts(value, b"CF_Session", 10) or starts(value, b"CF_Device", 9)
            or starts(value, b"__Host-sekisho", 14))


cdef inline bint starts(Slice s, const char* text, size_t n) noexcept nogil:
    cdef size_t i
    if s.len < n:
        return False
    for i in range(n):
        if lower(s.ptr[i]) != lower(<uint8_t>text[i]):
            return False
    return True


cdef bint find_encoded_slash(Slice path) noexcept nogil:
    cdef size_t i
    for i in range(path.len):
        if path.ptr[i] == b"%" and i + 2 < path.len and path.ptr[i + 1] == b"2" and path.ptr[i + 2] == b"F":
            return True
    return False


cdef bint contains(Slice s, const char* text, size_t n) noexcept nogil:
    cdef size_t i
    if s.len < n:
        return False
    for i in range(s.len - n + 1):
        if memcmp(s.ptr + i, text, n) == 0:
            return True
    return False


cdef bint is_navigation(Head* h) noexcept nogil:
    """A browser that wants a page for a person, as far as the fields tell."""
    cdef Slice v
    if h.upgrade_websocket or h.upgrade_tcp:
        return False
    if h.count[<int>F_X_REQUESTED_WITH]:
        v = h.fields[h.first[<int>F_X_REQUESTED_WITH]].value
        if slice_is(v, b"xmlhttprequest", 14):
            return False
    if h.count[<int>F_SEC_FETCH_MODE]:
        return slice_is(h.fields[h.first[<int>F_SEC_FETCH_MODE]].value, b"navigate", 8)
    if h.count[<int>F_ACCEPT]:
        v = h.fields[h.first[<int>F_ACCEPT]].value
        return contains(v, b"text/html", 9) or contains(v, b"*/*", 3)
    return True


cdef bint has_preflight(Head* h) noexcept nogil:
    cdef int i
    for i in range(h.n_fields):
        if slice_is(h.fields[i].name, b"access-control-request-method", 29):
            return True
    return False


cdef bint prefers_japanese(Head* h) noexcept nogil:
    """Which of our two languages Accept-Language names first: browsers list them by weight."""
    cdef Slice v
    cdef size_t i
    cdef bint boundary = True
    cdef uint8_t c
    if h.count[<int>F_ACCEPT_LANGUAGE] == 0:
        return False
    v = h.fields[h.first[<int>F_ACCEPT_LANGUAGE]].value
    for i in range(v.len):
        c = lower(v.ptr[i])
        if boundary and i + 1 < v.len and (i + 2 == v.len or is_tag_end(v.ptr[i + 2])):
            if c == b"j" and lower(v.ptr[i + 1]) == b"a":
                return True
            if c == b"e" and lower(v.ptr[i + 1]) == b"n":
                return False
        boundary = c == b"," or (boundary and (c == b" " or c == b"\t"))
    return False


cdef inline bint is_tag_end(uint8_t c) noexcept nogil:
    return c == b"-" or c == b"," or c == b";" or c == b" "


def parse_hop(bytes hop):
    """Return the address of one X-Forwarded-For item, or None when it is none. A port is allowed (C08)."""
    text = hop.decode("latin-1")
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not (port[0] == ":" and port[1:].isdigit())):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdigit():
            return None
    if "%" in text:
        return None                       # a scope id: of any length, and of no meaning here
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped if ip.version == 6 and ip.ipv4_mapped is not None else ip


cdef void put_number(Out* o, uint64_t n) noexcept nogil:
    cdef uint8_t digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <uint8_t>(48 + n % 10)
        n //= 10
        if n == 0:
            break
    put(o, digits + at, 20 - at)


cdef void put_safe(Out* o, Slice s) noexcept nogil:
    """A value that we build: control bytes, non-ASCII and '%' are percent-coded, never raw (C15)."""
    cdef size_t i
    cdef uint8_t c
    cdef uint8_t coded[3]
    for i in range(s.len):
        c = s.ptr[i]
        if c > 0x20 and c < 0x7F and c != b"%":
            put(o, &c, 1)
        else:
            coded[0] = b"%"
            coded[1] = HEX_DIGITS[c >> 4]
            coded[2] = HEX_DIGITS[c & 15]
            put(o, coded, 3)
