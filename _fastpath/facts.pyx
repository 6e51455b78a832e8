"""Facts made from what a token swears: see facts.pxd."""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from _fastpath.route cimport text_hash
from _fastpath.slice cimport slice_of


cdef void facts_clear(Facts* f) noexcept nogil:
    memset(f, 0, sizeof(Facts))


cdef void facts_person(Facts* f, Snapshot snapshot, FactSet person) noexcept:
    if person.key[0] != snapshot.key[0] or person.key[1] != snapshot.key[1]:
        person.rehash(snapshot.key)
    f.person = &person.person


cdef void facts_address(Facts* f, const uint8_t* ip16) noexcept nogil:
    if ip16 == NULL:
        f.ip_state = FACT_UNKNOWN
        return
    memcpy(f.ip, ip16, 16)
    f.ip_words[0], f.ip_words[1] = big_endian(ip16), big_endian(ip16 + 8)
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
            raise MemoryError()          # unreachable: nothing here makes an allocation fail
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
