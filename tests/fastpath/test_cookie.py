"""cookie.pyx: ours found strictly, stripped generously. Section K as far as bytes go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath.cookie import find_cookie, strip_cookies

NAME = b"CF_Authorization"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"CF_Authorization=a.b.c", (1, b"a.b.c")),
        (b"x=1; CF_Authorization=a.b.c; y=2", (1, b"a.b.c")),
        (b"x=1;CF_Authorization=a.b.c;y=2", (1, b"a.b.c")),
        (b"x=1;   CF_Authorization=a=b=c", (1, b"a=b=c")),
        (b"CF_Authorization=", (1, b"")),
        (b"", (0, b"")),
        (b";", (0, b"")),
        (b"; ;", (0, b"")),
        (b"=", (0, b"")),
        (b"x=1", (0, b"")),
        (b"CF_Authorization=a; CF_Authorization=b", (2, b"b")),  # K01
        (b"CF_Authorization=a; x=1; CF_Authorization=a", (2, b"a")),  # K01
    ],
)
def test_k01_cookies_are_counted(header: bytes, found: tuple[int, bytes]) -> None:
    assert find_cookie(header, NAME) == found


@pytest.mark.parametrize(
    "before", [b"\t", b"\xa0", b"\x85", b"\xe2\x80\x80", b"\x0b", b"\r", b"\x00", b"\xc2\xa0"]
)
def test_k02_no_white_space_is_trimmed_but_sp(before: bytes) -> None:
    for header in (before + NAME + b"=a", b"x=1; " + before + NAME + b"=a", NAME + before + b"=a"):
        assert find_cookie(header, NAME)[0] == 0
        assert strip_cookies(header)[1] == 1  # a laxer origin must not see it


@pytest.mark.parametrize(
    "header",
    [
        b"=CF_Authorization=x",
        b"CF_Authorization",
        b'CF_Authorization="a.b.c"',
        b"cf_authorization=a",
        b"CF_Authorization =a",
        b"CF_Authorization_2=a",
        b"xCF_Authorization=a",
        b"$CF_Authorization=a",
        b'x="; CF_Authorization="',
    ],
)
def test_k03_what_only_looks_like_ours(header: bytes) -> None:
    assert find_cookie(header, NAME)[0] == 0


def test_k03_no_rfc_2109() -> None:
    assert find_cookie(b'$Version=1; CF_Authorization=a; $Path="/"', NAME) == (1, b"a")
    assert find_cookie(b'$Version=1; x="1, CF_Authorization=b"; CF_Authorization=a', NAME) == (
        1,
        b"a",
    )


@pytest.mark.parametrize(
    ("header", "left", "dropped"),
    [
        (b"a=1; CF_Authorization=x; b=2", b"a=1; b=2", 1),
        (b"CF_Authorization=x; b=2", b"b=2", 1),
        (b"a=1; CF_Authorization=x", b"a=1", 1),
        (b"CF_Authorization=x", b"", 1),
        (b"CF_Authorization_0123456789ab=x; CF_Authorization=y; a=1", b"a=1", 2),
        (b"CF_AppSession=x; CF_Binding=y; __Host-CF_Device=z; CF_Session=s; a=1", b"a=1", 4),
        (b"__Host-CF_AppSession=x; =__host-cf_Flow=y; __Host-CF_Cleared=1; a=1", b"a=1", 3),
        (b"a=1;CF_Binding=y;b=2", b"a=1;b=2", 1),
        (b"a=1;;  ; b=2;", b"a=1; b=2", 0),
        (
            b"CF_AppSession2=x; CF_Bindings=y; __Host-other=z",
            b"CF_AppSession2=x; CF_Bindings=y; __Host-other=z",
            0,
        ),
        (
            b'cf_authorization=x; =CF_Authorization=y; "CF_Authorization"=z; CF_Authorization; a=1',
            b"a=1",
            4,
        ),
        (b"theme=dark; note=CF_Authorization", b"theme=dark; note=CF_Authorization", 0),
        (b"", b"", 0),
    ],
)
def test_k06_ours_are_stripped(header: bytes, left: bytes, dropped: int) -> None:
    assert strip_cookies(header) == (left, dropped)


PIECES = st.lists(
    st.sampled_from(
        [
            b";",
            b"; ",
            b" ",
            b"=",
            b"a",
            b"b=1",
            b"CF_Authorization",
            b"CF_Authorization=x.y.z",
            b"\t",
            b'"',
            b"\xff",
            b"cf_binding",
            b"__Host-CF_",
            b"__Host-CF_AppSession=1",
            b"$Version=1",
            b",",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(PIECES)
def test_stripping_leaves_nothing_of_ours_and_keeps_the_rest(header: bytes) -> None:
    left, dropped = strip_cookies(header)
    assert len(left) <= len(header)
    assert strip_cookies(left) == (left, 0)  # idempotent
    assert find_cookie(left, NAME)[0] == 0
    pairs = [pair.lstrip(b" ") for pair in header.split(b";")]
    kept = [pair for pair in pairs if pair and strip_cookies(pair)[1] == 0]
    assert [pair.lstrip(b" ") for pair in left.split(b";") if pair] == kept
    assert dropped == sum(1 for pair in pairs if strip_cookies(pair)[1])


@given(PIECES)
def test_finding_agrees_with_a_plain_reference(header: bytes) -> None:
    values = [
        pair.lstrip(b" ")[len(NAME) + 1 :]
        for pair in header.split(b";")
        if pair.lstrip(b" ").startswith(NAME + b"=")
        and not pair.lstrip(b" ").startswith(NAME + b'="')
    ]
    assert find_cookie(header, NAME) == (len(values), values[-1] if values else b"")
