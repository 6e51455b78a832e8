"""Certificate files into TLS contexts, in the worker: all of them again at every reload."""

import logging
from pathlib import Path
from typing import Any

from _fastpath.contexts import TicketKeys, TlsContexts
from _fastpath.pem import certificate_names
from edge.identity.authority import end_of
from edge.server.folder import Folder, write_atomic

TUNNEL_CERTIFICATE = "tunnel.pem"  # edge's certificate for tunnel.<auth_domain>, then its key
TUNNEL_ANCHORS = "tunnel-ca.pem"  # who signs connectors' certificates

log = logging.getLogger("sekisho.tls")


def contexts_of(settings: dict[str, Any], folder: Folder, tickets: TicketKeys) -> TlsContexts:
    """Return contexts for every certificate; raises ValueError or OSError that names the file."""
    contexts = TlsContexts(tickets)
    for entry in settings.get("certificates", []):
        certificate, key = Path(entry["certificate"]), Path(entry["key"])
        pem = certificate.read_bytes()
        try:
            contexts.add(certificate_names(pem), pem, key.read_bytes())
        except ValueError as error:
            raise ValueError(f"{certificate} with {key} can't be used: {error}") from error
    _add_tunnel(contexts, settings["auth_domain"], folder)
    return contexts


def ends_of(settings: dict[str, Any]) -> dict[str, float]:
    """Return {certificate file: unix time at which it ends}, for the monitor."""
    return {
        entry["certificate"]: end_of(Path(entry["certificate"]).read_bytes()).timestamp()
        for entry in settings.get("certificates", [])
    }


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
