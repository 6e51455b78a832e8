"""pem.pyx: certificates and keys that can't be used are named."""

import pytest

from _fastpath.contexts import TlsContexts
from _fastpath.pem import TlsError, certificate_names
from _fastpath.tls import TlsEnd
from tests.kit.tls_cast import MAIL, PUBLIC, WIKI, hello_with_name


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        (b"", WIKI.key, "no certificate"),
        (b"x", WIKI.key, "no certificate"),
        (WIKI.certificate, b"", "private key"),
        (WIKI.certificate, MAIL.key, "doesn't belong"),
        (WIKI.certificate + PUBLIC.pem.replace(b"MI", b"XX", 1), WIKI.key, "certificate 2"),
    ],
)
def test_unusable_files_are_named(certificate: bytes, key: bytes, says: str) -> None:
    contexts = TlsContexts()
    with pytest.raises(TlsError, match=says):
        contexts.add(["wiki.example.com"], certificate, key)
    server = TlsEnd.server(contexts)
    server.feed(hello_with_name(b"wiki.example.com"))
    assert server.handshake() == -1  # nothing was added


def test_a_key_with_a_password_is_refused_without_asking() -> None:
    from cryptography.hazmat.primitives import serialization

    locked = serialization.load_pem_private_key(WIKI.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(TlsError, match="private key"):
        TlsContexts().add([], WIKI.certificate, locked)


def test_names_of_a_certificate() -> None:
    assert certificate_names(PUBLIC.leaf("a.example", "*.b.example", "192.0.2.1").certificate) == [
        "a.example",
        "*.b.example",
    ]
    assert certificate_names(PUBLIC.pem) == []
