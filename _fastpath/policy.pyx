"""The decision: see policy.pxd for its words and order, docs/policies.md for what operators read.

decide() allocates nothing, can't raise and ends: every instruction of an application runs at most once (rule groups
remember their truth), and groups nest at most MAX_GROUP_DEPTH deep, both checked when the snapshot was loaded."""

from libc.string cimport memcmp, memcpy, memset

from _fastpath.errors cimport (
    R_APPLICATION_MISSING,
    R_FACTS_UNAVAILABLE,
    R_LOGIN_METHOD_NOT_ALLOWED,
    R_LOGIN_NEEDED,
    R_POLICY_ALLOWED,
    R_POLICY_BYPASSED,
    R_POLICY_DENIED,
    R_POLICY_FAILED,
    R_POLICY_NO_MATCH,
    R_POLICY_NONE,
    R_POLICY_SERVICE_ADMITTED,
)
from _fastpath.facts cimport (
    FACT_ABSENT,
    FACT_ADDRESS,
    FACT_AMR,
    FACT_CLAIM,
    FACT_EMAIL,
    FACT_GROUPS,
    FACT_KNOWN,
    FACT_METHOD,
    FACT_UNKNOWN,
    FACTS_OF_PERSON,
    Fact,
    is_four,
)
from _fastpath.snapshot cimport (
    APP_HAS_ALLOW,
    APP_OPTIONS_BYPASS,
    INSTR_ONE,
    OP_ANY_SERVICE_TOKEN,
    OP_AUTH_METHOD,
    OP_CLAIM,
    OP_COUNT,
    OP_EMAIL,
    OP_EMAIL_DOMAIN,
    OP_EVERYONE,
    OP_GROUP,
    OP_IDP_GROUP,
    OP_IP,
    OP_LOGIN_METHOD,
    OP_NONE,
    OP_SERVICE_TOKEN,
    POLICY_ALLOW,
    POLICY_BYPASS,
    POLICY_DENY,
    Range4,
    Range6,
    Slot,
    Table,
)


# -- one rule ---------------------------------------------------------------------------------------------------------

ctypedef int32_t (*Criterion)(Run* run, const Instr* i) noexcept nogil


cdef inline int person_state(Run* run, int state, int kind) noexcept nogil:
    """State of a fact about the person. A service token is nobody: what only a person has is absent, not unknown."""
    if run.f.service_state == FACT_KNOWN:
        return FACT_ABSENT
    if run.f.person == NULL:
        state = FACT_UNKNOWN
    if state == FACT_UNKNOWN:
        run.missing |= kind
    return state


cdef inline bint same(const Fact* fact, const uint8_t* p, uint32_t n, uint64_t hash) noexcept nogil:
    return fact.hash == hash and fact.value.len == n and memcmp(fact.value.ptr, p, n) == 0


cdef int32_t set_find(const Table* t, const Fact* fact) noexcept nogil:
    cdef uint32_t at = <uint32_t>fact.hash & t.mask
    cdef uint32_t length
    cdef const Slot* slot = &t.slots[at]
    while slot.text != 0:                # at least one slot is free
        if slot.hash == fact.hash:
            memcpy(&length, t.strings + slot.text, 4)
            if length == fact.value.len and memcmp(t.strings + slot.text + 4, fact.value.ptr, length) == 0:
                return slot.rule
        at = (at + 1) & t.mask
        slot = &t.slots[at]
    return NO


cdef inline bint filtered(const Instr* i, uint64_t bits) noexcept nogil:
    """True when the table of this instruction holds nothing that begins with the same seven bits: most misses end here,
    in the instruction's own cache line."""
    cdef const uint64_t* words = <const uint64_t*>&i.text
    return not (words[bits >> 63] >> (bits >> 57 & 63) & 1)


