"""The decision: an application's program over the facts of one request (docs/policies.md).

Sessions of an identity provider that the application doesn't take are nobody's: its ids are a set of the snapshot.
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

from _fastpath.facts cimport (
    FACTS_OF_PERSON, Facts, FactSet, facts_address, facts_clear, facts_person, facts_service,
)
from _fastpath.limits cimport MAX_RULE_GROUPS
from _fastpath.snapshot cimport App, Block, Instr, Snapshot


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


cdef struct Decision:
    uint8_t verdict
    uint8_t method_refused   # somebody is signed in by a provider that isn't for this application: decided as for nobody
    uint16_t reason          # errors.Reason
    int32_t policy           # number as written, -1 = none decided
    int32_t rule             # number of the include rule that matched, -1 = none
    uint32_t missing         # FactKind bits that were unknown where it mattered


cdef struct Permit:          # only decide() fills it
    uint32_t application     # index + 1; 0 = no permit
    uint8_t verdict          # ALLOW, BYPASS or SERVICE
    uint64_t version         # of the snapshot


cdef void decide(Snapshot snapshot, const App* app, const Facts* f, Decision* out, Permit* permit) noexcept nogil
    # Always fills out. permit (may not be NULL) is zero unless the verdict is ALLOW, BYPASS or SERVICE.
cdef void admit_preflight(Snapshot snapshot, const App* app, Decision* out, Permit* permit) noexcept nogil
    # For a CORS preflight, which browsers send without credentials: a BYPASS permit where the application says
    # options_preflight_bypass, else DENY.
cdef bint could_allow(const App* app, const Facts* f) noexcept nogil
    # True unless every allow policy is false or stands behind a deny policy that is true.


# The parts of a decision, for explain.pyx, which asks for each rule and policy apart.

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


cdef void start(Run* run, const App* app, const Facts* f) noexcept nogil
cdef int32_t ask(Run* run, const Instr* i) noexcept nogil
    # One instruction: its rule's number, NO or UNSURE.
cdef int block_truth(Run* run, const Block* b, int32_t* matched) noexcept nogil
    # Truth of a policy or group; matched (may be NULL): the lowest include rule that is true.
