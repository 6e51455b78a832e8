"""H03 and what an open stream owes the policy: it ends when the session, or the policy, no longer allows it."""

import time

from tests.kit.raw import Raw
from tests.security.checkpoint import Checkpoint
from tests.security.rows import A, request
from tests.security.test_e_upgrades import WEBSOCKET, own, switch

HELLO = b"\x82\x05hello"


def opened(checkpoint: Checkpoint) -> Raw:
    """Return an open WebSocket at app-a that has echoed once."""
    cookie = checkpoint.cookie(A)
    checkpoint.clear()
    checkpoint.origin.answer = switch
    c = checkpoint.client()
    c.send(request(f"Cookie: {cookie}", own(checkpoint, A), *WEBSOCKET, host=A))
    assert c.answer().status == 101
    assert c.send(HELLO).exactly(len(HELLO), time.monotonic() + 2) == HELLO
    return c


def ended(c: Raw, within: float) -> bytes:
    """Return the close frame's reason; it must be 1008 and come in time, then the end of the stream."""
    deadline = time.monotonic() + within
    head = c.exactly(4, deadline)
    assert head[0] == 0x88 and int.from_bytes(head[2:4], "big") == 1008, head
    reason = c.exactly(head[1] - 2, deadline)
    assert c.closed(2.0) == b""
    return reason


def test_H03_a_policy_that_no_longer_allows_ends_the_stream(checkpoint: Checkpoint) -> None:
    config = checkpoint.edge.config.read_text()
    with opened(checkpoint) as c:
        try:
            name_a = config.index("name: A\n")
            changed = config[:name_a] + config[name_a:].replace("alice@example.com", "carol@example.com", 1)
            checkpoint.edge.reload(changed)
            assert ended(c, 5.0) == b"policy-no-match"
        finally:
            checkpoint.edge.reload(config)
    with opened(checkpoint) as c:
        c.send(HELLO)
        assert c.exactly(len(HELLO), time.monotonic() + 2) == HELLO


def test_H03_a_close_frame_never_stands_inside_another_frame(checkpoint: Checkpoint) -> None:
    """In the middle of a frame there is no place for a frame of ours: the connection is cut instead."""
    config = checkpoint.edge.config.read_text()
    with opened(checkpoint) as c:
        half = b"\x82\x7e\x10\x00" + b"half of it"
        assert c.send(half).exactly(len(half), time.monotonic() + 2) == half
        try:
            name_a = config.index("name: A\n")
            checkpoint.edge.reload(
                config[:name_a] + config[name_a:].replace("alice@example.com", "carol@example.com", 1))
            assert c.closed(5.0) == b""
        finally:
            checkpoint.edge.reload(config)


def test_Z_H03_a_revoked_session_ends_the_stream_and_every_later_request(checkpoint: Checkpoint) -> None:
    """Last in this file by name: it revokes the session that the other tests use."""
    cookie = checkpoint.cookie(A)
    with opened(checkpoint) as c:
        checkpoint.edge.command("edge", "revoke", "-c", str(checkpoint.edge.config), "--user", "alice@example.com")
        assert ended(c, 5.0) in (b"session-revoked", b"session-outdated")
    checkpoint.clear()
    with checkpoint.client() as c:
        answer = c.send(request(f"Cookie: {cookie}", host=A)).answer()
    assert answer.status in (302, 401)
    assert not checkpoint.origin.requests
    checkpoint.forget_visitor()