cdef int32_t probe(Run* run, const Instr* i, const Fact* fact) noexcept nogil:
    """The rule that names this value, or NO, where `listed` couldn't say so at once."""
    cdef int32_t rule
    if i.flags & INSTR_ONE:
        return i.rule if same(fact, run.app.base + i.text, i.text_len, i.hash) else NO
    rule = set_find(run.app.tables[i.table], fact)
    return i.rule + rule if rule >= 0 else NO


cdef inline int32_t listed(Run* run, const Instr* i, const Fact* fact) noexcept nogil:
    """The rule that names this value, or NO. Small on purpose: a miss, the usual answer, calls nothing."""
    if i.hash != fact.hash if i.flags & INSTR_ONE else filtered(i, fact.hash):
        return NO
    return probe(run, i, fact)


cdef inline int32_t any_listed(Run* run, const Instr* i, const Fact* facts, uint32_t n) noexcept nogil:
    cdef int32_t best = NO, rule
    cdef uint32_t j
    for j in range(n):
        rule = listed(run, i, &facts[j])
        if rule >= 0 and (best < 0 or rule < best):
            best = rule
    return best


cdef inline int method_is(Run* run, const Instr* i) noexcept nogil:
    """Truth of "signed in with the provider that this instruction is limited to"."""
    cdef int state
    if i.idp_len == 0:
        return TRUE_
    state = person_state(run, run.f.person.method_state if run.f.person != NULL else FACT_UNKNOWN, FACT_METHOD)
    if state == FACT_KNOWN:
        return TRUE_ if same(&run.f.person.method, run.app.base + i.idp, i.idp_len, i.idp_hash) else FALSE_
    return FALSE_ if state == FACT_ABSENT else UNKNOWN


cdef int32_t damaged(Run* run, const Instr* i) noexcept nogil:
    run.damaged = True
    return NO


cdef int32_t everyone(Run* run, const Instr* i) noexcept nogil:
    return i.rule


cdef int32_t email(Run* run, const Instr* i) noexcept nogil:
    cdef int state = person_state(run, run.f.person.email_state if run.f.person != NULL else FACT_UNKNOWN, FACT_EMAIL)
    if state == FACT_KNOWN:
        return listed(run, i, &run.f.person.email)
    return NO if state == FACT_ABSENT else UNSURE


cdef int32_t email_domain(Run* run, const Instr* i) noexcept nogil:
    cdef int state = person_state(run, run.f.person.email_state if run.f.person != NULL else FACT_UNKNOWN, FACT_EMAIL)
    if state == FACT_KNOWN:
        return listed(run, i, &run.f.person.domain)
    return NO if state == FACT_ABSENT else UNSURE


cdef int32_t login_method(Run* run, const Instr* i) noexcept nogil:
    cdef int state = person_state(run, run.f.person.method_state if run.f.person != NULL else FACT_UNKNOWN, FACT_METHOD)
    if state == FACT_KNOWN:
        return listed(run, i, &run.f.person.method)
    return NO if state == FACT_ABSENT else UNSURE


cdef int32_t auth_method(Run* run, const Instr* i) noexcept nogil:
    cdef int state = person_state(run, run.f.person.amr_state if run.f.person != NULL else FACT_UNKNOWN, FACT_AMR)
    if state == FACT_KNOWN:
        return any_listed(run, i, run.f.person.amr, run.f.person.n_amr)
    return NO if state == FACT_ABSENT else UNSURE


cdef int32_t limited(int method, int32_t rule) noexcept nogil:
    """Kleene's and of "this provider" and "this value"."""
    if method == FALSE_ or rule == NO:
        return NO
    return rule if method == TRUE_ else UNSURE


cdef int32_t idp_group(Run* run, const Instr* i) noexcept nogil:
    cdef int32_t rule
    cdef int method = method_is(run, i)
    cdef int state
    if method == FALSE_:
        return NO
    state = person_state(run, run.f.person.groups_state if run.f.person != NULL else FACT_UNKNOWN, FACT_GROUPS)
    rule = UNSURE
    if state == FACT_KNOWN:
        rule = any_listed(run, i, run.f.person.groups, run.f.person.n_groups)
    elif state == FACT_ABSENT:
        rule = NO
    return limited(method, rule)


