"""The decision: see policy.pxd for its words and order, docs/policies.md for what operators read.

decide() allocates nothing, can't raise and ends: every instruction of an application runs at most once (rule groups
remember their truth), and groups nest at most MAX_GROUP_DEPTH deep, both checked when the snapshot was loaded."""

import ipaddress

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from _fastpath.errors cimport (
    R_APPLICATION_MISSING,
    R_FACTS_UNAVAILABLE,
    R_LOGIN_NEEDED,
    R_POLICY_ALLOWED,
    R_POLICY_BYPASSED,
    R_POLICY_DENIED,
    R_POLICY_FAILED,
    R_POLICY_NO_MATCH,
    R_POLICY_NONE,
    R_POLICY_SERVICE_ADMITTED,
    reason_name,
)
from _fastpath.limits cimport MAX_RULE_GROUPS
from _fastpath.route cimport text_hash
from _fastpath.slice cimport slice_bytes, slice_of
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
    Block,
    Instr,
    Place,
    Range4,
    Range6,
    Slot,
    Table,
    application_dict,
    route_dict,
)


# -- one rule ---------------------------------------------------------------------------------------------------------

cdef enum:                   # what a criterion returns: the number of the rule that is true, or
    NO = -1                  # false
    UNSURE = -2              # unknown: Run.missing says why


cdef struct Run:             # one decision on the stack
    const App* app
    const Facts* f
    uint32_t missing         # FactKind bits asked for in vain, of the block being evaluated
    bint damaged             # an instruction that nobody knows
    uint8_t memo[MAX_RULE_GROUPS]        # Truth + 1 of each rule group, 0 = not yet asked
    uint8_t memo_missing[MAX_RULE_GROUPS]


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


cdef inline int32_t listed(Run* run, const Instr* i, const Fact* fact) noexcept nogil:
    """The rule that names this value, or NO."""
    cdef int32_t rule
    if i.flags & INSTR_ONE:
        return i.rule if same(fact, run.app.base + i.text, i.text_len, i.hash) else NO
    if filtered(i, fact.hash):
        return NO
    rule = set_find(run.app.tables[i.table], fact)
    return i.rule + rule if rule >= 0 else NO


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


cdef int32_t address(Run* run, const Instr* i) noexcept nogil:
    cdef const Facts* f = run.f
    cdef const uint8_t* one
    cdef int32_t rule
    if f.ip_state != FACT_KNOWN:
        run.missing |= FACT_ADDRESS
        return UNSURE
    if i.flags & INSTR_ONE:
        # An IPv6 range that reaches over the mapped addresses means IPv6 only.
        one = run.app.base + i.text
        if memcmp(one, f.ip, 16) <= 0 and memcmp(f.ip, one + 16, 16) <= 0 and f.ip_four == is_four(one):
            return i.rule
        return NO
    if filtered(i, f.ip_words[1] << 32 if f.ip_four else f.ip_words[0]):
        return NO
    if f.ip_four:
        rule = find4(run.app.tables[i.table], <uint32_t>f.ip_words[1])
    else:
        rule = find6(run.app.tables[i.table], f.ip_words)
    return i.rule + rule if rule >= 0 else NO


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


cdef inline int32_t ask(Run* run, const Instr* i) noexcept nogil:
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


cdef void decide(Snapshot snapshot, const App* app, const Facts* f, Decision* out, Permit* permit) noexcept nogil:
    cdef Run run
    cdef const Block* b
    cdef uint32_t j
    cdef int truth
    memset(out, 0, sizeof(Decision))
    memset(permit, 0, sizeof(Permit))
    out.policy = out.rule = NO
    if app == NULL:
        refuse(out, DENY, R_APPLICATION_MISSING)
        return
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
            refuse(out, LOGIN, R_LOGIN_NEEDED)
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


# -- facts ------------------------------------------------------------------------------------------------------------

