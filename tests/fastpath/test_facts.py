"""Facts made from what a token swears: what is known, what is absent, what nobody told."""

import pytest

from _fastpath.facts import FactSet, email_parts


def test_email_parts() -> None:
    assert email_parts("Ada@Example.COM") == (b"ada@example.com", b"example.com")
    assert email_parts("ÄDA@x") == ("Äda@x".encode(), b"x")
    assert email_parts(None) is None


def test_facts_from_a_token() -> None:
    claims = {
        "email": "a@b.c", "custom": {"r": "x"},
        "sekisho": {"idp": "sso", "groups": ["staff"], "amr": ["mfa"], "partial": ["groups", "custom"]},
    }  # fmt: skip
    FactSet.from_claims(claims)
    FactSet.from_claims({"sub": "x"})
    FactSet.from_claims({"email": "", "sekisho": None})
    for wrong in (
        {"sekisho": []}, {"custom": "x"}, {"sekisho": {"groups": "staff"}}, {"sekisho": {"groups": [1]}},
        {"sekisho": {"idp": 1}}, {"email": 7}, {"sekisho": {"amr": [None]}}, {"sekisho": {"groups": 7}},
        {"email": "\ud800@x.y"},
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            FactSet.from_claims(wrong)