cdef int32_t claim(Run* run, const Instr* i) noexcept nogil:
    cdef int32_t best = NO, rule
    cdef uint32_t j
    cdef bint known = False
    cdef const Fact* fact
    cdef int method = method_is(run, i)
    if method == FALSE_:
        return NO
    if run.f.service_state == FACT_KNOWN:
        return NO
    if run.f.person != NULL:
        if run.f.person.claims_state == FACT_ABSENT:
            return NO
        for j in range(run.f.person.n_claims):
            fact = &run.f.person.claims[j]
            if (fact.name != i.name_hash or fact.name_text.len != i.name_len
                    or memcmp(fact.name_text.ptr, run.app.base + i.name, i.name_len) != 0):
                continue
            known = True
            if fact.value.ptr != NULL:
                rule = listed(run, i, fact)
                if rule >= 0 and (best < 0 or rule < best):
                    best = rule
    if not known:
        run.missing |= FACT_CLAIM
        best = UNSURE
    return limited(method, best)


cdef int32_t find4(const Table* t, uint32_t address) noexcept nogil:
    """The rule of the range that holds this address. The search has no branch that depends on it: nothing to guess wrong."""
    cdef const Range4* at = t.ranges4
    cdef uint32_t left = t.n4, half
    if left == 0:
        return NO
    while left > 1:
        half = left // 2
        at = at + half if at[half].first <= address else at
        left -= half
    return at.rule if at.first <= address and address <= at.last else NO


cdef inline bint not_above(const uint64_t* a, const uint64_t* b) noexcept nogil:
    return a[0] < b[0] or (a[0] == b[0] and a[1] <= b[1])


cdef int32_t find6(const Table* t, const uint64_t* address) noexcept nogil:
    cdef const Range6* at = t.ranges6
    cdef uint32_t left = t.n6, half
    if left == 0:
        return NO
    while left > 1:
        half = left // 2
        at = at + half if not_above(at[half].first, address) else at
        left -= half
    return at.rule if not_above(at.first, address) and not_above(address, at.last) else NO


cdef int32_t find_address(Run* run, const Instr* i) noexcept nogil:
    cdef const Facts* f = run.f
    cdef const uint8_t* one
    cdef int32_t rule
    if i.flags & INSTR_ONE:
        # An IPv6 range that reaches over the mapped addresses means IPv6 only.
        one = run.app.base + i.text
        if memcmp(one, f.ip, 16) <= 0 and memcmp(f.ip, one + 16, 16) <= 0 and f.ip_four == is_four(one):
            return i.rule
        return NO
    if f.ip_four:
        rule = find4(run.app.tables[i.table], <uint32_t>f.ip_words[1])
    else:
        rule = find6(run.app.tables[i.table], f.ip_words)
    return i.rule + rule if rule >= 0 else NO


cdef int32_t address(Run* run, const Instr* i) noexcept nogil:
    cdef const Facts* f = run.f
    if f.ip_state != FACT_KNOWN:
        run.missing |= FACT_ADDRESS
        return UNSURE
    if not i.flags & INSTR_ONE and filtered(i, f.ip_words[1] << 32 if f.ip_four else f.ip_words[0]):
        return NO
    return find_address(run, i)


cdef int32_t service_token(Run* run, const Instr* i) noexcept nogil:
    return listed(run, i, &run.f.service) if run.f.service_state == FACT_KNOWN else NO


cdef int32_t any_service_token(Run* run, const Instr* i) noexcept nogil:
    return i.rule if run.f.service_state == FACT_KNOWN else NO


cdef int32_t group(Run* run, const Instr* i) noexcept nogil:
    cdef int truth
    cdef uint32_t before = run.missing
    if run.memo[i.group] == 0:
        run.missing = 0
        truth = block_truth(run, &run.app.groups[i.group], NULL)
        run.memo[i.group] = <uint8_t>(truth + 1)
        run.memo_missing[i.group] = <uint8_t>run.missing
        run.missing = before
    truth = run.memo[i.group] - 1
    run.missing |= run.memo_missing[i.group]
    return i.rule if truth == TRUE_ else (NO if truth == FALSE_ else UNSURE)