cdef void facts_clear(Facts* f) noexcept nogil:
    memset(f, 0, sizeof(Facts))


cdef void facts_person(Facts* f, Snapshot snapshot, FactSet person) noexcept:
    if person.key[0] != snapshot.key[0] or person.key[1] != snapshot.key[1]:
        person.rehash(snapshot.key)
    f.person = &person.person


cdef uint64_t big(const uint8_t* p) noexcept nogil:
    cdef uint64_t value = 0
    cdef int k
    for k in range(8):
        value = value << 8 | p[k]
    return value


cdef bint is_four(const uint8_t* p) noexcept nogil:
    """An IPv4 address, in the IPv4-mapped form that every address of that family has here (C09)."""
    return big(p) == 0 and big(p + 8) >> 32 == 0xffff


cdef void facts_address(Facts* f, const uint8_t* ip16) noexcept nogil:
    if ip16 == NULL:
        f.ip_state = FACT_UNKNOWN
        return
    memcpy(f.ip, ip16, 16)
    f.ip_words[0], f.ip_words[1] = big(ip16), big(ip16 + 8)
    f.ip_four = is_four(ip16)
    f.ip_state = FACT_KNOWN


cdef void facts_service(Facts* f, Snapshot snapshot, Slice token_id) noexcept nogil:
    f.service_state = FACT_KNOWN
    f.service.value = token_id
    f.service.hash = text_hash(snapshot.key, token_id.ptr, token_id.len)


# The kinds of a person's facts, as explain and `partial` name them.
KINDS = {"email": FACT_EMAIL, "idp": FACT_METHOD, "groups": FACT_GROUPS, "amr": FACT_AMR, "claims": FACT_CLAIM,
         "ip": FACT_ADDRESS, "service_token": FACT_SERVICE}


def fold(str text) -> bytes:
    """Return text in UTF-8 with A-Z in lower case and nothing else changed: how e-mail addresses are compared (M09)."""
    return text.encode().lower()         # bytes.lower() folds ASCII alone


def email_parts(address) -> tuple | None:
    """Return (address, domain) as compared, or None when this is no address: one @, something on both sides of it."""
    if not isinstance(address, str) or address.count("@") != 1:
        return None
    folded = fold(address)
    local, domain = folded.split(b"@")
    return (folded, domain) if local and domain else None


cdef list value_texts(object value):
    """The texts that a claim's value stands for: a list has many; what is neither text, number nor truth value has none."""
    texts = []
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(one, bool):
            texts.append("true" if one else "false")
        elif isinstance(one, (str, int, float)):
            texts.append(str(one))
    return texts


cdef int state_of(object value) except -1:
    """FACT_KNOWN for a value, FACT_ABSENT for None; `...` stands for a fact that nobody told."""
    return FACT_UNKNOWN if value is ... else (FACT_ABSENT if value is None else FACT_KNOWN)


cdef list text_list(object value, str what):
    if value is ... or value is None:
        return []
    if isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{what} is a list of texts")
    return list(value)


