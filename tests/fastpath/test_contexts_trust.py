"""contexts.pyx: client certificates, resumption, dialled servers. Section I."""

import os
import ssl

import pytest

from _fastpath.contexts import TicketKeys, TlsClientContext, TlsContexts
from _fastpath.pem import TlsError
from _fastpath.tls import TlsEnd
from tests.kit.certificates import CLIENT, SERVER, Authority, Leaf
from tests.kit.tls_cast import (
    APPLICATION,
    CLIENT_CA,
    CONNECTOR,
    CONTEXTS,
    DAY,
    EDGE,
    LINKS,
    OTHER,
    PERSON,
    PUBLIC,
    STAFF,
    TUNNEL,
    WIKI,
    build,
    dial,
    link,
)
from tests.kit.tls_peer import PythonClient, pump, python_context

# -- client certificates: I01 at this level, I07 ----------------------------------------


def test_a_link_is_known_by_its_certificate() -> None:
    client, server = link()
    assert server.established and server.profile == TUNNEL and server.alpn == b"sekisho-link/1"
    assert server.peer_certificate() == CONNECTOR.der
    assert server.peer_issuer() is not None
    assert client.peer_certificate() == EDGE.der
    assert server.version == "TLSv1.3"


def test_a_link_needs_tls_13() -> None:
    context = python_context(LINKS.pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["sekisho-link/1"])
    server = TlsEnd.server(CONTEXTS)
    assert not PythonClient(context, "tunnel.login.example.com").shake(server)


BAD_PEOPLE = {
    "none": None,
    "expired": STAFF.leaf("urn:person:1", usage=CLIENT, start=-3 * DAY, end=-DAY),
    "not yet valid": STAFF.leaf("urn:person:1", usage=CLIENT, start=DAY, end=2 * DAY),
    "other CA": OTHER.leaf("urn:person:1", usage=CLIENT),
    "right name, wrong CA": Authority("staff CA").leaf("urn:person:1", usage=CLIENT),
    "no EKU": STAFF.leaf("urn:person:1", usage=None),
    "server's EKU": STAFF.leaf("urn:person:1", usage=SERVER),
    "a connector's": CONNECTOR,
}


@pytest.mark.parametrize("who", BAD_PEOPLE)
def test_i07_bad_client_certificates_are_refused(who: str) -> None:
    client, server = dial("vault.example.com", who=BAD_PEOPLE[who])
    assert not server.established and server.profile == 0 and server.why
    client.feed(server.take())
    assert client.read()[0] == -2  # the client hears it, too: an alert after its own Finished


def test_i07_a_good_one_enters_and_others_need_none() -> None:
    _, server = dial("vault.example.com", who=PERSON)
    assert server.established and server.profile == CLIENT_CA
    assert server.peer_certificate() == PERSON.der
    _, server = dial("wiki.example.com", who=PERSON)
    assert server.established and server.profile == APPLICATION
    assert server.peer_certificate() is None  # nobody asked


def test_i07_revoked() -> None:
    listed = build(revoked=STAFF.revoke(PERSON))
    assert "revoked" in (dial("vault.example.com", listed, who=PERSON)[1].why or "")
    assert dial("vault.example.com", listed, who=STAFF.leaf("urn:person:2", usage=CLIENT))[
        1
    ].established


@pytest.mark.parametrize(
    "bad", [None, b"", b"not PEM", STAFF.pem[:100]], ids=["none", "empty", "no PEM", "torn"]
)
def test_i07_missing_client_ca_or_crl_refuses_everybody(bad: bytes | None) -> None:
    contexts = build(staff=bad)
    assert not dial("vault.example.com", contexts, who=PERSON)[1].established
    assert not dial("vault.example.com", contexts)[1].established
    if bad is not None:
        assert not dial("vault.example.com", build(revoked=bad), who=PERSON)[1].established


