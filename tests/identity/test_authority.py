"""Roles by issuer and URI, limits by DNS names, and what is no certificate of ours."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from edge.identity.authority import (
    Authority,
    NotOurs,
    covers,
    issue_credential,
    issue_edge,
    issue_link,
    names_of,
    new_authority,
    new_key,
    new_request,
    read_role,
    wants_renewal,
)

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> Authority:
    return new_authority("CA", NOW)


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def link(ca: Authority, *hostnames: str) -> bytes:
    return issue_link(
        ca, request=new_request(new_key()), tunnel="T", credential="C", hostnames=hostnames, now=NOW
    )


def test_role_of_a_credential(ca: Authority) -> None:
    pem = issue_credential(
        ca, request=new_request(new_key()), credential="C", hostnames=("*.a.test",), now=NOW
    )
    role = read_role(der(pem))
    assert (role.role, role.id, role.credential, role.hostnames) == (
        "enrolment", "C", "C", ("*.a.test",),
    )  # fmt: skip


def test_role_of_a_link_certificate(ca: Authority) -> None:
    role = read_role(der(link(ca)))
    assert (role.role, role.id, role.credential, role.hostnames) == ("connector", "T", "C", ())
    assert role.until == (NOW + timedelta(hours=24)).timestamp()


def test_the_edge_plays_no_client_role(ca: Authority) -> None:
    pem = issue_edge(ca, key=new_key(), name="tunnel.x.test", now=NOW)
    assert names_of(pem) == ["tunnel.x.test"]
    with pytest.raises(NotOurs):
        read_role(der(pem))


def test_two_uris_play_no_role(ca: Authority) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    from edge.identity import authority

    names = [
        x509.UniformResourceIdentifier("urn:sekisho:tunnel:T"),
        x509.UniformResourceIdentifier("urn:sekisho:node:N"),
    ]
    pem = authority._issue(
        ca, public=authority._public_of(new_request(new_key())), subject=[], names=names,
        usage=ExtendedKeyUsageOID.CLIENT_AUTH, lifetime=timedelta(hours=1), now=NOW,
    )  # fmt: skip
    with pytest.raises(NotOurs, match="one URI"):
        read_role(der(pem))


@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(NotOurs):
        read_role(data)


def test_independent_verification_of_the_chain(ca: Authority) -> None:
    anchors = Store([x509.load_pem_x509_certificate(ca.certificate)])
    verifier = PolicyBuilder().store(anchors).time(NOW).build_client_verifier()
    verifier.verify(x509.load_pem_x509_certificate(link(ca)), [])
    stranger = new_authority("CA", NOW)  # the same name, another key
    with pytest.raises(VerificationError):
        verifier.verify(x509.load_pem_x509_certificate(link(stranger)), [])
    late = PolicyBuilder().store(anchors).time(NOW + timedelta(hours=25)).build_client_verifier()
    with pytest.raises(VerificationError):
        late.verify(x509.load_pem_x509_certificate(link(ca)), [])


def test_request_must_prove_possession(ca: Authority) -> None:
    request = bytearray(new_request(new_key()))
    request[-1] ^= 1
    with pytest.raises(ValueError, match="signed by its own key"):
        issue_link(ca, request=bytes(request), tunnel="T", credential="C", hostnames=(), now=NOW)


def test_renewal_is_due_in_the_last_third(ca: Authority) -> None:
    pem = link(ca)
    assert not wants_renewal(pem, NOW + timedelta(hours=15))
    assert wants_renewal(pem, NOW + timedelta(hours=17))


@pytest.mark.parametrize(
    ("limit", "name", "covered"),
    [
        ((), "anything.test", True),
        (("a.test",), "a.test", True),
        (("a.test",), "b.a.test", False),
        (("*.a.test",), "b.a.test", True),
        (("*.a.test",), "c.b.a.test", True),
        (("*.a.test",), "a.test", False),
        (("*.a.test",), "*.a.test", True),
        (("*.a.test",), "*.b.a.test", True),
        (("*.b.a.test",), "*.a.test", False),
        (("*.a.test",), "xa.test", False),
        (("a.test",), "", False),
    ],
)
def test_what_a_limit_covers(limit: tuple[str, ...], name: str, covered: bool) -> None:
    assert covers(limit, name) is covered