@cython.final
cdef class FactSet:
    """The facts that one token swears, hashed once. Owns its strings; immutable but for the hashes."""

    def __cinit__(self):
        self.facts = NULL
        self.n_facts = 0
        self.key[0] = self.key[1] = 0
        memset(&self.person, 0, sizeof(Person))

    def __init__(self, *, email=..., idp=..., groups=..., amr=..., claims=...):
        """Facts that are not given are unknown; None means that there is none."""
        cdef Fact* at
        cdef Person* p = &self.person
        cdef const uint8_t* text
        parts = email_parts(email)
        group_list, amr_list = text_list(groups, "groups"), text_list(amr, "amr")
        for name, value in (("email", email), ("idp", idp)):
            if not (value is ... or value is None or isinstance(value, str)):
                raise ValueError(f"{name} is a text")
        if not (claims is ... or claims is None or isinstance(claims, dict)):
            raise ValueError("claims is a map")
        pairs = []                       # (name, value | None)
        for name, value in (claims if isinstance(claims, dict) else {}).items():
            for one in value_texts(value) or [None]:
                pairs.append((name, one))
        texts = [*(parts or ()), *([idp] if isinstance(idp, str) else ()), *group_list, *amr_list]
        for pair in pairs:
            texts.extend([part for part in pair if part is not None])
        self.blob = b"".join([t if isinstance(t, bytes) else t.encode() for t in texts])
        self.n_facts = <uint32_t>(len(group_list) + len(amr_list) + len(pairs))
        self.facts = <Fact*>calloc(self.n_facts if self.n_facts else 1, sizeof(Fact))
        if self.facts == NULL:
            raise MemoryError()
        text = <const uint8_t*>self.blob
        # An address that can't be read is unknown rather than absent: no exclude may take it for somebody else's.
        p.email_state = state_of(email) if parts or not isinstance(email, str) else FACT_UNKNOWN
        if parts:
            text = take(&p.email.value, text, len(parts[0]))
            text = take(&p.domain.value, text, len(parts[1]))
        p.method_state = state_of(idp)
        if isinstance(idp, str):
            text = take(&p.method.value, text, len(idp.encode()))
        at = self.facts
        p.groups, p.n_groups, p.groups_state = at, <uint32_t>len(group_list), state_of(groups)
        for one in group_list:
            text = take(&at.value, text, len(one.encode()))
            at += 1
        p.amr, p.n_amr, p.amr_state = at, <uint32_t>len(amr_list), state_of(amr)
        for one in amr_list:
            text = take(&at.value, text, len(one.encode()))
            at += 1
        p.claims, p.n_claims, p.claims_state = at, <uint32_t>len(pairs), state_of(claims)
        for name, value in pairs:
            text = take(&at.name_text, text, len(name.encode()))
            if value is not None:
                text = take(&at.value, text, len(value.encode()))
            at += 1
        self.rehash(self.key)

    def __dealloc__(self):
        free(self.facts)                 # exactly as many as the token swears; see Snapshot for rule 5

    @staticmethod
    def from_claims(dict claims) -> FactSet:
        """Build from a token's claims (or the answer to a question, which has the same shape).

        What the token lacks, or names in sekisho.partial, is unknown. Raises ValueError on wrong types."""
        own = claims.get("sekisho")
        own = {} if own is None else own
        if not isinstance(own, dict):
            raise ValueError("sekisho is a map")
        facts = {"email": claims.get("email", ...) or None if "email" in claims else ..., "claims": claims.get("custom", ...)}
        facts.update((name, own[name]) for name in ("idp", "groups", "amr") if name in own)
        for name in own.get("partial") or ():
            facts.pop("claims" if name == "custom" else name, None)
        return FactSet(**facts)

    cdef void rehash(self, const uint64_t* key) noexcept nogil:
        cdef uint32_t i
        self.key[0], self.key[1] = key[0], key[1]
        hash_fact(key, &self.person.email)
        hash_fact(key, &self.person.domain)
        hash_fact(key, &self.person.method)
        for i in range(self.n_facts):
            hash_fact(key, &self.facts[i])


cdef const uint8_t* take(Slice* slot, const uint8_t* text, size_t n) noexcept:
    slot[0] = slice_of(text, n)
    return text + n


cdef void hash_fact(const uint64_t* key, Fact* fact) noexcept nogil:
    fact.hash = text_hash(key, fact.value.ptr, fact.value.len)
    fact.name = text_hash(key, fact.name_text.ptr, fact.name_text.len)


# -- doors for Python -------------------------------------------------------------------------------------------------

VERDICTS = ("deny", "allow", "login", "bypass", "service", "unavailable")
TRUTHS = ("unknown", "false", "true")
DECISIONS = ("", "allow", "deny", "bypass", "non_identity")
OPS = ("unknown", "everyone", "email", "email_domain", "ip", "login_method", "idp_group", "oidc", "auth_method",
       "service_token", "any_valid_service_token", "group")


