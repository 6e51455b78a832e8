"""Host and path to application: what covers what, and which of several decides (D01–D15)."""

import random

import pytest

from _fastpath.head import normal_path
from _fastpath.route import compared, hash_text
from tests.kit.policy_cases import compiled
from tests.kit.soak import scaled, soak

EVERYONE = [{"name": "p", "decision": "bypass", "include": [{"everyone": {}}]}]


def snapshot(*domains: str, **more: dict[str, object]):
    """One application for each domain, named by it."""
    return compiled(
        applications=[
            {"name": domain, "domain": domain, "policies": EVERYONE, **more.get(domain, {})}
            for domain in domains
        ]
    )


def found(shot, host: str, path: str) -> str | None:
    app = shot.place(host.encode(), path.encode())["application"]
    return app["name"] if app else None


def test_siphash_is_the_papers() -> None:
    """SipHash-1-3 under key 00 01 … 0f, of 0, 1, … n-1: values of the reference implementation."""
    key = bytes(range(16))
    assert hash_text(key, b"") == 0xABAC0158050FC4DC
    assert hash_text(key, bytes(range(8))) == 0x369095118D299A8E
    with pytest.raises(ValueError, match="16 bytes"):
        hash_text(b"short", b"")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "app.example.com"),
        ("/admin", "app.example.com/admin"),
        ("/admin/", "app.example.com/admin"),
        ("/admin/x/y", "app.example.com/admin"),
        # D13: whole segments
        ("/administrator", "app.example.com"),
        ("/admin2", "app.example.com"),
        ("/admi", "app.example.com"),
        ("/admin-x", "app.example.com"),
        # D07, D09: what some origins ignore is not told apart
        ("/admin;x", "app.example.com/admin"),
        ("/admin.", "app.example.com/admin"),
        ("/admin./x", "app.example.com/admin"),
        ("/admin;a=1/x", "app.example.com/admin"),
        ("/admin%3Bx", "app.example.com/admin"),
        # D10: case counts
        ("/ADMIN", "app.example.com"),
        # D12: full width is another letter
        ("/%EF%BD%81dmin", "app.example.com"),
    ],
)
def test_a_path_covers_whole_segments(path: str, name: str) -> None:
    shot = snapshot("app.example.com", "app.example.com/admin")
    assert found(shot, "app.example.com", path) == name


ADMIN = "/%61dmin /adm%69n /public/../admin /./admin //admin /public/%2e%2e/admin /%2e/admin /admin/."


@pytest.mark.parametrize("path", [*ADMIN.split(), "///admin"])
def test_the_normal_form_is_what_is_compared(path: str) -> None:
    """D01, D02, D03, D04: the path that the policy sees is the one that the origin gets."""
    shot = snapshot("app.example.com", "app.example.com/admin")
    normal = normal_path(path.encode(), True).decode()
    assert found(shot, "app.example.com", normal) == "app.example.com/admin"


def test_an_escaped_delimiter_is_the_delimiter() -> None:
    shot = snapshot("app.example.com", "app.example.com/a+b@c")
    for path in ("/a+b@c", "/a%2Bb@c", "/a%2Bb%40c/x"):
        assert found(shot, "app.example.com", path) == "app.example.com/a+b@c"
    assert compared(b"/a%2Fb") == b"/a%2Fb"
    assert compared(b"/a%E3%81%82;x/b..") == b"/a%E3%81%82/b"
    assert compared(b"/.../x") == b"/.../x"
    with pytest.raises(ValueError, match="longer"):
        compared(b"/" * 9000)


def test_case_insensitive_paths() -> None:
    """D10 with the option: any ASCII case is denied alike."""
    inner = "app.example.com/Admin"
    shot = snapshot("app.example.com", inner, **{inner: {"case_insensitive_paths": "true"}})
    for path in ("/admin", "/ADMIN/x", "/aDmIn"):
        assert found(shot, "app.example.com", path) == inner
    assert found(shot, "app.example.com", "/administrator") == "app.example.com"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/files/a/secret", "/files/*/secret"),
        ("/files/a/b/secret", "/files/*/secret"),
        ("/files/a/b/secret/x", "/files/*/secret"),
        ("/files/a/secrets", "/files/*"),
        ("/files/secret", "/files/*"),
        ("/files/", "/files/*"),
        ("/files", ""),
        ("/files/known/secret", "/files/known"),
        ("/img/cat.png", "/img"),
        ("/img", "/img"),
        ("/images", ""),
        ("/imgs/x", "/img*"),
    ],
)
def test_stars(path: str, name: str) -> None:
    shot = snapshot(
        "a.example.com", "a.example.com/files/*", "a.example.com/files/*/secret",
        "a.example.com/files/known", "a.example.com/img*", "a.example.com/img",
    )  # fmt: skip
    assert found(shot, "a.example.com", path) == f"a.example.com{name}"


