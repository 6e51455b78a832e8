"""Tables that the edge owns: taken only within the operator's local `allow:` patterns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from edge.connector.ingress import Rule, Settings, read_text_of
from edge.connector.service import is_link_local


class NotAllowed(Exception):
    """A pushed table is refused as a whole; `reason` is stable, the sentence is for people."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def rules_of(entries: tuple[dict[str, Any], ...], settings: Settings) -> tuple[Rule, ...]:
    """Return the rules of a pushed table, or raise NotAllowed.

    The entries have the shape of `ingress` in the file and go through the same checks. Files of
    this machine can't be named from afar, so `caPool` is refused; and who may read the traffic to
    an origin is decided here, so `noTLSVerify` is.
    """
    if not settings.allow:
        raise NotAllowed("table-not-allowed", "this connector has no “allow:” patterns")
    for entry in entries:
        options = entry.get("originRequest")
        if options is None:
            continue
        if not isinstance(options, dict):
            raise NotAllowed("table-invalid", "originRequest is a mapping")
        if "caPool" in options:
            raise NotAllowed("table-not-allowed", "caPool names a file here: not from afar")
        if "noTLSVerify" in options:
            raise NotAllowed("table-not-allowed", "noTLSVerify weakens a check: not from afar")
    text = yaml.safe_dump({"ingress": [dict(entry) for entry in entries]}, allow_unicode=True)
    read = read_text_of(text.encode(), Path("pushed"))
    if read.settings is None:
        raise NotAllowed("table-invalid", "; ".join(str(one) for one in read.errors))
    for rule in read.settings.rules:
        service = rule.service
        if service.kind in ("status", "hello"):
            continue
        if is_link_local(service.host):
            raise NotAllowed("table-not-allowed", f"{service.text} is a link-local address")
        if not any(pattern.admits(service) for pattern in settings.allow):
            raise NotAllowed("table-not-allowed", f"{service.text} fits no “allow:” pattern")
    return read.settings.rules
