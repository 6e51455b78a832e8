"""Sections A, B, C at the parser: every row whole, byte by byte and with a tail (head_feeds)."""

import pytest

from _fastpath.http1 import parse_request, parse_rounds
from tests.kit.head_feeds import CHUNKED, HOST, MORE, accepted, head, judge, verdict


def case(row: str, data: bytes, reason: str, note: str = "") -> object:
    return pytest.param(data, reason, id=f"{row}-{note or reason}")


def lengths(row: str, *values: bytes) -> list[object]:
    return [
        case(row, head(b"Content-Length: " + v), "length-invalid", v.decode("latin-1"))
        for v in values
    ]


def codings(row: str, reason: str, *values: bytes) -> list[object]:
    return [case(row, head(b"Transfer-Encoding: " + v), reason, ascii(v)) for v in values]


WRAPS = b"\x0b\x0c\x00\x1f\xa0\x85\xff"

REFUSED = [
    # A: framing
    case("A01", head(b"Content-Length: 5", CHUNKED), "length-and-encoding"),
    case("A01", head(CHUNKED, b"Content-Length: 5"), "length-and-encoding", "other order"),
    case("A02", head(b"Content-Length: 1", b"Content-Length: 0"), "length-repeated"),
    case("A03", head(b"Content-Length: 5", b"Content-Length: 5"), "length-repeated"),
    *lengths("A04", b"5, 5", b"5,6"),
    *lengths("A05", b"+5", b"-5", b"5 5", b"0x5", b"1_0", b"5;", b"1Z", b"5.0", b"1e1"),
    *lengths("A06", b""),
    case(
        "A06",
        head(b"Content-Length:", b"Content-Length: 5"),
        "length-repeated",
        "before a valid one",
    ),
    case(
        "A06",
        head(b"Content-Length: 5", b"Content-Length: "),
        "length-repeated",
        "after a valid one",
    ),
    *lengths("A07", b"010", b"00"),
    *lengths(
        "A08",
        b"9" * 20,
        b"1" + b"0" * 18,
        b"9223372036854775808",
        b"18446744073709551616",
        b"18446744073709551621",
    ),
    case("A09", head(b"Content-Length : 5"), "field-name-invalid", "space before the colon"),
    case("A09", head(b"Content-Length\t: 5"), "field-name-invalid", "tab before the colon"),
    case("A10", head(b"Transfer-Encoding: identity", b"Content-Length: 5"), "length-and-encoding"),
    *codings("A10", "encoding-invalid", b"identity"),
    *codings(
        "A11",
        "encoding-invalid",
        b"xchunked",
        b"chunkedchunked",
        b"chunk",
        b'"chunked"',
        b"'chunked'",
        b"blegh",
        b"chunked;q=1",
    ),
    *codings(
        "A12", "encoding-invalid", b"chunked, identity", b"chunked, chunked", b"chunked, gzip"
    ),
    *codings(
        "A13",
        "encoding-unsupported",
        b"gzip, chunked",
        b"deflate,chunked",
        b"gzip , x-gzip, chunked",
        b"compress, x-compress,chunked",
    ),
    *codings("A13", "encoding-invalid", b"gzip", b"br, chunked", b"gzip,,chunked"),
    case("A14", head(CHUNKED, CHUNKED), "encoding-invalid", "two lines"),
    *codings("A15", "encoding-invalid", b",chunked", b"chunked,", b"", b","),
    *[
        case(
            "A16",
            head(b"Transfer-Encoding: " + value),
            "field-value-invalid" if w < 0x20 else "encoding-invalid",
            ascii(value),
        )
        for w in WRAPS
        for value in (
            bytes([w]) + b"chunked",
            b"chunked" + bytes([w]),
            b"chu" + bytes([w]) + b"nked",
        )
    ],
    case("A17", head(b" Transfer-Encoding: chunked"), "field-folded", "leading space"),
    *[
        case("A17", head(name + b": chunked"), "field-name-invalid", ascii(name))
        for name in (
            b"Transfer_Encoding",
            b"Transfer Encoding",
            b"Transf\x82r-Encoding",
            b"Transfer\r-Encoding",
            b"TRANSFER.ENCODING",
            b"Content_Length",
            b"content~length",
        )
    ],
    case("A19", head(CHUNKED, first=b"POST / HTTP/1.0"), "encoding-in-http-1.0"),
    *[
        case("A20", head(field, b" b"), "field-folded", ascii(field))
        for field in (
            b"X: a",
            b"Transfer-Encoding: chun",
            b"Content-Length: 1",
            b"Host: app",
            b"Cookie: a=b",
        )
    ],
    case("A20", head(b"X: a", b"\tb"), "field-folded", "by tab"),
    case("A20", head(b" X: a", host=None), "field-folded", "before the first field"),
    case("A21", head(b"X: a").replace(b"\r\n", b"\n"), "line-end-invalid", "all lines"),
    case("A21", head(b"X: a\nY: b"), "line-end-invalid", "one line"),
    case("A21", head().replace(b"1.1\r\n", b"1.1\n"), "line-end-invalid", "the request line"),
    case("A21", b"GET / HTTP/1.1\r\nHost: a\r\n\n", "line-end-invalid", "the empty line"),
    case("A21", b"GET / HTTP/1.1\r\nHost: a\n\r\n", "line-end-invalid", "before the empty line"),
    case("A22", head(b"X: a\rb"), "line-end-invalid", "in a value"),
    case("A22", head(b"X\r: a"), "field-name-invalid", "in a name"),
    case("A22", head(first=b"GET /\r HTTP/1.1"), "request-line-invalid", "in the request line"),
    case("A22", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "line-end-invalid", "CR CR LF"),
    case("A22", b"GET / HTTP/1.1\r\nHost: a\r\n\rX", "line-end-invalid", "CRLF CR X"),
    case("A23", head(b"X: a\x00b"), "field-value-invalid", "value"),
    case("A23", head(b"X\x00: a"), "field-name-invalid", "name"),
    case("A23", head(first=b"GET /\x00 HTTP/1.1"), "target-invalid", "target"),
    case("A23", head(first=b"G\x00T / HTTP/1.1"), "method-invalid", "method"),
    *[
        case("A24", head(b"X: 12345678" + bytes([c]) + b"z"), "field-value-invalid", f"{c:02x}")
        for c in (*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)
    ],
    *[
        case("A25", head(b"X" + bytes([c]) + b": a"), "field-name-invalid", f"{c:02x}")
        for c in (0x80, 0x85, 0xA0, 0xC3, 0xFF)
    ],
    *[
        case("A26", head(line), "field-name-invalid", ascii(line))
        for line in (b": x", b":", b"X", b"Content-Length 10")
    ],
    *[
        case("A27", head(b"X" + bytes([c]) + b"Y: a"), "field-name-invalid", ascii(bytes([c])))
        for c in b'()<>@,;\\"/[]?={} \t'
    ],
    case("A40", b"\r\n" * 100 + head(), "request-line-invalid", "100 empty lines"),
    case("A40", b"\n" + head(), "line-end-invalid", "a bare LF before the request line"),
    case("A40", b"\rG" + head(), "line-end-invalid", "a bare CR before the request line"),
    case("A41", b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", "field-folded", "whitespace line"),
    # B: request line, Host
    case("B01", b"GET /\r\n", "request-line-invalid", "HTTP/0.9"),
    *[
        case("B02", head(first=b"GET / " + version), reason, version.decode())
        for version, reason in (
            (b"HTTP/1.2", "version-unsupported"),
            (b"HTTP/2.0", "version-unsupported"),
            (b"HTTP/1.32", "version-unsupported"),
            (b"HTTP/01.1", "version-unsupported"),
            (b"HTTP/1.10", "request-line-invalid"),
            (b"http/1.1", "request-line-invalid"),
            (b"HTTP/4294967295.255", "version-unsupported"),
            (b"HTTP/1.1 ", "request-line-invalid"),
            (b"HTTP/1,1", "version-unsupported"),
            (b"X", "request-line-invalid"),
        )
    ],
    case("B03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version-unsupported", "prior knowledge"),
    case("B04", head(first=b"GET  / HTTP/1.1"), "request-line-invalid", "two spaces"),
    case(
        "B04", head(first=b"GET /  HTTP/1.1"), "request-line-invalid", "two spaces after the target"
    ),
    *[
        case("B04", head(first=line), reason, ascii(line))
        for line, reason in (
            (b"GET\t/ HTTP/1.1", "method-invalid"),
            (b"GET\x0b/ HTTP/1.1", "method-invalid"),
            (b"GET\n/ HTTP/1.1", "method-invalid"),
            (b"GET /\tHTTP/1.1", "target-invalid"),
            (b"GET /\x0bHTTP/1.1", "target-invalid"),
            (b"GET /\nHTTP/1.1", "target-invalid"),
        )
    ],
    *[
        case("B05", head(first=m + b" / HTTP/1.1"), "method-invalid", ascii(m[:8]))
        for m in (b'G="x"', b"get", b"G\xc3\x89T", b"G" * 1024, b"")
    ],
    case("B06", head(host=None), "host-missing", "absent"),
    case("B06", head(host=None, first=b"GET / HTTP/1.0"), "host-missing", "absent in 1.0"),
    case("B06", head(HOST), "host-repeated", "same"),
    case("B06", head(b"Host: app-b"), "host-repeated", "different"),
    case("B06", head(host=b"Host:"), "host-missing", "empty"),
    case("B06", head(host=b"Host: \t "), "host-missing", "blank"),
    case("B11", head(first=b"GET http://app-b/ HTTP/1.1"), "host-mismatch"),
    case("B11", head(first=b"GET http://app-a:81/ HTTP/1.1"), "host-mismatch", "port"),
    *[
        case("B12", head(first=b"GET " + t + b" HTTP/1.1"), reason, t.decode())
        for t, reason in (
            (b"https://u:p@app-a/", "host-invalid"),
            (b"ftp://app-a/", "target-invalid"),
            (b"http:app-a", "target-invalid"),
            (b"http:///x", "target-invalid"),
            (b"http://", "target-invalid"),
            (b"http://?x", "target-invalid"),
        )
    ],
    *[
        case("B13", head(first=b"GET " + t + b" HTTP/1.1"), "target-invalid", t.decode())
        for t in (b"app-a:443", b"foo", b"?x", b"*")
    ],
    *[
        case("B14", head(first=b"GET " + t + b" HTTP/1.1"), reason, ascii(t))
        for t, reason in (
            (b"/#frag", "target-invalid"),
            (b"/a b", "request-line-invalid"),
            (b"/a\tb", "target-invalid"),
            (b'/"', "target-invalid"),
            (b"/<", "target-invalid"),
            (b"/\\x", "target-invalid"),
            (b"/\x7f", "target-invalid"),
            (b"/\xc3\xa9", "target-invalid"),
        )
    ],
    # C, E: what may come once, what an upgrade must bring
    *[
        case("C13", head(name + b": a", name + b": b"), "field-repeated", name.decode())
        for name in (
            b"Authorization",
            b"Origin",
            b"Cf-Access-Token",
            b"CF-Access-Client-Id",
            b"CF-Access-Client-Secret",
        )
    ],
    *[
        case("E01", head(first=b"CONNECT " + t + b" HTTP/1.1"), "method-refused", t.decode())
        for t in (b"app-a:443", b"169.254.169.254:80")
    ],
    *[
        case("E02", head(first=m + b" / HTTP/1.1"), "method-refused", m.decode())
        for m in (b"TRACE", b"TRACK")
    ],
    *[
        case("E09", head(*[b"Expect: " + v for v in vs]), "expectation-unknown", ascii(vs))
        for vs in ([b"y 100-continue"], [b"100-continue, x"], [b"100-continue"] * 2, [b""])
    ],
]


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_refused(data: bytes, reason: str) -> None:
    assert judge(parse_request, data) == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        case("F01", head(b"X: " + b"a" * 32766), "line-too-long", "one line"),
        case("F01", head(b"X" * 40000 + b": a"), "line-too-long", "one name"),
        case("F01", head(*[b"X: " + b"a" * 9000] * 8), "head-too-large", "64 KiB"),
        case("F01", head(*[b"X: a"] * 100), "fields-too-many", "101 fields"),
        case("F01", head(first=b"GET /" + b"a" * 8192 + b" HTTP/1.1"), "target-too-long", "target"),
        case("F01", b"A" * 70000, "method-invalid", "no line at all"),
        case("F15", head(b"Cookie: " + b"a" * 2**20), "line-too-long", "a cookie of 1 MiB"),
    ],
)
def test_over_a_limit(data: bytes, reason: str) -> None:
    assert judge(parse_request, data, step=997) == reason


