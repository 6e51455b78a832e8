"""What a field name means to us, outside a head."""

import pytest

from _fastpath.head import KINDS, kind_of

KNOWN = [kind for kind in KINDS.values() if kind not in ("other", "owned", "refused")]


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_name_in_any_case(name: str) -> None:
    assert kind_of(name.encode()) == kind_of(name.upper().encode()) == name


@pytest.mark.parametrize("name", KNOWN)
def test_no_name_beside_it(name: str) -> None:
    """One letter changed, at each place, is another name, though it may share its slot."""
    for at, letter in enumerate(name):
        if letter != "-":
            near = name[:at] + ("q" if letter != "q" else "z") + name[at + 1 :]
            assert kind_of(near.encode()) in ("other", "owned"), near
    assert kind_of(name.encode() + b"x") in ("other", "owned")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"", "other"),
        (b"Transfer_Encoding", "refused"),
        (b"content.length", "refused"),
        (b"cf_ray", "owned"),
        (b"x_y", "other"),
    ],
)
def test_disguises(name: bytes, kind: str) -> None:
    assert kind_of(name) == kind