# The one table of criteria. A new one: an Op in snapshot.pxd, a function above, a row here, a file in
# edge/config/criteria, and the same in tests/kit/policy_reference.py.
cdef Criterion[<int>OP_COUNT] CRITERIA
CRITERIA[<int>OP_NONE] = damaged
CRITERIA[<int>OP_EVERYONE] = everyone
CRITERIA[<int>OP_EMAIL] = email
CRITERIA[<int>OP_EMAIL_DOMAIN] = email_domain
CRITERIA[<int>OP_IP] = address
CRITERIA[<int>OP_LOGIN_METHOD] = login_method
CRITERIA[<int>OP_IDP_GROUP] = idp_group
CRITERIA[<int>OP_CLAIM] = claim
CRITERIA[<int>OP_AUTH_METHOD] = auth_method
CRITERIA[<int>OP_SERVICE_TOKEN] = service_token
CRITERIA[<int>OP_ANY_SERVICE_TOKEN] = any_service_token
CRITERIA[<int>OP_GROUP] = group


cdef int32_t ask(Run* run, const Instr* i) noexcept nogil:
    return CRITERIA[i.op if i.op < OP_COUNT else OP_NONE](run, i)


# -- one policy or group ----------------------------------------------------------------------------------------------

cdef int block_truth(Run* run, const Block* b, int32_t* matched) noexcept nogil:
    """any(include) and all(require) and not any(exclude), Kleene's logic. matched: the lowest include rule that is true.

    Run.missing keeps what was asked for in vain only when the truth is unknown: elsewhere it did not matter."""
    cdef const Instr* i = run.app.instrs + b.first
    cdef uint32_t before = run.missing, j
    cdef int32_t best = NO, rule
    cdef bint unsure = False
    for j in range(b.n_include):
        if best >= 0 and i[j].rule >= best:
            break                # sorted by their first rule: nothing lower can come
        rule = ask(run, &i[j])
        if rule == UNSURE:
            unsure = True
        elif rule >= 0 and (best < 0 or rule < best):
            best = rule
    if best >= 0:
        unsure = False
        run.missing = before
    elif not unsure:
        run.missing = before
        return FALSE_
    i += b.n_include
    for j in range(b.n_require):
        rule = ask(run, &i[j])
        if rule == NO:
            run.missing = before
            return FALSE_
        if rule == UNSURE:
            unsure = True
    i += b.n_require
    for j in range(b.n_exclude):
        rule = ask(run, &i[j])
        if rule >= 0:
            run.missing = before
            return FALSE_
        if rule == UNSURE:
            unsure = True
    if matched != NULL:
        matched[0] = best
    return UNKNOWN if unsure else TRUE_


# -- the application --------------------------------------------------------------------------------------------------

cdef void start(Run* run, const App* app, const Facts* f) noexcept nogil:
    run.app, run.f, run.missing, run.damaged = app, f, 0, False
    memset(run.memo, 0, app.n_groups)


cdef void admit(Snapshot snapshot, const App* app, Decision* out, Permit* permit, int verdict, int reason) noexcept nogil:
    out.verdict = permit.verdict = <uint8_t>verdict
    out.reason = <uint16_t>reason
    out.missing = 0
    permit.application = app.index + 1
    permit.version = snapshot.version


cdef void refuse(Decision* out, int verdict, int reason) noexcept nogil:
    out.verdict, out.reason = <uint8_t>verdict, <uint16_t>reason


cdef bint method_refused(const App* app, const Facts* f) noexcept nogil:
    """Whether the session came by a provider that this application doesn't take: one that is gone from the configuration,
    or that its allowed_idps leaves out. Every token tells its provider (jwt.pyx): only a rehearsal (`sekisho policy`) may
    leave it open, and asks then about any that the application takes."""
    if f.person == NULL or f.service_state == FACT_KNOWN or f.person.method_state != FACT_KNOWN:
        return False
    return set_find(app.methods, &f.person.method) < 0


