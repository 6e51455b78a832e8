"""One closed list of reasons, and the one border to exceptions."""

import re
from http import HTTPStatus
from pathlib import Path

import pytest

from _fastpath import errors
from _fastpath.errors import WireError

ROOT = Path(__file__).parents[2]


def test_every_reason_has_a_name_a_status_and_a_fault() -> None:
    for name, (status, fault, _retry) in errors.reasons().items():
        assert re.fullmatch(r"[a-z0-9.]+(-[a-z0-9.]+)*", name), name
        assert status == 0 or HTTPStatus(status), name
        assert fault in errors.FAULTS


def test_names_follow_the_enum() -> None:
    listed = re.findall(r"^    R_(\w+)", (ROOT / "_fastpath/errors.pxd").read_text(), re.M)
    names = ["none", *errors.reasons()]
    assert [n.lower().replace("_", "-").replace("http-10", "http-1.0") for n in listed] == [
        *names,
        "count",
    ]
    for number, name in enumerate(names):
        assert errors.reason_of(number) == name
        assert errors.reason_number(name) == number
    assert errors.reason_of(len(names)) == errors.reason_of(-1) == "unknown"


def test_a_wire_error_says_what_whose_fault_and_whether_to_retry() -> None:
    error = WireError(-errors.reason_number("tunnel-down"), "office")
    assert (error.reason, error.status, error.fault, error.retry) == (
        "tunnel-down",
        502,
        "connector",
        True,
    )
    assert str(error) == "tunnel-down: office"
    assert str(WireError(-errors.reason_number("host-invalid"))) == "host-invalid"


@pytest.mark.parametrize("code", [0, 5, -10_000])
def test_no_code_without_meaning_becomes_a_success(code: int) -> None:
    error = WireError(code)
    assert error.status == 500


def test_what_a_codec_refuses_in_a_response_is_the_origins_fault() -> None:
    def at_origin(name: str) -> str:
        return errors.reason_of(errors.reason_at_origin(errors.reason_number(name)))

    assert (
        at_origin("head-too-large") == at_origin("fields-too-many") == "origin-response-too-large"
    )
    assert (
        at_origin("length-and-encoding")
        == at_origin("chunk-size-invalid")
        == "origin-response-invalid"
    )
    assert at_origin("origin-truncated") == "origin-truncated"


@pytest.mark.parametrize("name", list(errors.reasons()))
def test_documented(name: str) -> None:
    status, fault, _retry = errors.reasons()[name]
    rows = re.findall(
        rf"^\| `{re.escape(name)}` \| ([^|]*) \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$",
        (ROOT / "docs/reasons.md").read_text(),
        re.M,
    )
    assert len(rows) == 1, "docs/reasons.md needs exactly one row of five columns"
    assert rows[0][:2] == (str(status) if status else "–", fault)


def test_no_reason_is_documented_that_does_not_exist() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/reasons.md").read_text(), re.M)
    assert set(listed) <= set(errors.reasons())