def test_i07_a_torn_list_behind_a_good_one_refuses_everybody() -> None:
    """The older list holds, the newer one can't be read: whom it names is unknown."""
    old = STAFF.revoke(STAFF.leaf("urn:person:9", usage=CLIENT))
    assert dial("vault.example.com", build(revoked=old), who=PERSON)[1].established
    for torn in (STAFF.revoke(PERSON)[:200], STAFF.revoke(PERSON).replace(b"MI", b"XX", 1)):
        assert not dial("vault.example.com", build(revoked=old + torn), who=PERSON)[1].established


def test_i07_the_entry_says_that_it_refuses_everybody() -> None:
    contexts = TlsContexts()
    assert contexts.add(
        [], WIKI.certificate, WIKI.key, profile="client_ca", client_ca=b""
    ).refuses_all
    assert not contexts.add(
        [], WIKI.certificate, WIKI.key, profile="client_ca", client_ca=STAFF.pem
    ).refuses_all
    assert not contexts.add([], WIKI.certificate, WIKI.key).refuses_all


def test_certificates_may_be_asked_for_without_being_demanded() -> None:
    contexts = build(require=False)
    _, server = dial("vault.example.com", contexts)
    assert server.established and server.peer_certificate() is None
    _, server = dial("vault.example.com", contexts, who=PERSON)
    assert server.established and server.peer_certificate() == PERSON.der
    assert not dial("vault.example.com", contexts, who=BAD_PEOPLE["other CA"])[1].established


# -- resumption: I02 ----------------------------------------


def resume(
    context: ssl.SSLContext,
    first: str,
    second: str,
    *,
    before: TlsContexts,
    after: TlsContexts,
) -> tuple[TlsEnd, PythonClient]:
    """Make a session for one name, offer it for another; the second connection."""
    server = TlsEnd.server(before)
    client = PythonClient(context, first)
    assert client.shake(server), client.error
    assert client.ssl.session is not None
    server = TlsEnd.server(after)
    client = PythonClient(context, second, client.ssl.session)
    client.shake(server)
    return server, client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_in_every_worker_and_over_key_rotation(version: ssl.TLSVersion) -> None:
    old, new = os.urandom(80), os.urandom(80)
    context = python_context(PUBLIC.pem)
    context.maximum_version = context.minimum_version = version
    wiki = "wiki.example.com"
    here, there = build(TicketKeys([old])), build(TicketKeys([old]))
    assert resume(context, wiki, wiki, before=here, after=there)[0].resumed
    assert resume(context, wiki, wiki, before=here, after=build(TicketKeys([new, old])))[0].resumed
    server, _ = resume(context, wiki, wiki, before=here, after=build(TicketKeys([new])))
    assert server.established and not server.resumed
    server, _ = resume(context, wiki, wiki, before=here, after=build(TicketKeys()))
    assert server.established and not server.resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_i02_a_session_resumes_for_its_own_name_only(version: ssl.TLSVersion) -> None:
    context = python_context(PUBLIC.pem)
    context.maximum_version = context.minimum_version = version
    keys = TicketKeys([os.urandom(80)])
    contexts = build(keys)
    server, _ = resume(
        context, "wiki.example.com", "mail.example.com", before=contexts, after=contexts
    )
    assert server.established and not server.resumed
    server, _ = resume(
        context, "wiki.example.com", "vault.example.com", before=contexts, after=contexts
    )
    assert not server.established and server.profile == 0  # full handshake, certificate demanded
    context.load_verify_locations(cadata=LINKS.pem.decode())
    context.set_alpn_protocols(["sekisho-link/1", "http/1.1"])
    server, _ = resume(
        context, "wiki.example.com", "tunnel.login.example.com", before=contexts, after=contexts
    )
    assert not server.established