cdef void decide(Snapshot snapshot, const App* app, const Facts* f, Decision* out, Permit* permit) noexcept nogil:
    cdef Run run
    cdef Facts nobody
    cdef const Block* b
    cdef uint32_t j
    cdef int truth
    memset(out, 0, sizeof(Decision))
    memset(permit, 0, sizeof(Permit))
    out.policy = out.rule = NO
    if app == NULL:
        refuse(out, DENY, R_APPLICATION_MISSING)
        return
    if method_refused(app, f):
        nobody = f[0]
        nobody.person = NULL
        f = &nobody
        out.method_refused = True
    start(&run, app, f)
    for j in range(app.n_policies):
        b = &app.policies[j]
        if b.decision == POLICY_ALLOW or b.decision == POLICY_DENY:
            if f.service_state == FACT_KNOWN or f.person == NULL:
                break            # a service token, or nobody: only bypass and non_identity, which came before, count
        out.rule = NO
        truth = block_truth(&run, b, &out.rule)
        if run.damaged:
            out.policy, out.rule = b.number, NO
            refuse(out, DENY, R_POLICY_FAILED)
            return
        out.policy = b.number
        if truth == TRUE_:
            if b.decision == POLICY_DENY:
                out.missing = run.missing
                refuse(out, DENY, R_POLICY_DENIED)
            elif b.decision == POLICY_ALLOW:
                admit(snapshot, app, out, permit, ALLOW, R_POLICY_ALLOWED)
            elif b.decision == POLICY_BYPASS:
                admit(snapshot, app, out, permit, BYPASS, R_POLICY_BYPASSED)
            else:
                admit(snapshot, app, out, permit, SERVICE, R_POLICY_SERVICE_ADMITTED)
            return
        if truth == UNKNOWN and b.decision == POLICY_DENY:
            out.rule, out.missing = NO, run.missing
            refuse(out, UNAVAILABLE, R_FACTS_UNAVAILABLE)
            return
    out.policy = out.rule = NO
    if f.person == NULL and f.service_state != FACT_KNOWN:
        # Signing in is what makes a person's facts known: their absence is no fault.
        run.missing &= ~<uint32_t>FACTS_OF_PERSON
        if app.flags & APP_HAS_ALLOW:
            refuse(out, LOGIN, R_LOGIN_METHOD_NOT_ALLOWED if out.method_refused else R_LOGIN_NEEDED)
            return
    out.missing = run.missing
    if run.missing:
        refuse(out, UNAVAILABLE, R_FACTS_UNAVAILABLE)
    else:
        refuse(out, DENY, R_POLICY_NO_MATCH if app.n_policies else R_POLICY_NONE)


cdef void admit_preflight(Snapshot snapshot, const App* app, Decision* out, Permit* permit) noexcept nogil:
    memset(out, 0, sizeof(Decision))
    memset(permit, 0, sizeof(Permit))
    out.policy = out.rule = NO
    if app != NULL and app.flags & APP_OPTIONS_BYPASS:
        admit(snapshot, app, out, permit, BYPASS, R_POLICY_BYPASSED)
    else:
        refuse(out, DENY, R_POLICY_NO_MATCH)


cdef bint could_allow(const App* app, const Facts* f) noexcept nogil:
    """True unless every allow policy is false or stands behind a deny policy that is true."""
    cdef Run run
    cdef uint32_t j
    cdef int truth
    if method_refused(app, f):
        return False
    start(&run, app, f)
    for j in range(app.n_policies):
        if app.policies[j].decision > POLICY_DENY:
            continue
        truth = block_truth(&run, &app.policies[j], NULL)
        if run.damaged:
            return False
        if app.policies[j].decision == POLICY_ALLOW:
            if truth != FALSE_:
                return True
        elif truth == TRUE_:
            return False
    return False
