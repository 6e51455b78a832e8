"""Facts: what is known of one request when it is decided, from its token and its connection.

A fact may be unknown, and that is what a zeroed Facts says of everything. Texts are hashed once, when the token enters the
cache; a request's Facts borrows them. Nothing here decides: policy.pxd does."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice
from _fastpath.snapshot cimport Snapshot


cdef enum FactState:
    FACT_UNKNOWN = 0
    FACT_ABSENT = 1          # known: there is none
    FACT_KNOWN = 2


cdef enum FactKind:          # bits of policy.Decision.missing
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


cdef inline uint64_t big_endian(const uint8_t* p) noexcept nogil:
    cdef uint64_t value = 0
    cdef int k
    for k in range(8):
        value = value << 8 | p[k]
    return value


cdef inline bint is_four(const uint8_t* p) noexcept nogil:
    """An IPv4 address, in the IPv4-mapped form that every address of that family has here (C09)."""
    return big_endian(p) == 0 and big_endian(p + 8) >> 32 == 0xffff
