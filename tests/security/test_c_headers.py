"""Section C of negative-cases.md: headers, hop-by-hop, identity, client address."""

import pytest

from tests.kit.origin import Seen
from tests.security.checkpoint import Checkpoint
from tests.security.rows import OPEN, A, Pass, Row, chunked, request, table

EMAIL = "cf-access-authenticated-user-email"
ASSERTION = "cf-access-jwt-assertion"
OWNED = (EMAIL, ASSERTION, "cf-connecting-ip", "cf-ray", "cf-ipcountry", "x-real-ip",
         "true-client-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")


def sent(checkpoint: Checkpoint, *fields: str | bytes, host: str = OPEN) -> Seen:
    """Send one GET (signed in where the host needs it) and return what the origin saw."""
    cookie = [f"Cookie: {checkpoint.cookie(host)}"] if host != OPEN else []
    if cookie:
        checkpoint.clear()
    with checkpoint.client() as c:
        answer = c.send(request(*cookie, *fields, host=host)).answer()
        assert answer.status == 200, answer.body[:300]
    return checkpoint.origin.wait(1)[0]


@pytest.mark.parametrize("host", [OPEN, A], ids=["bypass", "signed-in"])
@pytest.mark.parametrize("fields", [
    ["Cf-Access-Authenticated-User-Email: root@example.com"],
    ["CF-ACCESS-AUTHENTICATED-USER-EMAIL: root@example.com"],
    ["cf-access-authenticated-user-email:   root@example.com  "] * 2,
    ["Cf-Access-Jwt-Assertion: e30.e30.x"],
    ["Cf-Anything-New: root"],
], ids=["plain", "upper", "twice", "assertion", "any-cf"])
def test_c01_identity_from_the_client(checkpoint: Checkpoint, host: str, fields: list[str]) -> None:
    """C01: never reaches the origin, on every application, bypass ones too."""
    seen = sent(checkpoint, *fields, host=host)
    assert seen.all(EMAIL) == (["alice@example.com"] if host == A else [])
    assert b"root" not in seen.raw and b"e30.e30" not in seen.raw


@pytest.mark.parametrize("name", [
    b"Cf_Access_Authenticated_User_Email", b"cf-access_authenticated-user-email",
    b"Cf.Access.Authenticated.User.Email", b"Cf-Access-Authenticated-User-Email ",
    b"Cf-Access-Authenticated-User-Email\xa0", b"X_Forwarded_For", b"x_real_ip",
])
def test_c02_names_that_an_origin_may_fold(checkpoint: Checkpoint, name: bytes) -> None:
    """C02: refused, or no field arrives that maps to the variable of ours."""
    with checkpoint.client() as c:
        answer = c.send(request(name + b": evil-root")).answer()
    if answer.status == 400:
        assert not checkpoint.origin.requests
        return
    seen = checkpoint.origin.wait(1)[0]
    cgi = {n.upper().strip().replace("-", "_"): v for n, v in seen.fields if v == "evil-root"}
    ours = {n.upper().replace("-", "_") for n in OWNED}
    assert not ours & set(cgi), cgi


@pytest.mark.parametrize("listed", [
    "Cf-Access-Authenticated-User-Email", "cf-access-authenticated-user-email",
    "close, Cf-Access-Authenticated-User-Email, cf-access-jwt-assertion",
])
def test_c03_connection_names_identity(checkpoint: Checkpoint, listed: str) -> None:
    """C03: the edge's identity stays, and no such Connection line goes on."""
    seen = sent(checkpoint, f"Connection: {listed}", host=A)
    assert seen.all(EMAIL) == ["alice@example.com"] and len(seen.all(ASSERTION)) == 1
    assert not any("cf-" in v.lower() for v in seen.all("connection"))


def test_c04_connection_names_what_we_set(checkpoint: Checkpoint) -> None:
    """C04: what the edge set is there, whatever Connection lists."""
    listed = "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Real-IP, Authorization, Cookie"
    seen = sent(checkpoint, f"Connection: {listed}", "Authorization: Bearer x", host=A)
    assert seen.all("x-forwarded-for") == ["127.0.0.1"] and seen.all("x-forwarded-proto") == ["http"]
    assert seen.all("x-real-ip") == ["127.0.0.1"]


@pytest.mark.parametrize("listed", ["Host", "Content-Length", "Transfer-Encoding"])
def test_c05_connection_names_framing(checkpoint: Checkpoint, listed: str) -> None:
    """C05: Host and framing arrive intact, or the request is refused."""
    with checkpoint.client() as c:
        answer = c.send(request(f"Connection: {listed}", "Content-Length: 5",
                                first="POST / HTTP/1.1", body=b"hello")).answer()
    if answer.status == 400:
        assert not checkpoint.origin.requests
    else:
        seen = checkpoint.origin.wait(1)[0]
        assert seen.all("host") == [OPEN] and seen.body == b"hello"


