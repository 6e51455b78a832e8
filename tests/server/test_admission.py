"""Who may register, and what a table may announce: the decisions, without a link."""

import pytest

from edge.identity.authority import Role
from edge.server.admission import MAX_LINKS_PER_TUNNEL, judge, outside, shown, unrouted
from edge.wire import messages as wire

NOW = 1_800_000_000.0
GOOD = Role("connector", "t1", "c1", (), NOW + 60)


def register(tunnel="t1", replica="ab12", versions=wire.VERSIONS, clock=NOW):
    return wire.Register(
        tunnel=tunnel, replica=replica, versions=tuple(versions), clock=clock, software="x"
    )


def judged(asked=None, role=GOOD, links=0, revoked=()):
    return judge(
        role, asked or register(), tunnels={"t1"}, revoked=lambda kind, id: (kind, id) in revoked,
        now=NOW, links=links,
    )


@pytest.mark.parametrize(("how", "reason", "final"), [
    ({"role": None}, "link-role", True),
    ({"role": Role("enrolment", "c1", "c1", (), NOW)}, "link-role", True),
    ({"asked": register(tunnel="t2")}, "link-role", True),
    ({"asked": register(replica="../x")}, "link-protocol", False),
    ({"asked": register(replica="")}, "link-protocol", False),
    ({"asked": register(versions=(999,))}, "link-version", True),
    ({"revoked": {("credential", "c1")}}, "link-revoked", True),
    ({"role": Role("connector", "gone", "c1", (), NOW), "asked": register(tunnel="gone")},
     "tunnel-unknown", False),
    ({"asked": register(clock=NOW + 301)}, "link-clock", True),
    ({"asked": register(clock=NOW - 301)}, "link-clock", True),
    ({"links": MAX_LINKS_PER_TUNNEL}, "link-refused", False),
])
def test_who_may_not_register(how, reason, final):
    refusal, version = judged(**how)
    assert (refusal.reason, refusal.final, version) == (reason, final, 0)


@pytest.mark.parametrize("how", [
    {}, {"asked": register(clock=NOW + 299)}, {"links": MAX_LINKS_PER_TUNNEL - 1},
    {"asked": register(versions=(*wire.VERSIONS, 999))}, {"revoked": {("credential", "c2")}},
])
def test_who_may(how):
    assert judged(**how) == (None, max(wire.VERSIONS))


@pytest.mark.parametrize(("limit", "entries", "what"), [
    ((), [{"hostname": "x.test", "service": "http://a"}, {"service": "http://a"}], ""),
    (("*.a.test",), [{"hostname": "W.a.test", "service": "http://a"}], ""),
    (("*.a.test",), [{"hostname": "a.test", "service": "http://a"}], "'a.test'"),
    (("*.a.test",), [{"hostname": "w.b.test", "service": "http_status:404"}], "'w.b.test'"),
    (("*.a.test",), [{"hostname": "", "service": "http_status:404"}], ""),
    (("*.a.test",), [{"hostname": "", "service": "hello_world"}], ""),
    (("*.a.test",), [{"hostname": "", "service": "http://a"}], "every hostname"),
    (("*.a.test",), [{"service": 7}], "every hostname"),
])
def test_what_a_credential_covers(limit, entries, what):
    assert outside(Role("connector", "t1", "c1", limit, NOW), tuple(entries)) == what


def test_what_no_route_leads_to():
    entries = [{"hostname": name} for name in ("A.test", "b.test", "*.c.test", "", "b.test")]
    assert unrouted({"hosts": ["a.test", "*.c.test"]}, entries) == ("b.test",)
    assert unrouted({"hosts": ["x.c.test"]}, entries) == ("a.test", "b.test")
    assert unrouted({}, entries) == ()


def test_what_a_connector_says_about_itself_is_shown_harmless():
    assert shown("sekisho/1\r\n\x1b[31m" + "x" * 200) == "sekisho/1[31m" + "x" * 84
