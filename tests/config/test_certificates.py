"""Certificates that can't work, or not for long, or not for every host: said, each at its place."""

import datetime as dt
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from edge.cli.main import main
from edge.config import load
from edge.config.certificates import certificate_problems
from tests.cli.test_edge_config import GOOD as RUNNABLE
from tests.cli.test_edge_config import ran_before
from tests.config.test_check import ALLOW, APP, BASE
from tests.kit.certificates import DAY, Authority, Leaf

CERTIFICATES = "certificates: [{certificate: tls.pem, key: tls.key}]\n"
TEXT = CERTIFICATES + BASE + 'listen: ["127.0.0.1:1443"]\n' + APP + f"      - {ALLOW}\n"
AUTHORITY = Authority("config")
NAMES = ("login.example.com", "a.example.com")
PUBLIC, KEY = 30, 44  # columns of the two file names


def write(folder: Path, certificate: bytes, key: bytes, text: str = TEXT) -> Path:
    (folder / "sekisho.yml").write_text(text)
    (folder / "tls.pem").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    (folder / "tls.key").chmod(0o600)
    return folder / "sekisho.yml"


def told(path: Path, now: float | None = None) -> list[str]:
    """Return line:column: text of every problem, with the folder left out."""
    config = load(path).config
    assert config is not None
    found = certificate_problems(config, time.time() if now is None else now)
    return [str(one).replace(f"{path}:", "").replace(f"{path.parent}/", "") for one in found]


def leaf(*names: str, start: dt.timedelta = -DAY, end: dt.timedelta = 30 * DAY) -> Leaf:
    return AUTHORITY.leaf(*(names or NAMES), start=start, end=end)


GOOD, OTHER = leaf(), leaf()
LOCKED = serialization.load_pem_private_key(GOOD.key, None).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"secret"),
)  # fmt: skip


def test_a_good_pair(tmp_path: Path) -> None:
    assert told(write(tmp_path, GOOD.certificate, GOOD.key)) == []


@pytest.mark.parametrize(("certificate", "key", "expected"), [
    (GOOD.certificate, OTHER.key, f"1:{KEY}: tls.key is the key of another certificate than tls.pem"),
    (GOOD.key, GOOD.certificate,
     f"1:{PUBLIC}: “certificate” and “key” are swapped: tls.pem holds a private key, tls.key a "
     f"certificate"),
    (GOOD.key, GOOD.key, f"1:{PUBLIC}: tls.pem holds a private key and no certificate"),
    (b"", GOOD.key, f"1:{PUBLIC}: tls.pem holds no certificate"),
    (GOOD.certificate, GOOD.certificate,
     f"1:{KEY}: tls.key holds a certificate and no private key"),
    (GOOD.certificate, b"", f"1:{KEY}: tls.key holds no private key"),
    (GOOD.certificate, LOCKED,
     f"1:{KEY}: tls.key is locked by a password, and nobody is there to type it"),
])  # fmt: skip
def test_pairs_that_cannot_work(
    certificate: bytes, key: bytes, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path, certificate, key)
    assert told(path) == [expected]
    done = CliRunner().invoke(main, ["edge", "check", "-c", str(path)])
    assert done.exit_code == 2
    assert done.stderr.replace(f"{tmp_path}/", "") == f"sekisho.yml:{expected}\n"


def test_a_damaged_certificate(tmp_path: Path) -> None:
    damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (problem,) = told(write(tmp_path, damaged, GOOD.key))
    assert problem.startswith(f"1:{PUBLIC}: tls.pem with tls.key can't be used: ")


def test_both_a_wrong_pair_and_a_wrong_key_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.certificate, OTHER.key, TEXT + "hstss: 1d\n")
    done = CliRunner().invoke(main, ["edge", "check", "-c", str(path)])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 2
    assert "is the key of another certificate" in done.stderr and "hstss" in done.stderr


