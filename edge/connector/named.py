"""The credentials that a connector's configuration names: are they there, and the tunnel's?"""

from pathlib import Path

from edge.config.problem import Problem
from edge.config.source import mark_at, parse
from edge.connector.credentials import CredentialsRefused, load
from edge.connector.ingress import near


def credential_problems(path: Path) -> list[Problem]:
    """Return what is wrong with “credentials-file” and “tunnel” of this file, at their places.

    A file that can't be read or isn't YAML has nothing to look at: its problems are told already.
    Without “credentials-file” they come by the command line or the environment."""
    try:
        document = parse(path.read_bytes(), lambda mark, sentence: None)
    except OSError:
        return []
    named = document.get("credentials-file") if document is not None else None
    file = near(path, named) if isinstance(named, str) else None
    if document is None or file is None:
        return []
    try:
        found = load(file)
    except CredentialsRefused as error:
        mark = mark_at(document.values_at["credentials-file"])
        return [Problem(str(path), *mark, str(error))]
    tunnel = document.get("tunnel")
    if isinstance(tunnel, str) and tunnel not in (found.tunnel, found.name):
        mark = mark_at(document.values_at["tunnel"])
        text = f"the credentials are for tunnel {found.name} ({found.tunnel}), not “{tunnel}”"
        return [Problem(str(path), *mark, text)]
    return []