def with_certificate(who: Leaf, tmp_path, *anchors: bytes) -> ssl.SSLContext:
    path = tmp_path / "client.pem"
    path.write_bytes(who.certificate + who.key)
    context = python_context(b"".join(anchors))
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_i02_a_resumed_session_keeps_its_certificate_but_not_past_a_changed_ca(
    version, tmp_path
) -> None:
    context = with_certificate(PERSON, tmp_path, PUBLIC.pem)
    context.maximum_version = context.minimum_version = version
    keys = TicketKeys([os.urandom(80)])
    vault = "vault.example.com"
    server, _ = resume(context, vault, vault, before=build(keys), after=build(keys))
    assert server.resumed and server.peer_certificate() == PERSON.der
    for changed in (
        build(keys, staff=OTHER.pem),
        build(keys, revoked=STAFF.revoke(PERSON)),
        build(keys, staff=b""),
    ):
        server, _ = resume(context, vault, vault, before=build(keys), after=changed)
        assert not server.established and not server.resumed


def test_i02_links_neither_get_nor_use_tickets(tmp_path) -> None:
    context = with_certificate(CONNECTOR, tmp_path, LINKS.pem)
    context.set_alpn_protocols(["sekisho-link/1"])
    server = TlsEnd.server(CONTEXTS)
    client = PythonClient(context, "tunnel.login.example.com")
    assert client.shake(server)
    assert client.ssl.session is None or not client.ssl.session.has_ticket


def test_ticket_keys_are_checked() -> None:
    keys = TicketKeys([bytes(80)])
    for bad in ([b"short"], [bytes(80)] * 9, [bytes(81)]):
        with pytest.raises(ValueError, match="ticket key"):
            keys.replace(bad)
    assert keys.size == 1
    keys.replace([bytes(80)] * 8)
    assert keys.size == 8


# -- the dialled side ----------------------------------------


@pytest.mark.parametrize(
    ("name", "trust", "says"),
    [
        (
            "wiki.example.com",
            OTHER.pem,
            "isn't valid for wiki.example.com: unable to get local issuer",
        ),
        ("mail.example.com", PUBLIC.pem, "isn't valid for mail.example.com: hostname mismatch"),
        ("192.0.2.1", PUBLIC.pem, "isn't valid for this address: IP address mismatch"),
    ],
)
def test_i10_a_dialled_certificate_must_be_right(name: str, trust: bytes, says: str) -> None:
    contexts = TlsContexts()
    contexts.add([], WIKI.certificate, WIKI.key, fallback=True)
    client, server = dial(name, contexts, trust=trust)
    assert not client.established
    assert says in (client.why or "")
    assert "alert" in (server.why or "")
    client, _ = dial(name, contexts, trust=trust, verify=False)
    assert client.established  # noTLSVerify


def test_i10_expired_and_by_address() -> None:
    contexts = TlsContexts()
    contexts.add(
        ["old.example.com"], *pem(PUBLIC.leaf("old.example.com", start=-3 * DAY, end=-DAY))
    )
    contexts.add([], *pem(PUBLIC.leaf("192.0.2.1", "2001:db8::1")), fallback=True)
    assert "has expired" in (dial("old.example.com", contexts)[0].why or "")
    assert dial("192.0.2.1", contexts)[0].established
    assert dial("[2001:db8::1]", contexts)[0].established


def pem(leaf: Leaf) -> tuple[bytes, bytes]:
    return leaf.certificate, leaf.key


def test_dialling_checks_its_arguments() -> None:
    with pytest.raises(TlsError, match="neither a host name"):
        TlsEnd.client(TlsClientContext(trust=PUBLIC.pem), "not a name")
    with pytest.raises(TlsError, match="no certificate in the trust"):
        TlsClientContext(trust=b"")
    assert TlsClientContext().verify  # the system's anchors
    assert not TlsClientContext(verify=False).verify


def test_a_server_that_is_too_old_for_us() -> None:
    contexts = TlsContexts()
    contexts.add([], WIKI.certificate, WIKI.key, fallback=True)
    client = TlsEnd.client(TlsClientContext(trust=PUBLIC.pem, minimum="1.3"), "wiki.example.com")
    assert pump(client, TlsEnd.server(contexts)) == (1, 1)
