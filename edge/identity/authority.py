"""The tunnel's own certificate authority: who a link is, what it may ask for (design §7, Roles).

Pure functions over keys and certificates: nothing here reads a file, a clock or the store. The
role of a certificate is its issuer and its one URI:

    tunnel CA   urn:sekisho:credential:ID   the tunnel credential: may ask for a link certificate
    tunnel CA   urn:sekisho:tunnel:ID       the link certificate of a connector, 24 h
    tunnel CA   no URI, a DNS name          the edge at tunnel.<auth_domain>

A link certificate names the credential that it was issued for in its subject's serialNumber, so
that revoking the credential also ends links. Hostnames that a credential is limited to travel as
DNS names; none means no limit. No certificate serves two roles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CREDENTIAL = "urn:sekisho:credential:"
TUNNEL = "urn:sekisho:tunnel:"
NODE = "urn:sekisho:node:"
ADMINISTRATOR = "urn:sekisho:administrator:"

AUTHORITY_DAYS = 3650
CREDENTIAL_DAYS = 3650  # long-lived and revocable
EDGE_DAYS = 90  # renewed by control when a third is left
LINK_HOURS = 24
BACKDATE = timedelta(minutes=10)  # of notBefore: a connector's clock may be that far behind


class NotOurs(ValueError):
    """A certificate that serves no role here: another issuer, no URI of ours, two URIs."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA's certificate and private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Role:
    """What a peer's certificate says about the peer."""

    role: str  # connector | enrolment | node | administrator
    id: str  # of the tunnel, credential, node or administrator
    credential: str  # the credential's id, for the first two
    hostnames: tuple[str, ...]  # the credential's limit; empty = none
    until: float  # unix seconds


def new_key() -> bytes:
    """Return a fresh P-256 private key, PEM (PKCS #8, not encrypted: the caller keeps it 0600)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def new_request(key: bytes) -> bytes:
    """Return a PKCS #10 request (DER) that proves possession of `key`; it names nobody."""
    private = _private(key)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def new_authority(name: str, now: datetime) -> Authority:
    """Return a new self-signed CA called `name`."""
    key = new_key()
    private = _private(key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = private.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False, ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(private, hashes.SHA256())
    )
    return Authority(certificate.public_bytes(serialization.Encoding.PEM), key)


def issue_credential(
    authority: Authority,
    *,
    request: bytes,
    credential: str,
    hostnames: Sequence[str],
    now: datetime,
) -> bytes:
    """Return the PEM of a tunnel credential for the key in `request`."""
    return _issue(
        authority,
        public=_public_of(request),
        subject=[(NameOID.COMMON_NAME, f"credential {credential}")],
        names=_uri_and_hosts(CREDENTIAL + credential, hostnames),
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        lifetime=timedelta(days=CREDENTIAL_DAYS),
        now=now,
    )


def issue_link(
    authority: Authority,
    *,
    request: bytes,
    tunnel: str,
    credential: str,
    hostnames: Sequence[str],
    now: datetime,
) -> bytes:
    """Return the PEM of a 24 h link certificate for `tunnel`, obtained with `credential`."""
    return _issue(
        authority,
        public=_public_of(request),
        subject=[
            (NameOID.COMMON_NAME, f"tunnel {tunnel}"),
            (NameOID.SERIAL_NUMBER, credential),
        ],
        names=_uri_and_hosts(TUNNEL + tunnel, hostnames),
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        lifetime=timedelta(hours=LINK_HOURS),
        now=now,
    )


def issue_edge(authority: Authority, *, key: bytes, name: str, now: datetime) -> bytes:
    """Return the PEM of the edge's own server certificate for `name` (tunnel.<auth_domain>)."""
    return _issue(
        authority,
        public=_private(key).public_key(),
        subject=[(NameOID.COMMON_NAME, name)],
        names=[x509.DNSName(name)],
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        lifetime=timedelta(days=EDGE_DAYS),
        now=now,
    )


def read_role(certificate: bytes) -> Role:
    """Return the role that a verified certificate (DER) plays; raise NotOurs when it plays none.

    The chain and the dates were checked by the TLS endpoint under the tunnel CA.
    """
    try:
        leaf = x509.load_der_x509_certificate(certificate)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, x509.ExtensionNotFound):
        raise NotOurs("not a certificate of a role") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise NotOurs("not a client's certificate")
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise NotOurs("a certificate of one role has one URI")
    hosts = tuple(names.get_values_for_type(x509.DNSName))
    until = leaf.not_valid_after_utc.timestamp()
    for prefix, role in _ROLES:
        if uris[0].startswith(prefix):
            name = uris[0][len(prefix) :]
            credential = name if role == "enrolment" else _serial(leaf)
            return Role(role, name, credential, hosts, until)
    raise NotOurs("no role has this URI")


_ROLES = (
    (TUNNEL, "connector"),
    (CREDENTIAL, "enrolment"),
    (NODE, "node"),
    (ADMINISTRATOR, "administrator"),
)


def end_of(certificate: bytes) -> datetime:
    """Return when a PEM certificate ends."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def names_of(certificate: bytes) -> list[str]:
    """Return the DNS names of a PEM certificate."""
    leaf = x509.load_pem_x509_certificate(certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(names.get_values_for_type(x509.DNSName))


def begin_of(certificate: bytes) -> datetime:
    """Return when a PEM certificate begins."""
    return x509.load_pem_x509_certificate(certificate).not_valid_before_utc


def wants_renewal(certificate: bytes, now: datetime) -> bool:
    """Return True when less than a third of the certificate's life is left."""
    begin, end = begin_of(certificate), end_of(certificate)
    return now >= end - (end - begin) / 3


def utc_now() -> datetime:
    """Return the wall clock; the one place that reads it for certificates."""
    return datetime.now(UTC)


def covers(hostnames: Sequence[str], pattern: str) -> bool:
    """Return True when a credential limited to `hostnames` may announce `pattern`.

    `*.example.com` covers every name below it and the same or a narrower wildcard, not
    example.com itself. An empty limit covers everything; an empty pattern (every host) is covered
    by an empty limit only.
    """
    if not hostnames:
        return True
    for limit in hostnames:
        if limit == pattern:
            return True
        if limit.startswith("*.") and pattern.endswith(limit[1:]) and len(pattern) >= len(limit):
            return True
    return False


def _serial(leaf: x509.Certificate) -> str:
    found = leaf.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return str(found[0].value) if len(found) == 1 else ""


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    private = serialization.load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic-curve key")
    return private


def _public_of(request: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a request whose signature proves possession, or raise ValueError."""
    parsed = x509.load_der_x509_csr(request)
    if not parsed.is_signature_valid:
        raise ValueError("the request isn't signed by its own key")
    public = parsed.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("only elliptic-curve keys get certificates here")
    return public


def _uri_and_hosts(uri: str, hostnames: Sequence[str]) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(uri), *(x509.DNSName(one) for one in hostnames)]


def _issue(
    authority: Authority,
    *,
    public: ec.EllipticCurvePublicKey,
    subject: list[tuple[x509.ObjectIdentifier, str]],
    names: list[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    lifetime: timedelta,
    now: datetime,
) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    end = min(now + lifetime, issuer.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in subject]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True, ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                _private(authority.key).public_key()
            ),
            critical=False,
        )
        .sign(_private(authority.key), hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(*, sign: bool, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
