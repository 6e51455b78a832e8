"""Certificate files into TLS contexts, in the worker: all of them again at every reload.

The operator's files may change at any moment, and a renewal may be half done when a worker dies. So
control keeps the pair of each that worked last, in the state folder, and a worker that can't use
what it finds serves that one. A pair that systemd passed as a credential doesn't change while the
service runs and is not copied."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from _fastpath.contexts import TicketKeys, TlsContexts
from _fastpath.pem import certificate_names
from edge.identity.authority import end_of
from edge.server.folder import Folder, write_atomic

TUNNEL_CERTIFICATE = "tunnel.pem"  # edge's certificate for tunnel.<auth_domain>, then its key
TUNNEL_ANCHORS = "tunnel-ca.pem"  # who signs connectors' certificates
KEPT = "certificates"  # folder of the pairs that worked last, below keys/


@dataclass(frozen=True, slots=True)
class Pair:
    """One certificate of the configuration, with its key."""

    certificate: Path
    key: Path
    chain: bytes  # PEM
    secret: bytes  # PEM

    @property
    def names(self) -> list[str]:
        return certificate_names(self.chain)

    def add_to(self, contexts: TlsContexts) -> None:
        """Serve it; raises ValueError that names the files."""
        try:
            contexts.add(self.names, self.chain, self.secret)
        except ValueError as error:
            raise ValueError(
                f"{self.certificate} with {self.key} can't be used: {error}"
            ) from error


@dataclass(slots=True)
class Contexts:
    """What a worker serves TLS with, and what was wrong on the way there."""

    contexts: TlsContexts
    problems: list[str] = field(default_factory=list)  # a pair, or the tunnel's files, each
    missing: list[str] = field(default_factory=list)  # of these, what has no pair that works


def pairs_of(settings: dict[str, Any]) -> list[Pair]:
    """Read every pair and try it; raises ValueError or OSError that names the file."""
    trial, pairs = TlsContexts(TicketKeys()), []
    for certificate, key in _files(settings):
        pair = Pair(certificate, key, certificate.read_bytes(), key.read_bytes())
        pair.add_to(trial)
        pairs.append(pair)
    return pairs


def contexts_of(settings: dict[str, Any], folder: Folder, tickets: TicketKeys) -> Contexts:
    """Return contexts for every certificate that can be had: as it is, or as it worked last."""
    made = Contexts(TlsContexts(tickets))
    for certificate, key in _files(settings):
        try:
            Pair(certificate, key, certificate.read_bytes(), key.read_bytes()).add_to(made.contexts)
        except (ValueError, OSError) as error:
            made.problems.append(str(error))
            try:
                _kept(folder, certificate, key).add_to(made.contexts)
            except (ValueError, OSError):
                made.missing.append(str(certificate))
    try:
        _add_tunnel(made.contexts, settings["auth_domain"], folder)
    except (ValueError, OSError) as error:
        # Not the operator's: control writes it anew, and then tells
        made.problems.append(f"the tunnel's certificate can't be used: {error}")
    return made


def ends_of(pairs: list[Pair]) -> dict[str, float]:
    """Return {certificate file: unix time at which it ends}, for the monitor."""
    return {str(pair.certificate): end_of(pair.chain).timestamp() for pair in pairs}


def _files(settings: dict[str, Any]) -> Iterator[tuple[Path, Path]]:
    for entry in settings.get("certificates", []):
        yield Path(entry["certificate"]), Path(entry["key"])


# The pairs that worked last


def _kept_path(folder: Folder, certificate: Path, key: Path) -> Path:
    name = hashlib.sha256(f"{certificate}\0{key}".encode()).hexdigest()[:32]
    return folder.state / "keys" / KEPT / f"{name}.pair"


def _kept(folder: Folder, certificate: Path, key: Path) -> Pair:
    raw = _kept_path(folder, certificate, key).read_bytes()
    try:
        said = msgpack.unpackb(raw)
        return Pair(certificate, key, bytes(said["chain"]), bytes(said["secret"]))
    except (msgpack.UnpackException, KeyError, TypeError) as error:
        raise ValueError(str(error)) from None


def keep_pairs(folder: Folder, pairs: list[Pair]) -> None:
    """Write down pairs that work, for a worker that finds worse; raises OSError."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    for pair in pairs:
        if credentials and pair.key.is_relative_to(credentials):
            continue
        path = _kept_path(folder, pair.certificate, pair.key)
        raw: bytes = msgpack.packb({"chain": pair.chain, "secret": pair.secret})
        if not path.exists() or path.read_bytes() != raw:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(path, raw)


def forget_pairs(folder: Folder, pairs: list[Pair]) -> None:
    """Delete what was kept of pairs that the configuration no longer names."""
    named = {_kept_path(folder, pair.certificate, pair.key) for pair in pairs}
    with contextlib.suppress(OSError):
        for path in (folder.state / "keys" / KEPT).iterdir():
            if path not in named:
                path.unlink()


# The tunnel's


def _add_tunnel(contexts: TlsContexts, auth_domain: str, folder: Folder) -> None:
    """Add tunnel.<auth_domain>, from the files that control wrote; without them nobody links."""
    keys = folder.state / "keys"
    try:
        pem = (keys / TUNNEL_CERTIFICATE).read_bytes()
        anchors = (keys / TUNNEL_ANCHORS).read_bytes()
    except FileNotFoundError:
        return
    contexts.add(
        [f"tunnel.{auth_domain}"], pem, pem, profile="tunnel", client_ca=anchors, require=True
    )


def write_tunnel_files(folder: Folder, certificate: bytes, key: bytes, anchors: bytes) -> bool:
    """Put the tunnel's certificate where workers find it; return True where anything changed."""
    changed = False
    keys = folder.state / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    files = {TUNNEL_CERTIFICATE: certificate + key, TUNNEL_ANCHORS: anchors}
    for name, pem in files.items():
        path = keys / name
        if not path.exists() or path.read_bytes() != pem:
            write_atomic(path, pem)
            changed = True
    return changed
