"""Section D at the normaliser: the path that the policy judges is the path that the origin gets."""

import pytest

from _fastpath.errors import WireError
from _fastpath.head import normal_path
from _fastpath.route import compared, path_covers


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        pytest.param(path, normal, id=f"{row}-{path!a}")
        for row, path, normal in [
            ("D01", b"/%61dmin", b"/admin"),
            ("D01", b"/adm%69n", b"/admin"),
            ("D01", b"/%7e%2D%5f%2E5", b"/~-_.5"),
            ("D02", b"/public/../admin", b"/admin"),
            ("D02", b"/./admin", b"/admin"),
            ("D02", b"/x/./../admin", b"/admin"),
            ("D02", b"/admin/.", b"/admin/"),
            ("D02", b"/a/..", b"/"),
            ("D02", b"/a/b/..", b"/a/"),
            ("D02", b"/a/b/../", b"/a/"),
            ("D02", b"/.", b"/"),
            ("D02", b"/a/b/c/../../d", b"/a/d"),
            ("D02", b"/...", b"/..."),
            ("D02", b"/.a/..b", b"/.a/..b"),
            ("D03", b"/public/%2e%2e/admin", b"/admin"),
            ("D03", b"/%2e/admin", b"/admin"),
            ("D03", b"/public/.%2e/admin", b"/admin"),
            ("D03", b"/public/%2E./admin", b"/admin"),
            ("D04", b"//admin", b"/admin"),
            ("D04", b"///admin", b"/admin"),
            ("D04", b"/public//..//admin", b"/admin"),
            ("D04", b"/a//", b"/a/"),
            ("D04", b"//", b"/"),
            ("D07", b"/admin;x", b"/admin;x"),
            ("D07", b"/a;b=1;c/d", b"/a;b=1;c/d"),
            ("D07", b"/a%3bx", b"/a%3Bx"),
            ("D08", b"/%2561dmin", b"/%2561dmin"),
            ("D08", b"/100%25", b"/100%25"),
            ("D08", b"/%252", b"/%252"),
            ("D08", b"/%25zz", b"/%25zz"),
            ("D08", b"/%2525", b"/%2525"),
            ("D09", b"/admin.", b"/admin."),
            ("D09", b"/admin/", b"/admin/"),
            ("D09", b"/a%20b", b"/a%20b"),
            ("D09", b"/%20a", b"/%20a"),
            ("D10", b"/ADMIN", b"/ADMIN"),
            ("D12", b"/%ef%bd%81dmin", b"/%EF%BD%81dmin"),
            ("D12", b"/%c3%a9%E2%82%AC%f0%9f%98%80", b"/%C3%A9%E2%82%AC%F0%9F%98%80"),
            ("D12", b"/%ed%9f%bf%ee%80%80%f4%8f%bf%bf", b"/%ED%9F%BF%EE%80%80%F4%8F%BF%BF"),
            ("-", b"/", b"/"),
            ("-", b"/a+b!$&'()*,=:@", b"/a+b!$&'()*,=:@"),
            ("-", b"/%2b%3f%23", b"/%2B%3F%23"),
            ("-", b"/[x]{y}|^`z", b"/[x]{y}|^`z"),
        ]
    ],
)
def test_normal_form(path: bytes, normal: bytes) -> None:
    assert normal_path(path) == normal
    assert normal_path(normal) == normal


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param(path, reason, id=f"{row}-{path!a}")
        for row, path, reason in [
            ("B15", b"/%", "path-escape-invalid"),
            ("B15", b"/%1", "path-escape-invalid"),
            ("B15", b"/%zz", "path-escape-invalid"),
            ("B15", b"/%1z", "path-escape-invalid"),
            ("B15", b"/%u002e", "path-escape-invalid"),
            ("B15", b"/%00", "path-control"),
            ("D02", b"/..", "path-above-root"),
            ("D02", b"/a/../..", "path-above-root"),
            ("D02", b"/../admin", "path-above-root"),
            ("D05", b"/public/..%2fadmin", "path-slash-encoded"),
            ("D05", b"/admin%2fx", "path-slash-encoded"),
            ("D05", b"/%2Fadmin", "path-slash-encoded"),
            ("D05", b"%2fadmin", "target-invalid"),
            ("D06", b"/public/..%5cadmin", "path-backslash"),
            ("D06", b"/public\\..\\admin", "path-backslash"),
            ("D06", b"/\\admin", "path-backslash"),
            ("D07", b"/public/..;/admin", "path-dot-parameter"),
            ("D07", b"/public/..;x=1/admin", "path-dot-parameter"),
            ("D07", b"/.;/admin", "path-dot-parameter"),
            ("D07", b"/%2e%2e;/admin", "path-dot-parameter"),
            ("D07", b"/public/..%3b/admin", "path-dot-parameter"),
            ("D07", b"/admin;/../public", "path-dot-parameter"),
            ("D07", b"/./admin;x", "path-dot-parameter"),
            ("D08", b"/public/%252e%252e/admin", "path-double-encoded"),
            ("D08", b"/a%252fb", "path-double-encoded"),
            ("D08", b"/a%255cb", "path-double-encoded"),
            ("D08", b"/%25252e", "path-double-encoded"),
            ("D08", b"/%2500", "path-double-encoded"),
            ("D08", b"/%257f", "path-double-encoded"),
            ("D09", b"/admin%00", "path-control"),
            ("D09", b"/admin%09", "path-control"),
            ("D09", b"/admin%20", "path-control"),
            ("D09", b"/admin%0d%0a", "path-control"),
            ("D09", b"/admin%7f", "path-control"),
            ("D09", b"/admin%20/x", "path-control"),
            ("D09", b"/admin%20;x", "path-control"),
            ("D09", b"/a;b%20", "path-control"),
            ("D11", b"/%c0%ae%c0%ae/admin", "path-not-utf8"),
            ("D11", b"/%e0%80%af", "path-not-utf8"),
            ("D11", b"/%ff", "path-not-utf8"),
            ("D11", b"/%80", "path-not-utf8"),
            ("D11", b"/%c3", "path-not-utf8"),
            ("D11", b"/%c3x", "path-not-utf8"),
            ("D11", b"/%ed%a0%80", "path-not-utf8"),
            ("D11", b"/%f0%80%80%80", "path-not-utf8"),
            ("D11", b"/%f4%90%80%80", "path-not-utf8"),
            ("D11", b"/%f5%80%80%80", "path-not-utf8"),
            ("D11", b"/%e2%82", "path-not-utf8"),
            ("D14", b"/public#/admin", "target-invalid"),
            ("D14", b"/public?x", "target-invalid"),
            ("-", b"", "target-invalid"),
            ("-", b"admin", "target-invalid"),
            ("-", b"/\xc3\xa9", "target-invalid"),
            ("-", b"/" + b"a" * 8192, "target-too-long"),
        ]
    ],
)
def test_refused(path: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        normal_path(path)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/group%2fproject/x", b"/group%2Fproject/x"),
        (b"/a%2Fb%2Fc%2f", b"/a%2Fb%2Fc%2F"),
        (b"/a;b%2Fc", b"/a;b%2Fc"),
        (b"/a;%2Fc", b"/a;%2Fc"),
        (b"/a%2F.b", b"/a%2F.b"),
    ],
)
def test_d05_an_application_may_opt_in_to_encoded_slashes(path: bytes, normal: bytes) -> None:
    assert normal_path(path, True) == normal
    assert normal_path(normal, True) == normal


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/public/..%2fadmin", "path-slash-encoded"),
        (b"/a%2f..", "path-slash-encoded"),
        (b"/a%2f.%2fb", "path-slash-encoded"),
        (b"/a%2f%2e%2E/b", "path-slash-encoded"),
        (b"/%2fadmin", "path-slash-encoded"),
        (b"/a%2f%2fb", "path-slash-encoded"),
        (b"/a%20%2fb", "path-slash-encoded"),
        (b"/a%2f..;x", "path-dot-parameter"),
    ],
)
def test_d05_not_even_then_pieces_that_an_origin_would_resolve(path: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        normal_path(path, True)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("rule", "path", "covered"),
    [
        pytest.param(rule, path, covered, id=f"{row}-{rule!a}-{path!a}")
        for row, rule, path, covered in [
            ("D07", b"/admin", b"/admin;x", True),
            ("D07", b"/admin", b"/admin;x/y", True),
            ("D07", b"/admin", b"/admin%3Bx", True),
            ("D07", b"/admin", b"/adm;in", False),
            ("D09", b"/admin", b"/admin.", True),
            ("D09", b"/admin", b"/admin/", True),
            ("D09", b"/admin", b"/admin..;x/y", True),
            ("D10", b"/admin", b"/ADMIN", False),
            ("D12", b"/admin", b"/%EF%BD%81dmin", False),
            ("D13", b"/admin", b"/admin", True),
            ("D13", b"/admin", b"/admin/x", True),
            ("D13", b"/admin", b"/administrator", False),
            ("D13", b"/admin", b"/admin2", False),
            ("D13", b"/admin", b"/", False),
            ("D13", b"/admin", b"/x/admin", False),
            ("D13", b"/a/b", b"/a/b/c", True),
            ("D13", b"/a/b", b"/a", False),
            ("D13", b"/a/b", b"/a/bc", False),
            ("D13", b"/a/b", b"/a;x/b.", True),
            ("D13", b"/a%3", b"/a%3", True),
            ("-", b"", b"/", True),
        ]
    ],
)
def test_what_a_rule_speaks_about(rule: bytes, path: bytes, covered: bool) -> None:
    assert path_covers(rule, compared(path)) is covered
