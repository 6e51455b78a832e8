"""What was revoked: see revocations.pxd for the contract."""

from libc.stdint cimport uint32_t

from _fastpath.errors cimport *
from _fastpath.jwt cimport Token

cdef extern from "<stdint.h>" nogil:
    const uint32_t ALL_EPOCHS "UINT32_MAX"   # an entry without an epoch voids every token

KINDS = {
    "session": REVOKED_SESSION, "nonce": REVOKED_NONCE, "user": REVOKED_USER, "application": REVOKED_APPLICATION,
    "service_token": REVOKED_SERVICE_TOKEN, "credential": REVOKED_CREDENTIAL, "administrator": REVOKED_ADMINISTRATOR,
}


cdef class Revocations:
    def __cinit__(self):
        self.generation = 1
        self.seq = 0
        self.entries = {}

    @property
    def size(self) -> int:
        """Entries in force. (No __len__: an empty list of revocations must not be false.)"""
        return len(self.entries)

    def apply(self, entries, full: bool = False, seq: int = 0, now: int = 0) -> None:
        """Add entries (maps of kind, id, epoch?, until), or with full=True have exactly these.

        Entries whose `until` is not after now are forgotten; kinds that this release doesn't know are skipped.
        Raises and changes nothing when an entry has no kind, id or until."""
        cdef dict changed = {} if full else dict(self.entries)
        for entry in entries:
            kind = KINDS.get(entry["kind"])
            ident, until = entry["id"], int(entry["until"])
            epoch = entry.get("epoch")
            if kind is None:
                continue
            key = (kind, ident.encode("utf-8") if isinstance(ident, str) else bytes(ident))
            old = changed.get(key, (0, 0))
            changed[key] = (max(old[0], ALL_EPOCHS if epoch is None else int(epoch)), max(old[1], until))
        self.entries = {key: value for key, value in changed.items() if value[1] > now}
        self.seq = seq
        self.generation += 1

    cdef int look_up(self, Token token) except -1:
        cdef int void = 0
        if (REVOKED_SESSION, token.sid) in self.entries or (REVOKED_NONCE, token.nonce) in self.entries:
            void = R_SESSION_REVOKED
        else:
            user = self.entries.get((REVOKED_USER, token.sub))
            application = self.entries.get((REVOKED_APPLICATION, token.aud))
            if user is not None and token.epoch < user[0]:
                void = R_SESSION_REVOKED if user[0] == ALL_EPOCHS else R_SESSION_OUTDATED
            elif application is not None and token.app_epoch < application[0]:
                void = R_SESSION_REVOKED if application[0] == ALL_EPOCHS else R_SESSION_OUTDATED
        token.void = void
        token.checked = self.generation
        return void

    cdef bint listed(self, int kind, bytes ident):
        return (kind, ident) in self.entries

    def lists(self, kind: str, ident: str) -> bool:
        """True when this id (service token, credential, administrator …) is revoked."""
        return self.listed(KINDS[kind], ident.encode("utf-8"))

    def check_token(self, Token token not None) -> str | None:
        """Reason for which the token is void, or None."""
        cdef int reason = self.check(token)
        return reason_text(reason)
