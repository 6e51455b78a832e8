"""Hypothesis: generated heads, hosts and paths read alike by codec and reference."""

from hypothesis import given, settings
from hypothesis import strategies as st

from _fastpath.errors import WireError
from _fastpath.head import normal_path
from _fastpath.route import compared, path_covers
from tests.fuzz.fuzz_head import fuzz

name = st.sampled_from(
    b"""Host Content-Length Transfer-Encoding Transfer_Encoding Connection Upgrade Expect Cookie
    Origin Authorization Cf-Access-Token cf_access_token CF-Ray X-Forwarded-For x_forwarded_proto
    Forwarded X-Real-IP Sec-WebSocket-Key Sec-WebSocket-Version X Proxy Keep-Alive TE a~b""".split()
) | st.from_regex(rb"[!-~]{1,8}", fullmatch=True)
value = st.sampled_from(
    [b"app-a", b"app-a:80", b"APP-A.", b"5", b"0", b"05", b"5, 5", b"chunked", b"Chunked",
     b"gzip, chunked", b"close", b"keep-alive, x", b"upgrade", b"X, Cf-Ray", b"websocket",
     b"sekisho-tcp/1", b"h2c", b"13", b"", b"100-continue", b"dGhlIHNhbXBsZSBub25jZQ==",
     b"a,,b", b"\x80\xff",
     b"a\tb"]
) | st.binary(max_size=6)  # fmt: skip
space = st.sampled_from([b" ", b"", b"\t ", b"  "])
end = st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b"\r\n "])
line = st.tuples(name, space, value, space, end).map(lambda p: p[0] + b":" + b"".join(p[1:]))
method = st.sampled_from(
    [b"GET", b"POST", b"OPTIONS", b"PROPFIND", b"TRACE", b"get", b"CONNECT", b""]
)
target = st.sampled_from(
    [
        b"/",
        b"/a?b",
        b"*",
        b"http://app-a/x",
        b"https://app-a",
        b"http://b/",
        b"a",
        b"/\\",
        b"/#",
        b"//x",
    ]
)
version = st.sampled_from([b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1"])
usual = st.sampled_from([b"Host: app-a\r\n"] * 5 + [b""])
request = st.tuples(
    method, st.just(b" "), target, st.just(b" "), version, end, usual,
    st.lists(line, max_size=7).map(b"".join),
    st.sampled_from([b"\r\n"] * 9 + [b"\n"]),
).map(b"".join)  # fmt: skip
response = st.tuples(
    version,
    st.sampled_from([b" 200 OK", b" 204 x", b" 304", b" 101 S", b" 100 ", b" 99", b"200"]),
    end, st.lists(line, max_size=7).map(b"".join), st.just(b"\r\n"),
).map(b"".join)  # fmt: skip
segment = st.sampled_from(
    [b"admin", b"public", b".", b"..", b"%2e", b"%2E.", b"", b"%61dmin", b"a;b", b"..;", b"%3b",
     b"a%20b", b"x%20", b"%2f", b"..%2f..", b"%5c", b"\\", b"%25", b"%252e", b"%2561", b"%c3%a9",
     b"%c0%ae", b"%zz",
     b"...", b"admin.", b"%00", b"%2b+", b"[x]", b"%"]
) | st.text("abc%2eEfF5.;", max_size=6).map(str.encode)  # fmt: skip
path = st.lists(segment, min_size=1, max_size=6).map(lambda parts: b"/" + b"/".join(parts))
host = st.from_regex(rb"\A[Aa.b:0-9\[\]_-]{0,12}\Z") | st.binary(max_size=8)


@given(request)
@settings(max_examples=400)
def test_requests(data: bytes) -> None:
    fuzz(b"Q" + data)


@given(response, st.sampled_from([b"R", b"D"]))
@settings(max_examples=300)
def test_responses(data: bytes, kind: bytes) -> None:
    fuzz(kind + data)


@given(host)
@settings(max_examples=300)
def test_hosts(data: bytes) -> None:
    fuzz(b"H" + data)


@given(path, st.sampled_from([b"P", b"S"]))
@settings(max_examples=600)
def test_paths(data: bytes, kind: bytes) -> None:
    fuzz(kind + data)


@given(path, st.sampled_from([b"/admin", b"/public", b"/a", b"/admin/c"]))
@settings(max_examples=400)
def test_d17_a_decision_on_a_path_is_the_decision_on_what_the_origin_gets(
    data: bytes, rule: bytes
) -> None:
    try:
        normal = normal_path(data)
    except WireError:
        return  # refused: the origin gets nothing
    assert normal_path(normal) == normal
    covered = path_covers(rule, compared(normal))
    # an origin that cuts parameters and dots finds nothing under the rule that we don't
    served = b"/" + b"/".join(s.split(b";")[0].rstrip(b".") for s in normal.split(b"/")[1:])
    if served == rule or served.startswith(rule + b"/"):
        assert covered
