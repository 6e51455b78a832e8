"""revocations.pyx: what was revoked reaches tokens that are already known."""

import pytest

from _fastpath.revocations import Revocations
from tests.kit.mint import AUD, NOW, claims
from tests.kit.token_verdict import MINT, cache, verdict

LATER = NOW + 9999


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"kind": "session", "id": "s" * 22}, "session-revoked"),
        ({"kind": "session", "id": "other"}, None),
        ({"kind": "nonce", "id": "n" * 22}, "session-revoked"),
        ({"kind": "nonce", "id": "s" * 22}, None),
        ({"kind": "user", "id": claims()["sub"], "epoch": 4}, "session-outdated"),
        ({"kind": "user", "id": claims()["sub"], "epoch": 3}, None),
        ({"kind": "user", "id": claims()["sub"]}, "session-revoked"),
        ({"kind": "user", "id": "other", "epoch": 99}, None),
        ({"kind": "application", "id": AUD.decode(), "epoch": 3}, "session-outdated"),
        ({"kind": "application", "id": AUD.decode(), "epoch": 2}, None),
        ({"kind": "application", "id": AUD}, "session-revoked"),
        ({"kind": "credential", "id": "s" * 22}, None),
        ({"kind": "tomorrow's", "id": "s" * 22}, None),
    ],
    ids=str,
)
def test_revocation_reaches_cached_tokens(entry: dict, reason: str | None) -> None:
    made, raw = cache(), MINT.token()
    assert verdict(raw, made=made) == "ok"
    token, _ = made.check(raw, AUD, NOW)
    generation = made.revocations.generation
    made.revocations.apply([entry | {"until": LATER}])
    assert made.revocations.generation == generation + 1
    assert verdict(raw, made=made) == (reason or "ok")
    assert made.revocations.check_token(token) == reason
    fresh = cache()
    fresh.revocations.apply([entry | {"until": LATER}])
    assert verdict(raw, made=fresh) == (reason or "ok")


def test_entries_add_up_and_a_full_list_replaces() -> None:
    revocations = Revocations()
    revocations.apply([{"kind": "credential", "id": "a", "until": LATER}], seq=1)
    revocations.apply([{"kind": "credential", "id": "b", "until": LATER}], seq=2)
    assert revocations.lists("credential", "a") and revocations.lists("credential", "b")
    assert not revocations.lists("administrator", "a")
    revocations.apply([{"kind": "administrator", "id": "c", "until": LATER}], full=True, seq=3)
    assert (revocations.size, revocations.seq) == (1, 3)
    assert revocations.lists("administrator", "c") and not revocations.lists("credential", "a")


def test_a_higher_epoch_is_never_lowered_and_old_entries_go() -> None:
    made, raw = cache(), MINT.token()
    user = claims()["sub"]
    made.revocations.apply([{"kind": "user", "id": user, "epoch": 4, "until": LATER}])
    made.revocations.apply([{"kind": "user", "id": user, "epoch": 1, "until": NOW + 5}])
    assert verdict(raw, made=made) == "session-outdated"
    made.revocations.apply([], now=LATER - 1)
    assert made.revocations.size == 1
    made.revocations.apply([], now=LATER)
    assert made.revocations.size == 0


def test_a_bad_entry_changes_nothing() -> None:
    revocations = Revocations()
    with pytest.raises(KeyError):
        revocations.apply(
            [{"kind": "session", "id": "a", "until": LATER}, {"kind": "session", "id": "b"}]
        )
    assert (revocations.size, revocations.generation) == (0, 1)
