"""A mint for application tokens: good ones and every kind of bad one, under a fresh key."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUD = b"0123456789abcdef" * 4
ISSUER = "https://login.example.com"
NOW = 1_790_000_000
Json = dict[str, Any]


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unb64(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def claims(**changed: Any) -> Json:
    """Good claims; ... as a value leaves one out; sekisho__NAME changes a member of ours."""
    own = {
        "sid": "s" * 22,
        "epoch": 3,
        "app_epoch": 2,
        "idp": "pin",
        "groups": ["staff"],
        "amr": ["otp"],
    }
    full: Json = {
        "aud": [AUD.decode()],
        "email": "ada@example.com",
        "exp": NOW + 3600,
        "iat": NOW,
        "nbf": NOW,
        "iss": ISSUER,
        "type": "app",
        "identity_nonce": "n" * 22,
        "sub": "7f1f0c0e-6a52-4b0b-9f2d-0f6c3d2b1a00",
        "country": "JP",
        "custom": {"team": "blue"},
        "sekisho": own,
    }
    for name, value in changed.items():
        if name.startswith("sekisho__"):
            own[name.removeprefix("sekisho__")] = value
        else:
            full[name] = value
    full["sekisho"] = (
        {k: v for k, v in own.items() if v is not ...}
        if full["sekisho"] is own
        else full["sekisho"]
    )
    return {k: v for k, v in full.items() if v is not ...}


@dataclass(frozen=True)
class Mint:
    kid: str = "key-1"
    bits: int = 2048
    key: rsa.RSAPrivateKey = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.key is None:
            object.__setattr__(self, "key", rsa.generate_private_key(65537, self.bits))

    @property
    def jwk(self) -> Json:
        public = self.key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "kid": self.kid,
            "alg": "RS256",
            "use": "sig",
            "e": "AQAB",
            "n": b64(public.n.to_bytes(self.key.key_size // 8, "big")).decode(),
        }

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def public_der(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def header(self, **changed: Any) -> Json:
        return {
            k: v
            for k, v in ({"alg": "RS256", "kid": self.kid, "typ": "JWT"} | changed).items()
            if v is not ...
        }

    def sign(self, header: bytes, payload: bytes) -> bytes:
        """A token of these very bytes of header and payload."""
        head = b64(header) + b"." + b64(payload)
        return head + b"." + b64(self.key.sign(head, padding.PKCS1v15(), hashes.SHA256()))

    def token(self, header: Json | None = None, **changed: Any) -> bytes:
        return self.sign(compact(self.header(**(header or {}))), compact(claims(**changed)))

    def encoded(self, block: bytes, payload: bytes | None = None) -> bytes:
        """A token whose signature is block, raised to the private exponent as it stands."""
        numbers = self.key.private_numbers()
        head = b64(compact(self.header())) + b"." + b64(payload or compact(claims()))
        digest = hashlib.sha256(head).digest()
        number = int.from_bytes(
            block.replace(b"<digest>", digest).rjust(self.key.key_size // 8, b"\x00"), "big"
        )
        signature = pow(number, numbers.d, numbers.public_numbers.n)
        return head + b"." + b64(signature.to_bytes(self.key.key_size // 8, "big"))
