"""servicetoken.pyx: client ids and their secrets."""

import hashlib

import pytest

from _fastpath.revocations import Revocations
from _fastpath.servicetoken import ServiceTokens
from tests.kit.mint import NOW

LATER = NOW + 9999


def sha(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


SERVICE = ServiceTokens(
    {
        "abc.access": ["id-1", "Backup", [[sha(b"new"), NOW + 100], [sha(b"old").hex(), NOW + 10]]],
        "def.access": ["id-2", [[sha(b"forever"), 0]]],
    }
)


@pytest.mark.parametrize(
    ("client", "secret", "now", "result"),
    [
        (b"abc.access", b"new", NOW, ("id-1", None)),
        (b"abc.access", b"old", NOW + 9, ("id-1", None)),
        (b"abc.access", b"old", NOW + 10, (None, "service-token-expired")),
        (b"abc.access", b"new", NOW + 99, ("id-1", None)),
        (b"abc.access", b"new", NOW + 100, (None, "service-token-expired")),
        (b"def.access", b"forever", LATER, ("id-2", None)),
        (b"abc.access", b"forever", NOW, (None, "service-token-unknown")),
        (b"abc.access", b"new ", NOW, (None, "service-token-unknown")),
        (b"ABC.access", b"new", NOW, (None, "service-token-unknown")),
        (b"xyz.access", b"new", NOW, (None, "service-token-unknown")),
        (b"", b"new", NOW, (None, "service-token-incomplete")),
        (b"abc.access", b"", NOW, (None, "service-token-incomplete")),
        (b"\xff\x00", b"\xff", NOW, (None, "service-token-unknown")),
    ],
)
def test_service_tokens(client: bytes, secret: bytes, now: int, result: tuple) -> None:
    assert SERVICE.prove(client, secret, now, Revocations()) == result


def test_a_revoked_service_token() -> None:
    revocations = Revocations()
    revocations.apply([{"kind": "service_token", "id": "abc.access", "until": LATER}])
    assert SERVICE.prove(b"abc.access", b"new", NOW, revocations) == (None, "service-token-revoked")
    assert SERVICE.prove(b"abc.access", b"bad", NOW, revocations) == (None, "service-token-unknown")
    assert SERVICE.prove(b"def.access", b"forever", NOW, revocations) == ("id-2", None)


def test_service_tokens_are_kept_as_hashes() -> None:
    assert SERVICE.size == 2 and ServiceTokens().size == 0
    with pytest.raises(ValueError, match="SHA-256"):
        ServiceTokens({"a": ["id", [[b"plain secret", 0]]]})
