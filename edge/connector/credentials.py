"""The tunnel credential: one file (0600) that holds everything a connector needs to dial.

It carries the edge's address and server name, the anchors that pin the edge's tunnel CA, and the
client certificate with its key. The token form is the same JSON as base64 in one line.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

FIELDS = ("tunnel", "name", "credential", "server_name", "anchors", "certificate", "key")


class CredentialsRefused(Exception):
    """The credentials can't be used; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What `sekisho tunnel create` gave out. `key` is secret."""

    tunnel: str  # id
    name: str
    credential: str  # id
    edge: tuple[str, ...]  # host:port, one or more
    server_name: str  # tunnel.<auth_domain>
    anchors: str  # PEM: the edge's tunnel CA, two while it rotates
    certificate: str  # PEM
    key: str  # PEM

    def __repr__(self) -> str:
        return f"Credentials(tunnel={self.tunnel!r}, credential={self.credential!r})"

    def with_anchors(self, anchors: str) -> Credentials:
        """Return a copy that pins other anchors."""
        return replace(self, anchors=anchors)


def parse(text: str, where: str) -> Credentials:
    """Return the credentials in JSON text, or raise CredentialsRefused."""
    try:
        values: Any = json.loads(text)
    except ValueError:
        raise CredentialsRefused(f"{where}: not JSON") from None
    if not isinstance(values, dict):
        raise CredentialsRefused(f"{where}: not a credentials file")
    if "TunnelSecret" in values:
        raise CredentialsRefused(f"{where}: these are cloudflared's credentials, not Sekisho's")
    for name in FIELDS:
        if not isinstance(values.get(name), str):
            raise CredentialsRefused(f"{where}: {name!r} is missing")
    edge = values.get("edge")
    if not isinstance(edge, list) or not edge or not all(isinstance(one, str) for one in edge):
        raise CredentialsRefused(f"{where}: 'edge' must list host:port")
    return Credentials(edge=tuple(edge), **{name: values[name] for name in FIELDS})


def load(path: Path) -> Credentials:
    """Read a credentials file; it must not be readable by group or others."""
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1 << 20)
    except OSError as error:
        raise CredentialsRefused(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CredentialsRefused(f"{path}: not a credentials file") from None
    exempt = os.environ.get("CREDENTIALS_DIRECTORY")
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and not (
        exempt and path.resolve().is_relative_to(Path(exempt).resolve())
    ):
        raise CredentialsRefused(f"{path}: readable by others; chmod 600 {path}")
    return parse(text, str(path))


def from_token(token: str) -> Credentials:
    """Return the credentials in a token, or raise CredentialsRefused."""
    try:
        text = base64.b64decode("".join(token.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise CredentialsRefused("the token is not base64 of a credentials file") from None
    return parse(text, "the token")


def to_json(credentials: Credentials) -> str:
    """Return the file's text."""
    return json.dumps(asdict(credentials), indent=2) + "\n"


def to_token(credentials: Credentials) -> str:
    """Return the one-line form."""
    return base64.b64encode(json.dumps(asdict(credentials)).encode()).decode()


def save(path: Path, credentials: Credentials, *, replace_old: bool = False) -> None:
    """Write the file 0600 in one step; FileExistsError unless `replace_old`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and not replace_old:
        raise FileExistsError(f"{path} exists")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(to_json(credentials))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