def test_hosts() -> None:
    shot = snapshot("a.example.com/x", "*.example.com", "*.b.example.com")
    assert found(shot, "a.example.com", "/x") == "a.example.com/x"
    assert (
        found(shot, "a.example.com", "/y") == "*.example.com"
    )  # most specific of those that cover
    assert found(shot, "q.example.com", "/") == "*.example.com"
    for host in ("example.com", "x.y.example.com", ".example.com", "", "other.org", "com"):
        assert found(shot, host, "/") is None
        assert not shot.place(host.encode(), b"/")["host_known"]
    assert found(shot, "q.b.example.com", "/") == "*.b.example.com"
    assert found(shot, "a.example.com", "/" * 9000) is None  # longer than any request's target


def test_routes_and_applications_are_separate() -> None:
    shot = compiled(
        routes=[
            {"hostname": "*.example.com", "service": "http://10.0.0.7:3000"},
            {"hostname": "a.example.com", "tunnel": "office"},
            {"hostname": "bare.example.org", "tunnel": "nowhere"},
        ],
        applications=[
            {"name": "W", "domain": "*.example.com", "policies": EVERYONE},
            {"name": "N", "domain": "no.route.example.net", "policies": EVERYONE},
        ],
    )
    place = shot.place(b"a.example.com", b"/")
    assert (place["application"]["name"], place["route"]["tunnel_id"]) == ("W", "1" * 36)
    place = shot.place(b"b.example.com", b"/")
    assert (place["application"]["name"], place["route"]["host"]) == ("W", "10.0.0.7")
    place = shot.place(b"bare.example.org", b"/")
    assert (place["application"], place["route"]["tunnel_id"]) == (None, "")
    place = shot.place(b"no.route.example.net", b"/")
    assert (place["application"]["name"], place["route"]) == ("N", None)
    # the auth domain is control's, though a wildcard covers its name
    place = shot.place(b"login.example.com", b"/x")
    assert (place["application"], place["route"]["kind"]) == (None, "control")


def best(domains: list[str], host: str, path: str) -> str | None:
    """D15, the model: of everything that covers this, the most specific."""

    def covers(pattern: str) -> bool:
        if not pattern or path == pattern or path.startswith(pattern + "/"):
            return True
        if "*" not in pattern:
            return False
        ends = [i for i in range(len(path) + 1) if i == len(path) or path[i] == "/"]
        return any(glob(pattern, path[:end]) for end in ends)

    def glob(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(glob(pattern[1:], text[i:]) for i in range(len(text) + 1))
        return bool(text) and text[0] == pattern[0] and glob(pattern[1:], text[1:])

    candidates = []
    for domain in domains:
        name, _, rest = domain.partition("/")
        pattern = "/" + rest if rest else ""
        exact = name == host
        if (exact or name == "*." + host.partition(".")[2]) and covers(pattern):
            literal = pattern.partition("*")[0]
            rank = (exact, len(literal), len(pattern.replace("*", "")), "*" not in pattern)
            candidates.append((rank, [-ord(c) for c in pattern], domain))
    return max(candidates)[2] if candidates else None


@soak
def test_most_specific_wins() -> None:
    """D15: against the model, 100,000 random sets of applications with 40 requests each."""
    dice = random.Random(15)
    segments = ["a", "b", "ab", "*", "a*", "*b", "a-b", "a.b"]
    hosts = ["x.example.com", "*.example.com", "y.example.com"]
    checked = 0
    sets = scaled(100_000)
    for _ in range(sets):
        domains = sorted({
            "/".join([dice.choice(hosts), *dice.choices(segments, k=dice.randrange(4))])
            for _ in range(dice.randrange(1, 8))
        })  # fmt: skip
        shot = snapshot(*domains)
        for _ in range(40):
            host = dice.choice(["x.example.com", "y.example.com", "z.example.com"])
            words = ["a", "b", "ab", "aab", "c", "a-b", "a.b", "abb"]
            path = "/" + "/".join(dice.choice(words) for _ in range(dice.randrange(5)))
            path += dice.choice(["", "", "/"]) if path != "/" else ""
            assert found(shot, host, path) == best(domains, host, path), (domains, host, path)
            checked += 1
    assert checked == 40 * sets
