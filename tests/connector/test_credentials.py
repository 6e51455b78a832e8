"""The credentials file: secret, whole, and the same as a token."""

import base64
import json
import os
from pathlib import Path

import pytest

from edge.connector.credentials import (
    Credentials,
    CredentialsRefused,
    from_token,
    load,
    save,
    to_json,
    to_token,
)

MADE = Credentials("t", "office", "c", ("127.0.0.1:443",), "tunnel.x", "CA", "CERT", "KEY")


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.json"
    save(path, MADE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(path) == MADE
    assert from_token(to_token(MADE) + "\n") == MADE
    with pytest.raises(FileExistsError):
        save(path, MADE)
    assert [one.name for one in path.parent.iterdir()] == ["c.json"]  # nothing half-written


def test_secret_is_not_shown() -> None:
    assert "KEY" not in repr(MADE)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660])
def test_readable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "c.json"
    save(path, MADE)
    path.chmod(mode)
    with pytest.raises(CredentialsRefused, match="readable by others; chmod 600"):
        load(path)


def test_systemd_credentials_are_exempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.json"
    save(path, MADE)
    path.chmod(0o440)
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load(path) == MADE


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not JSON"),
        ("[]", "not a credentials file"),
        ('{"AccountTag": "a", "TunnelSecret": "s", "TunnelID": "t"}', "cloudflared's"),
        (json.dumps({**json.loads(to_json(MADE)), "edge": []}), "'edge' must list"),
        (json.dumps({**json.loads(to_json(MADE)), "key": None}), "'key' is missing"),
    ],
)
def test_what_is_no_credential(text: str, sentence: str) -> None:
    with pytest.raises(CredentialsRefused, match=sentence):
        from_token(base64.b64encode(text.encode()).decode())


def test_what_is_no_token() -> None:
    with pytest.raises(CredentialsRefused, match="not base64"):
        from_token("!!!")