@cython.final
cdef class Asker:
    """Facts from a dict, alive as long as this object: {"email", "idp", "groups", "amr", "claims", "ip",
    "service_token"}. Missing = unknown, None = there is none. Somebody is signed in when any fact of a person is a key,
    or "signed_in" is true. A service token that is not given is none."""
    cdef Facts f
    cdef FactSet person
    cdef bytes token

    def __init__(self, Snapshot snapshot, dict facts):
        cdef bytes packed
        unknown = facts.keys() - KINDS.keys() - {"signed_in"}
        if unknown:
            raise ValueError(f"no such fact: {sorted(unknown)[0]}")
        facts_clear(&self.f)
        person = {k: facts[k] for k in ("email", "idp", "groups", "amr", "claims") if k in facts}
        if facts.get("signed_in", bool(person)):
            self.person = FactSet(**person)
            facts_person(&self.f, snapshot, self.person)
        if facts.get("ip") is not None:
            packed = address_bytes(facts["ip"])
            facts_address(&self.f, packed)
        if facts.get("service_token") is not None:
            self.token = facts["service_token"].encode()
            facts_service(&self.f, snapshot, slice_of(<const uint8_t*>self.token, len(self.token)))


def address_bytes(str text) -> bytes:
    """Return the 16 bytes of an IP address, IPv4 in its mapped form; raises ValueError."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return found.packed if found.version == 6 else b"\0" * 10 + b"\xff\xff" + found.packed


cdef dict decision_dict(const Decision* d, const Permit* permit):
    return {
        "verdict": VERDICTS[d.verdict], "reason": reason_name(d.reason).decode(),
        "policy": d.policy if d.policy >= 0 else None, "rule": d.rule if d.rule >= 0 else None,
        "missing": [name for name, bit in KINDS.items() if d.missing & bit],
        "permit": permit.application != 0,
    }


cdef Place place_of(Snapshot snapshot, bytes host, bytes path):
    cdef Place place
    snapshot.find(slice_of(<const uint8_t*>host, len(host)), slice_of(<const uint8_t*>path, len(path)), &place)
    return place


cdef bytes wire_text(object text):
    return text if isinstance(text, bytes) else text.encode()


def judge(Snapshot snapshot, host, path, dict facts) -> dict:
    """Return {"verdict", "reason", "policy", "rule", "missing", "permit"} for a normalised host and path."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, facts)
    cdef Decision d
    cdef Permit permit
    decide(snapshot, place.app, &asker.f, &d, &permit)
    return decision_dict(&d, &permit)


def judge_preflight(Snapshot snapshot, host, path) -> dict:
    """Return what judge returns, for a CORS preflight."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Decision d
    cdef Permit permit
    admit_preflight(snapshot, place.app, &d, &permit)
    return decision_dict(&d, &permit)


def judge_repeatedly(Snapshot snapshot, host, path, dict facts, uint64_t times) -> int:
    """Decide that many times without Python in between, for the benchmark; returns how many were admitted."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, facts)
    cdef Decision d
    cdef Permit permit
    cdef uint64_t _n, admitted = 0
    with nogil:
        for _n in range(times):
            decide(snapshot, place.app, &asker.f, &d, &permit)
            admitted += permit.application != 0
    return admitted


def find_repeatedly(Snapshot snapshot, host, path, uint64_t times) -> int:
    """Find host and path that many times, for the benchmark; returns how often an application was found."""
    cdef bytes h = wire_text(host), p = wire_text(path)
    cdef Slice host_slice = slice_of(<const uint8_t*>h, len(h)), path_slice = slice_of(<const uint8_t*>p, len(p))
    cdef Place place
    cdef uint64_t _n, found = 0
    with nogil:
        for _n in range(times):
            snapshot.find(host_slice, path_slice, &place)
            found += place.app != NULL
    return found