@pytest.mark.parametrize(
    "data",
    [
        head(b"X: " + b"a" * 32765),
        head(*[b"X: " + b"a" * 9000] * 7),
        head(*[b"X: a"] * 99),
        head(first=b"GET /" + b"a" * 8191 + b" HTTP/1.1"),
        head(first=b"A" * 32 + b" / HTTP/1.1"),
    ],
    ids=["line", "head", "fields", "target", "method"],
)
def test_at_a_limit(data: bytes) -> None:
    assert judge(parse_request, data, step=997)[0] == len(data)


def test_a_head_of_exactly_64_kib() -> None:
    fill = head(*[b"X: " + b"a" * 9000] * 7)
    data = fill[:-2] + b"Y: " + b"b" * (65536 - len(fill) - 5) + b"\r\n\r\n"
    assert len(data) == 65536
    assert judge(parse_request, data, step=997)[0] == 65536
    assert judge(parse_request, data[:-4] + b"b\r\n\r\n", step=997) == "head-too-large"


def test_a18_names_and_codings_in_any_case() -> None:
    assert accepted(b"tRANSFER-eNCODING: ChUnKeD")["framing"] == "chunked"


def test_a25_high_bytes_in_a_value_stay() -> None:
    value = bytes(range(0x80, 0x100))
    assert accepted(b"X: \t" + value + b" ")["fields"][1][1] == value


