"""Keys: one master key in a file; every other secret is a row of the store, AES-GCM under it.

Signing keys rotate every six weeks. A new one is published a moment before it signs, and the old
one verifies for seven days more. Nothing here ever makes a key because one is damaged or missing:
that would silently void every session and every AUD tag, so it is refused and a person decides."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from edge.identity.master_key import KeyRefused, MasterKey, b64url
from edge.store import KeyRow, Store

ROTATION = 6 * 7 * 86400  # seconds that a signing key signs
OVERLAP = 7 * 86400  # seconds that it verifies after that
BRIDGE = "master"  # kind and name of the row that holds a new master key under the retired one
FORGET_TRIES = 5  # of a second each, to get a retired master key's traces out of SQLite's log
LEAD = 60  # seconds between publishing a key and signing with it: workers load it meanwhile
# Made when the store is new: one-time PINs, AUD tags, TLS tickets, form tokens, hashes in
# snapshots.
KNOWN_SECRETS = ("pin", "aud", "ticket", "form", "hash")


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One secret of the installation, decrypted."""

    name: str
    kind: str
    secret: bytes
    public: str
    created: int
    active_from: int
    retires: int | None


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An RSA key that signs tokens from `active_from` and verifies them until `retires`."""

    kid: str
    private: rsa.RSAPrivateKey
    certificate: str  # PEM, for readers that want one
    active_from: int
    retires: int | None

    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": b64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": b64url(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        }


class KeyStore:
    """All keys of one installation, decrypted once at start."""

    def __init__(self, store: Store, master: MasterKey, clock: Callable[[], float]) -> None:
        self._store = store
        self.master = master  # seals
        self.retired: MasterKey | None = None  # what the file still holds instead
        self.divided = False  # some rows are under the retired one
        self._clock = clock
        self._bridged = False
        self._writing = asyncio.Lock()  # what is sealed under a master key is in before it changes
        self._keys: dict[str, Key] = {}
        self._signing: list[SigningKey] = []  # oldest first

    @classmethod
    async def open(
        cls, store: Store, master: MasterKey, *, clock: Callable[[], float]
    ) -> "KeyStore":
        """Decrypt every row; make the first keys only in a store that nobody has used.

        KeyRefused when a row can't be decrypted or a key that must be there is missing."""
        self = cls(store, master, clock)
        if await store.keys.unused_store():
            await self._make_first()
        else:
            await self._load()
        return self

    async def _load(self) -> None:
        rows = await self._store.keys.all()
        known = {self.master.id: self.master}
        for row in rows:
            self._bridged = self._bridged or row.kind == BRIDGE
            if row.kind == BRIDGE and row.master_id == self.master.id:
                plain = self.master.unseal(_bridge_name(row.public), row.secret)
                self.retired, self.master = self.master, MasterKey(row.public, plain)
                known[self.master.id] = self.master
        for row in rows:
            if row.kind == BRIDGE:
                continue
            if row.master_id not in known:
                raise KeyRefused(
                    f"key {row.name} is encrypted under master key {row.master_id}, "
                    f"not {' or '.join(known)}"
                )
            self._hold(row, known[row.master_id].unseal(row.name, row.secret))
            self.divided = self.divided or row.master_id != self.master.id
        for name in KNOWN_SECRETS:
            if name not in self._keys:
                raise KeyRefused(f"key {name} is missing from a store that has been used")
        if not any(key.retires is None for key in self._signing):
            raise KeyRefused("the signing key is missing from a store that has been used")

    async def _make_first(self) -> None:
        now = int(self._clock())
        for name in KNOWN_SECRETS:
            await self._write(name, "secret", secrets.token_bytes(32), "", now, now)
        await self._make_signing(now, now)

    async def _write(
        self,
        name: str,
        kind: str,
        secret: bytes,
        public: str,
        now: int,
        active_from: int,
        retire: dict[str, int] | None = None,
    ) -> None:
        async with self._writing:
            sealed = self.master.seal(name, secret)
            row = KeyRow(name, kind, now, active_from, None, public, sealed, self.master.id)
            await self._store.keys.put(row, retire=retire)
            self._hold(row, secret)

    def _hold(self, row: KeyRow, secret: bytes) -> None:
        self._keys[row.name] = Key(
            row.name, row.kind, secret, row.public, row.created, row.active_from, row.retires
        )
        if row.kind == "signing":
            private = serialization.load_der_private_key(secret, None)
            if not isinstance(private, rsa.RSAPrivateKey):
                raise KeyRefused(f"key {row.name}: not an RSA key")
            self._signing.append(
                SigningKey(row.name, private, row.public, row.active_from, row.retires)
            )

    async def _make_signing(
        self, now: int, active_from: int, retire: dict[str, int] | None = None
    ) -> str:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        kid = hashlib.sha256(public).hexdigest()
        secret = private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        await self._write(
            kid, "signing", secret, _certificate(private, kid, now), now, active_from, retire
        )
        return kid

    # ---- secrets

    def secret(self, name: str) -> bytes:
        """Return a secret that exists; KeyRefused when it doesn't."""
        key = self._keys.get(name)
        if key is None:
            raise KeyRefused(f"key {name} is missing")
        return key.secret

    async def make(self, name: str, size: int = 32) -> bytes:
        """Return the secret of this name, made now if there is none yet."""
        if name not in self._keys:
            now = int(self._clock())
            await self._write(name, "secret", secrets.token_bytes(size), "", now, now)
        return self._keys[name].secret

    async def put(self, name: str, kind: str, secret: bytes, public: str) -> Key:
        """Store a key that somebody else made (a certificate authority's, with its PEM as
        `public`)."""
        now = int(self._clock())
        await self._write(name, kind, secret, public, now, now)
        return self._keys[name]

    def get(self, name: str) -> Key | None:
        return self._keys.get(name)

    def of_kind(self, kind: str) -> list[Key]:
        """Return the keys of one kind, oldest first."""
        found = [key for key in self._keys.values() if key.kind == kind]
        return sorted(found, key=lambda key: (key.active_from, key.name))

    def seal(self, name: str, plain: bytes) -> bytes:
        """Encrypt a secret that lives in another table; its name is the row's id."""
        return _under(self.master, name, plain)

    def unseal(self, name: str, sealed: bytes) -> bytes:
        master_id, _, rest = sealed.partition(b":")
        if master_id.decode("ascii", "replace") != self.master.id:
            raise KeyRefused(f"{name} is encrypted under another master key")
        return self.master.unseal(name, rest)

    def aud(self, name: str) -> str:
        """Return the AUD tag that an application has by default: 64 hex digits that only its
        name decides."""
        return hmac.new(self.secret("aud"), name.encode(), hashlib.sha256).hexdigest()

    def digest(self, purpose: str, *parts: str) -> str:
        """Return an HMAC in hex under the PIN key, of parts that can't run into each other."""
        text = "\0".join((purpose, *parts))
        return hmac.new(self.secret("pin"), text.encode(), hashlib.sha256).hexdigest()

    # ---- signing keys

    def signing(self, now: float) -> SigningKey:
        """Return the key that signs now: the newest one whose time has come."""
        ready = [key for key in self._signing if key.active_from <= now]
        # The clock may have been set back behind the oldest key; it still is the only one to use.
        return ready[-1] if ready else self._signing[0]

    def verifying(self, now: float) -> list[SigningKey]:
        """Return the keys whose tokens are good now, newest first."""
        return [k for k in reversed(self._signing) if k.retires is None or k.retires > now]

    def public_jwks(self, now: float) -> list[dict[str, str]]:
        """Return the JSON web keys to verify with, newest first; the snapshot carries them."""
        return [key.jwk() for key in self.verifying(now)]

    def jwks_document(self, now: float) -> dict[str, Any]:
        """Return what /cdn-cgi/access/certs answers."""
        keys = self.verifying(now)
        certificates = [{"kid": key.kid, "cert": key.certificate} for key in keys]
        current = self.signing(now).kid
        return {
            "keys": [key.jwk() for key in keys],
            "public_cert": next(c for c in certificates if c["kid"] == current),
            "public_certs": certificates,
        }

    def due(self, now: float) -> bool:
        """Say whether the signing key has signed for long enough."""
        return now >= self._signing[-1].active_from + ROTATION

    async def rotate(self, now: float, *, lead: int = LEAD) -> str:
        """Make the next signing key, give the old ones their end, and return the new kid.

        Publish the snapshot right after: the new key signs only `lead` seconds from now."""
        start = int(now) + lead
        retire = {
            key.name: start + OVERLAP
            for key in self._keys.values()
            if key.kind == "signing" and key.retires is None
        }
        self._signing = [
            SigningKey(k.kid, k.private, k.certificate, k.active_from, retire.get(k.kid, k.retires))
            for k in self._signing
        ]
        return await self._make_signing(int(now), start, retire)

    async def drop_retired(self, now: float) -> None:
        """Delete signing keys that verify nothing any more."""
        for key in [k for k in self._signing if k.retires is not None and k.retires <= now]:
            await self._store.keys.remove(key.kid)
            self._signing.remove(key)
            self._keys.pop(key.kid, None)

    # ---- the master key

    async def change_master(self, master: MasterKey) -> None:
        """Seal every secret of the store under another master key, in one transaction.

        The old one stays in `retired`, and opens the store, until `forget_retired`."""
        known = {one.id: one for one in (self.retired, self.master) if one is not None}

        def opened(master_id: str, name: str, sealed: bytes) -> bytes:
            if master_id not in known:
                raise KeyRefused(f"{name} is encrypted under master key {master_id}")
            return known[master_id].unseal(name, sealed)

        def key(row: KeyRow) -> KeyRow:
            plain = opened(row.master_id, row.name, row.secret)
            return replace(row, secret=master.seal(row.name, plain), master_id=master.id)

        def thing(ident: str, sealed: bytes) -> bytes:
            master_id, _, rest = sealed.partition(b":")
            plain = opened(master_id.decode("ascii", "replace"), ident, rest)
            return _under(master, ident, plain)

        async with self._writing:
            old = self.retired or self.master
            now = int(self._clock())
            bridge = KeyRow(
                BRIDGE, BRIDGE, now, now, None, master.id,
                old.seal(_bridge_name(master.id), master.key), old.id,
            )
            await self._store.keys.seal_anew(key, thing, bridge)
            self.retired, self.master, self.divided = old, master, False
            self._bridged = True

    async def forget_retired(self) -> bool:
        """Delete the row by which the retired master key opens the store, if there is one, and
        what the database's files still hold of it; False when a reader kept that there.

        Without one, too: whoever deleted it may have been killed before its traces were gone."""
        bridged = self._bridged
        if bridged:
            await self._store.keys.remove(BRIDGE)
        self.retired, self._bridged = None, False
        gone = await self._store.keys.forget_removed(FORGET_TRIES if bridged else 1)
        return gone or not bridged


def _bridge_name(master_id: str) -> str:
    return f"{BRIDGE} {master_id}"


def _under(master: MasterKey, name: str, plain: bytes) -> bytes:
    return master.id.encode() + b":" + master.seal(name, plain)


def _certificate(private: rsa.RSAPrivateKey, kid: str, now: int) -> str:
    """Return a self-signed certificate of the key: some readers of /certs want PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Sekisho signing key {kid[:12]}")])
    begin = datetime.fromtimestamp(now, UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3650))
        .sign(private, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()