def may_allow(Snapshot snapshot, host, path, dict facts) -> bool:
    """Tell whether an allow policy of this application could still be true: facts that are not given may turn out any way.

    With only e-mail, sign-in method and address given this decides whether a PIN is worth sending."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, dict(facts, signed_in=True))
    return place.app != NULL and could_allow(place.app, &asker.f)


cdef dict explain_rules(Snapshot snapshot, Run* run, uint32_t first, uint32_t n):
    cdef uint32_t j
    cdef int32_t rule
    cdef const Instr* i
    rules = []
    for j in range(n):
        i = &run.app.instrs[first + j]
        rule = ask(run, i)
        rules.append({
            "rule": j, "criterion": OPS[i.op if i.op < OP_COUNT else 0],
            "text": slice_bytes(snapshot.text_of(run.app, first + j)).decode(),
            "truth": "true" if rule >= 0 else ("false" if rule == NO else "unknown"),
        })
    return {"rules": rules}


cdef dict explain_block(Snapshot snapshot, Run* run, const Block* b):
    cdef uint32_t first = b.plain
    cdef int32_t matched = NO
    cdef int truth
    cdef uint32_t missing
    run.missing = 0
    truth = block_truth(run, b, &matched)
    missing = run.missing
    told = {
        "number": b.number, "name": slice_bytes(slice_of(run.app.base + b.name, b.name_len)).decode(),
        "id": slice_bytes(slice_of(run.app.base + b.ident, b.ident_len)).decode(),
        "decision": DECISIONS[b.decision], "truth": TRUTHS[truth],
        "rule": matched if truth == TRUE_ else None,
        "missing": [name for name, bit in KINDS.items() if missing & bit],
        "session_duration": b.session_duration if b.session_duration >= 0 else run.app.session_duration,
    }
    for section, n in (("include", b.n_plain_include), ("require", b.n_plain_require), ("exclude", b.n_plain_exclude)):
        told[section] = explain_rules(snapshot, run, first, n)["rules"]
        first += <uint32_t>n
    return told


def explain(Snapshot snapshot, host, path, dict facts) -> dict:
    """Return what judge returns, and why.

    {"verdict", "reason", "policy" (its number as written), "policy_name", "rule", "missing", "permit",
     "session_duration" (seconds: the deciding policy's, or the application's), "host_known",
     "application": dict | None, "route": dict | None,
     "policies": [{"number", "name", "id", "decision", "truth", "rule", "missing", "session_duration", "reached",
                   "include"|"require"|"exclude": [{"rule", "criterion", "text", "truth"}]}]}   in the order of evaluation.
    host and path are normalised text or bytes; facts as Asker takes them."""
    cdef Place place = place_of(snapshot, wire_text(host), wire_text(path))
    cdef Asker asker = Asker(snapshot, facts)
    cdef Decision d
    cdef Permit permit
    cdef Run run
    cdef uint32_t j
    decide(snapshot, place.app, &asker.f, &d, &permit)
    told = decision_dict(&d, &permit)
    told["host_known"] = bool(place.host_known)
    told["application"] = application_dict(place.app) if place.app != NULL else None
    told["route"] = route_dict(place.route) if place.route != NULL else None
    told["policies"] = []
    told["policy_name"] = told["session_duration"] = None
    if place.app == NULL:
        return told
    told["session_duration"] = place.app.session_duration
    start(&run, place.app, &asker.f)
    reached = True
    for j in range(place.app.n_policies):
        policy = explain_block(snapshot, &run, &place.app.policies[j])
        if policy["decision"] in ("allow", "deny") and (asker.f.person == NULL or asker.f.service_state == FACT_KNOWN):
            reached = False
        policy["reached"] = reached
        told["policies"].append(policy)
        if policy["number"] == told["policy"]:
            told["policy_name"], told["session_duration"] = policy["name"], policy["session_duration"]
            reached = False
    return told