def test_a40_one_empty_line_before_the_request_line() -> None:
    data = b"\r\n" + head()
    assert judge(parse_request, data)[0] == len(data)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
def test_a42_a_body_on_any_method_is_framed(method: bytes) -> None:
    view = accepted(b"Content-Length: 5", first=method + b" / HTTP/1.1")
    assert (view["framing"], view["length"]) == ("length", 5)


def test_a44_a_request_cut_at_every_place() -> None:
    data = head(
        b"User-Agent: x", b"Cookie: a=b; c=d", b"Content-Length: 12", first=b"POST /a?b=c HTTP/1.1"
    )
    for cut in range(len(data)):
        assert verdict(parse_request, data[:cut]) == MORE
    assert parse_request(data)[0] == len(data)


def test_lengths() -> None:
    for digits in (b"0", b"5", b"999999999999999999"):
        assert accepted(b"Content-Length: \t" + digits + b" \t")["length"] == int(digits)
    assert accepted()["framing"] == "none"


def test_b05_an_unknown_method_is_a_method() -> None:
    for method in (b"PROPFIND", b"M-SEARCH", b"VERSION-CONTROL", b"QUERY", b"PUSH", b"X", b"TRICK"):
        view = accepted(first=method + b" / HTTP/1.1")
        assert (view["method"], view["method_id"]) == (method, 0)
    known = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")
    assert [accepted(first=m + b" / HTTP/1.1")["method_id"] for m in known] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("target", "authority", "path", "query"),
    [
        (b"/", b"", b"/", b""),
        (b"/a/b?c=/d?e", b"", b"/a/b", b"?c=/d?e"),
        (b"/?", b"", b"/", b"?"),
        (b"http://app-a/x", b"app-a", b"/x", b""),
        (b"HTTP://APP-A.:80/x?y", b"APP-A.:80", b"/x", b"?y"),
        (b"http://app-a", b"app-a", b"/", b""),
        (b"http://app-a?q", b"app-a", b"/", b"?q"),
    ],
)
def test_b11_targets(target: bytes, authority: bytes, path: bytes, query: bytes) -> None:
    view = accepted(first=b"GET " + target + b" HTTP/1.1")
    assert (view["authority"], view["path"], view["query"]) == (authority, path, query)


def test_b11_https_knows_its_own_port() -> None:
    accepted(first=b"GET https://app-a/ HTTP/1.1", host=b"Host: app-a:443")
    assert (
        judge(parse_request, head(first=b"GET https://app-a/ HTTP/1.1", host=b"Host: app-a:80"))
        == "host-mismatch"
    )
    assert judge(parse_request, head(first=b"GET http://a_b!/ HTTP/1.1")) == "host-invalid"
    assert (
        judge(parse_request, head(first=b"GET http://app-a/ HTTP/1.1", host=b"Host: a b"))
        == "host-invalid"
    )


def test_b13_options_star() -> None:
    view = accepted(first=b"OPTIONS * HTTP/1.1")
    assert (view["target"], view["path"]) == (b"*", b"")


def test_the_benchmarks_door_parses_the_same() -> None:
    data = head(b"User-Agent: x")
    assert parse_rounds(data, 3) == len(data)
    assert parse_rounds(data[:-1], 1) == 0
    assert parse_rounds(head(host=None), 1) < 0