def test_c06_hop_by_hop(checkpoint: Checkpoint) -> None:
    """C06: none of them goes on; TE only as `trailers`."""
    seen = sent(checkpoint, "Keep-Alive: timeout=9", "Proxy-Connection: close", "TE: trailers, x",
                "Trailer: X-T", "Upgrade: x", "Proxy-Authorization: Basic eA==",
                "Proxy-Authenticate: Basic", "Connection: X-Mine, keep-alive", "X-Mine: 1")
    for name in ("keep-alive", "proxy-connection", "trailer", "upgrade", "proxy-authorization",
                 "proxy-authenticate", "x-mine"):
        assert not seen.all(name), name
    assert seen.all("te") in ([], ["trailers"])


def test_c07_forwarded_for_from_a_stranger(checkpoint: Checkpoint) -> None:
    """C07: replaced by the peer's address, for the origin and for the policy."""
    assert sent(checkpoint, "X-Forwarded-For: 10.0.0.1").all("x-forwarded-for") == ["127.0.0.1"]
    checkpoint.clear()
    with checkpoint.client() as c:
        answer = c.send(request("X-Forwarded-For: 10.0.0.1", "CF-Connecting-IP: 10.0.0.1",
                                "X-Real-IP: 10.0.0.1", host="office.sekisho.localhost")).answer()
    assert answer.status in (302, 401, 403)
    assert not checkpoint.origin.requests


def test_c10_addresses_from_the_client(checkpoint: Checkpoint) -> None:
    """C10: overwritten or gone."""
    seen = sent(checkpoint, "X-Real-IP: 10.0.0.1", "True-Client-IP: 10.0.0.1",
                "CF-Connecting-IP: 10.0.0.1", "X_Real_IP: 10.0.0.1", "CF-IPCountry: JP")
    assert seen.all("x-real-ip") == ["127.0.0.1"]
    assert seen.all("cf-connecting-ip") == ["127.0.0.1"]
    assert not seen.all("true-client-ip") and not seen.all("cf-ipcountry")
    assert b"10.0.0.1" not in seen.raw


def test_c11_proxy_protocol_from_a_stranger(checkpoint: Checkpoint) -> None:
    """C11: a PROXY preface where none is configured ends the connection; the origin sees nothing."""
    for preface in (
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + bytes(12),
    ):
        with checkpoint.client() as c:
            c.send(preface + request())
            assert c.closed() is not None
    assert not checkpoint.origin.requests


def test_c12_authorization_is_the_origins(checkpoint: Checkpoint) -> None:
    """C12: Authorization passes untouched; service-token headers of ours don't."""
    seen = sent(checkpoint, "Authorization: Bearer x.y=", "CF-Access-Client-Id: abc",
                "CF-Access-Client-Secret: def", "Cf-Access-Token: ghi")
    assert seen.all("authorization") == ["Bearer x.y="]
    for name in ("cf-access-client-id", "cf-access-client-secret", "cf-access-token"):
        assert not seen.all(name)


@pytest.mark.parametrize("name", ["CF-Access-Client-Id", "CF-Access-Client-Secret",
                                  "Cf-Access-Token"])
def test_c13_ours_twice(checkpoint: Checkpoint, name: str) -> None:
    """C13: a credential field of ours that comes twice is no credential."""
    good = checkpoint.token(A)
    checkpoint.clear()
    with checkpoint.client() as c:
        answer = c.send(request(f"{name}: {good}", f"{name}: {good}", host=A)).answer()
    assert answer.status in (302, 400, 401, 403)
    assert not checkpoint.origin.requests


def test_c14_trailer_names_host(checkpoint: Checkpoint) -> None:
    """C14: a Host in a trailer that Connection nominates changes nothing."""
    row = Pass("C14", "host in trailer", chunked(
        b"0\r\nHost: evil\r\n\r\n", "Connection: Host", "Trailer: Host"))
    with checkpoint.client() as c:
        answer = c.send(row.send if isinstance(row.send, bytes) else b"").answer()
    if answer.status == 200:
        seen = checkpoint.origin.wait(1)[0]
        assert seen.all("host") == [OPEN] and b"evil" not in checkpoint.origin.raw[seen.connection]
    else:
        assert answer.status == 400 and not checkpoint.origin.requests


def test_identity_is_the_token(checkpoint: Checkpoint) -> None:
    """C01, K06: the origin gets the assertion byte for byte, and none of our cookies."""
    seen = sent(checkpoint, "Cookie: theme=dark", host=A)
    assert seen.all(ASSERTION) == [checkpoint.token(A)]
    assert all("CF_" not in v for v in seen.all("cookie"))


BIG = [
    Row("C16", "head over the limit", request(*[f"X-{i}: {'v' * 1000}" for i in range(70)]), (431,)),
    Row("F01", "one line over 32 KiB", request("X: " + "v" * 33000), (431,)),
    Row("F01", "101 fields", request(*[f"X-{i}: 1" for i in range(101)]), (431,)),
    Row("F01", "target over 8 KiB", request(first=f"GET /{'a' * 8300} HTTP/1.1"), (414,)),
    Row("F15", "300 cookies", request(*[f"Cookie: a{i}=b" for i in range(300)]), (431,)),
]


@pytest.mark.parametrize("row", table(BIG))
def test_limits(checkpoint: Checkpoint, row: Row) -> None:
    checkpoint.refused(row)
