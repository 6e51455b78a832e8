"""An open stream stays under watch: a session that ends, is revoked, or loses its permission ends it (DESIGN §4.7)."""

from libc.stdint cimport uint64_t

from _fastpath.checkpoint cimport Live
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport Exchange
from _fastpath.facts cimport (
    FACTS_OF_PERSON, Facts, FactSet, facts_address, facts_clear, facts_person, facts_service,
)
from _fastpath.judge cimport find_encoded_slash, slash_is_harmless
from _fastpath.limits cimport TIMEOUT_FACTS
from _fastpath.policy cimport BYPASS, DENY, UNAVAILABLE, Permit, decide
from _fastpath.revocations cimport REVOKED_SERVICE_TOKEN
from _fastpath.servicetoken cimport ServiceToken
from _fastpath.slice cimport Slice, of_bytes, slice_eq
from _fastpath.snapshot cimport Place


cdef int still_allowed(Exchange x) except -1:
    """Whether an open stream may stay: 0, or why not. Cheap while nothing was revoked."""
    cdef int reason
    if x.token is not None:
        reason = x.cp.revocations.check(x.token)
        if reason:
            return reason
        if x.token.exp <= x.cp.wall_seconds():
            return R_SESSION_EXPIRED
    elif x.service is not None:
        if x.cp.revocations.listed(REVOKED_SERVICE_TOKEN, x.service.client_id):
            return R_SERVICE_TOKEN_REVOKED
        row = x.cp.live.services.tokens.get(x.service.client_id)
        if row is None:
            return R_SERVICE_TOKEN_UNKNOWN
        for _, expiry in (<ServiceToken>row).secrets:
            if not expiry or expiry > x.cp.wall_seconds():
                break
        else:
            return R_SERVICE_TOKEN_EXPIRED
    if x.cp.stale and (x.token is not None or x.service is not None or x.decision.verdict != BYPASS):
        return R_SNAPSHOT_STALE
    return 0


cdef int rejudge(Exchange x, Live live, Slice host, Slice path) except -1000:
    cdef Place place
    cdef Facts f
    cdef Permit permit
    cdef FactSet person = None
    live.snapshot.find(host, path, &place)
    if place.app == NULL or place.route == NULL:
        return R_APPLICATION_MISSING
    if find_encoded_slash(path) and not slash_is_harmless(live.snapshot, host, path, &place):
        return R_PATH_SLASH_ENCODED
    if x.token is not None and not slice_eq(place.app.aud, of_bytes(x.token.aud)):
        return R_TOKEN_AUDIENCE
    facts_clear(&f)
    facts_address(&f, x.ip if x.ip_known else NULL)
    if x.service is not None:
        facts_service(&f, live.snapshot, of_bytes(x.service.id))
    elif x.token is not None:
        known = x.cp.facts.get(x.token.raw)
        if known is not None and known[1] > x.cp.wall_seconds():
            person = known[0]
        facts_person(&f, live.snapshot, person if person is not None else x.token.facts)
    decide(live.snapshot, place.app, &f, &x.decision, &permit)
    if x.decision.method_refused:
        return R_LOGIN_METHOD_NOT_ALLOWED       # also where nobody at all may pass: this stream is in somebody's name
    if permit.application:
        x.unsettled_since = 0
        return 0
    if (x.token is not None and person is None and x.decision.missing & FACTS_OF_PERSON
            and (x.decision.verdict == DENY or x.decision.verdict == UNAVAILABLE)):
        # The token was too small for all its facts. Who was let in stays while control is asked, and no longer.
        if x.unsettled_since == 0:
            x.unsettled_since = now_us()
        if now_us() - x.unsettled_since > <uint64_t>TIMEOUT_FACTS * 1000:
            return R_FACTS_UNAVAILABLE
        x.cp.ask_facts(x.token.raw)
        return -2
    return x.decision.reason if x.decision.reason else R_POLICY_NO_MATCH