@pytest.mark.parametrize(("start", "end", "says"), [
    (-9 * DAY, -DAY, "ended on {end}: browsers refuse it"),
    (DAY, 30 * DAY, "begins only on {start}: browsers refuse it until then"),
    (-9 * DAY, 13 * DAY, "ends on {end}: renew it"),
    (-9 * DAY, 15 * DAY, None),
])  # fmt: skip
def test_dates(start: dt.timedelta, end: dt.timedelta, says: str | None, tmp_path: Path) -> None:
    made = leaf(start=start, end=end)
    path = write(tmp_path, made.certificate, made.key)
    days = {
        "start": f"{made.x509.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
        "end": f"{made.x509.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
    }
    expected = [] if says is None else [f"1:{PUBLIC}: warning: tls.pem {says.format(**days)}"]
    assert told(path) == expected
    done = CliRunner().invoke(main, ["edge", "check", "-c", str(path)])
    assert (done.exit_code, done.stderr.count("tls.pem")) == (0, len(expected))


def test_the_demos_own_are_made_for_two_days(tmp_path: Path) -> None:
    made = AUTHORITY.leaf("*.sekisho.localhost", end=2 * DAY)
    text = TEXT.replace("example.com", "sekisho.localhost") + "demo: true\n"
    assert told(write(tmp_path, made.certificate, made.key, text)) == []
    assert "ended on" in told(tmp_path / "sekisho.yml", time.time() + 3 * 86_400)[0]


@pytest.mark.parametrize(("names", "uncovered"), [
    (("a.example.com",), ["1:15: warning: no certificate covers login.example.com"]),
    (("login.example.com",), ["10:16: warning: no certificate covers a.example.com"]),
    (("*.example.com",), []),
    (("LOGIN.example.com", "A.example.com"), []),
    (("example.com", "*.a.example.com"), [
        "1:15: warning: no certificate covers login.example.com",
        "10:16: warning: no certificate covers a.example.com",
    ]),
])  # fmt: skip
def test_hosts(names: tuple[str, ...], uncovered: list[str], tmp_path: Path) -> None:
    made = leaf(*names)
    found = told(write(tmp_path, made.certificate, made.key))
    assert [one.partition(": nobody")[0] for one in found] == uncovered


def test_an_application_below_a_wildcard_route_is_told_of_once(tmp_path: Path) -> None:
    made = leaf("login.example.com")
    text = TEXT.replace("hostname: a.example.com", 'hostname: "*.example.com"')
    found = told(write(tmp_path, made.certificate, made.key, text))
    assert [one.partition(": nobody")[0] for one in found] == [
        "10:16: warning: no certificate covers *.example.com"
    ]


def test_without_tls_no_host_needs_a_certificate(tmp_path: Path) -> None:
    made = leaf("elsewhere.example.com")
    text = TEXT.replace('listen: ["127.0.0.1:1443"]\n', "")
    assert told(write(tmp_path, made.certificate, made.key, text)) == []


def test_the_first_start_is_refused_with_the_place(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.certificate, OTHER.key, TEXT + "state_folder: state\n")
    done = CliRunner().invoke(main, ["edge", "run", "-c", str(path)])
    assert done.exit_code == 2
    assert f"{path}:1:{KEY}: {tmp_path}/tls.key is the key of another certificate" in done.stderr


# -- the master key's file


def test_a_master_key_that_is_not_there(tmp_path: Path) -> None:
    text = "master_key_file: keys/master.key\n" + RUNNABLE
    path = tmp_path / "sekisho.yml"
    path.write_text(text)
    place = f"{path}:1:18: "
    check = ["edge", "check", "-c", str(path)]
    done = CliRunner().invoke(main, check)
    assert done.exit_code == 0
    assert f"{place}warning: {tmp_path}/keys/master.key isn't there yet" in done.stderr
    ran_before(tmp_path, text)
    done = CliRunner().invoke(main, check)
    assert done.exit_code == 2
    assert f"{place}{tmp_path}/keys/master.key isn't there: without it" in done.stderr
