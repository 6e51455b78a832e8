"""The decision: an application's program over the facts of one request (docs/policies.md).

Three-valued: a fact that is not known makes a rule unknown; unknown never lets anybody in. Zero denies: a zeroed Facts
knows nothing, a zeroed Decision is DENY, a zeroed Permit opens nothing.

A request:
    facts_clear(&f); facts_address(&f, ip16)
    if a service token was proved:  facts_service(&f, snapshot, id)       # and no facts_person: the cookie is ignored
    elif a session token holds:     facts_person(&f, snapshot, token.facts)
    decide(snapshot, place.app, &f, &decision, &permit)
When the verdict is DENY or UNAVAILABLE and decision.missing has FACTS_OF_PERSON bits, ask control once for the person's
facts (FactSet.from_claims of the answer) and decide again; without an answer the decision stands."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice
from _fastpath.snapshot cimport App, Snapshot


cdef enum Verdict:
    DENY = 0                 # zero on purpose
    ALLOW = 1
    LOGIN = 2                # nobody is signed in; may become ALLOW after sign-in
    BYPASS = 3
    SERVICE = 4              # a non_identity policy matched
    UNAVAILABLE = 5          # 503 facts-unavailable


cdef enum Truth:
    UNKNOWN = 0              # zero on purpose
    FALSE_ = 1
    TRUE_ = 2


cdef enum FactState:
    FACT_UNKNOWN = 0
    FACT_ABSENT = 1          # known: there is none
    FACT_KNOWN = 2


cdef enum FactKind:          # bits of Decision.missing
    FACT_EMAIL = 1           # the domain is its part
    FACT_METHOD = 2          # identity provider
    FACT_GROUPS = 4
    FACT_AMR = 8
    FACT_CLAIM = 16
    FACT_ADDRESS = 32
    FACT_SERVICE = 64
    FACTS_OF_PERSON = 31


cdef struct Fact:
    Slice value              # borrowed from the FactSet (or, for a service token, from the caller)
    uint64_t hash            # text_hash of value under the snapshot's key
    uint64_t name            # claims: text_hash of the claim's name
    Slice name_text


cdef struct Person:          # what a token swore; owned by a FactSet
    uint8_t email_state      # FactState, each
    uint8_t method_state
    uint8_t groups_state
    uint8_t amr_state
    uint8_t claims_state     # FACT_KNOWN: the names listed are known, every other one is unknown
    Fact email               # ASCII lower case
    Fact domain
    Fact method
    Fact* groups
    uint32_t n_groups
    Fact* amr
    uint32_t n_amr
    Fact* claims             # one per (name, value); a known name without a value has value.ptr NULL
    uint32_t n_claims


cdef struct Facts:
    const Person* person     # NULL: nobody is signed in
    uint8_t ip[16]           # IPv4 as ::ffff:a.b.c.d
    uint64_t ip_words[2]     # the same as numbers: high, low
    bint ip_four             # IPv4, then the address is the low 32 bits
    uint8_t ip_state
    uint8_t service_state    # FACT_KNOWN: a service token was proved; else none was
    Fact service             # its id


cdef struct Decision:
    uint8_t verdict
    uint16_t reason          # errors.Reason
    int32_t policy           # number as written, -1 = none decided
    int32_t rule             # number of the include rule that matched, -1 = none
    uint32_t missing         # FactKind bits that were unknown where it mattered


cdef struct Permit:          # only decide() fills it
    uint32_t application     # index + 1; 0 = no permit
    uint8_t verdict          # ALLOW, BYPASS or SERVICE
    uint64_t version         # of the snapshot


cdef class FactSet:
    """The facts that one token swears, hashed once. Owns its strings; immutable but for the hashes."""
    cdef bytes blob
    cdef Fact* facts         # one block: groups, amr, claims
    cdef uint32_t n_facts
    cdef Person person
    cdef uint64_t key[2]     # under which the hashes were made
    cdef void rehash(self, const uint64_t* key) noexcept nogil


cdef void facts_clear(Facts* f) noexcept nogil
cdef void facts_person(Facts* f, Snapshot snapshot, FactSet person) noexcept
    # f borrows from person: hold the reference while f lives. Re-hashes when the snapshot's key is another.
cdef void facts_address(Facts* f, const uint8_t* ip16) noexcept nogil
    # 16 bytes, network order; NULL = unknown (a malformed X-Forwarded-For of a trusted proxy).
cdef void facts_service(Facts* f, Snapshot snapshot, Slice token_id) noexcept nogil
    # f borrows token_id.
cdef void decide(Snapshot snapshot, const App* app, const Facts* f, Decision* out, Permit* permit) noexcept nogil
    # Always fills out. permit (may not be NULL) is zero unless the verdict is ALLOW, BYPASS or SERVICE.
cdef void admit_preflight(Snapshot snapshot, const App* app, Decision* out, Permit* permit) noexcept nogil
    # For a CORS preflight, which browsers send without credentials: a BYPASS permit where the application says
    # options_preflight_bypass, else DENY.
