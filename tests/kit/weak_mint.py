"""A mint that signs in microseconds, for fuzzing. Its key protects nothing.

The modulus is a product of small primes p with p - 1 | ORDER, so x ** ORDER == 1 for every unit x:
the private exponent may be as small as 17, and its inverse modulo ORDER is the public one. Whoever
verifies can't tell, and takes the same steps as for a real key."""

import hashlib

from tests.kit.mint import Json, b64

ORDER = 16 * 27 * 25 * 7 * 11 * 13 * 19
PRIVATE = 17
PUBLIC = pow(PRIVATE, -1, ORDER)
SIZE = 256
PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def _modulus() -> int:
    divisors = sorted((d for d in range(1, 1 << 17) if ORDER % d == 0), reverse=True)
    product = 1
    for prime in (d + 1 for d in divisors if d > 40 and _is_prime(d + 1)):
        if (product * prime).bit_length() <= SIZE * 8:
            product *= prime
    return product


class WeakMint:
    kid = "key-1"

    def __init__(self) -> None:
        self.n = _modulus()

    @property
    def jwk(self) -> Json:
        size = (self.n.bit_length() + 7) // 8
        return {
            "kty": "RSA", "kid": self.kid, "n": b64(self.n.to_bytes(size, "big")).decode(),
            "e": b64(PUBLIC.to_bytes(4, "big")).decode(),
        }  # fmt: skip

    def header(self) -> Json:
        return {"alg": "RS256", "kid": self.kid, "typ": "JWT"}

    def signed(self, head: bytes) -> bytes:
        info = PREFIX + hashlib.sha256(head).digest()
        size = (self.n.bit_length() + 7) // 8
        block = b"\x00\x01" + b"\xff" * (size - 3 - len(info)) + b"\x00" + info
        signature = pow(int.from_bytes(block, "big"), PRIVATE, self.n)
        return head + b"." + b64(signature.to_bytes(size, "big"))
