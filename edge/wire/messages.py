"""What edge and connector say to each other on the control stream (stream 1 of a link).

A message is one msgpack map behind a 4-byte big-endian length (`framing.py`); its key `t` names the
kind. Unknown kinds and unknown keys are ignored, missing keys take their default: that is how
neighbouring releases talk. A field is never renamed and never changes its type; a new meaning is a
new field, and a new *must* is a new protocol version, negotiated in `Register` / `Accepted`.
`tests/wire/` keeps the bytes of the oldest message set and decodes them in every run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from edge.wire.errors import BadMessage

VERSIONS = (1,)  # protocol versions that this release speaks, best last


@dataclass(frozen=True, slots=True)
class Message:
    """One message; subclasses are its kinds. Field types are checked when it is decoded."""

    kind: ClassVar[str] = ""

    def to_map(self) -> dict[str, Any]:
        """Return the msgpack map, with empty and default fields left out."""
        out: dict[str, Any] = {"t": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                out[item.name] = value
        return out

    @classmethod
    def from_map(cls, values: dict[str, Any]) -> Self:
        """Build the message, or raise BadMessage when a field has the wrong type or is missing."""
        known: dict[str, Any] = {}
        for item in fields(cls):
            if item.name not in values:
                continue
            value = values[item.name]
            if not _fits(value, str(item.type)):
                raise BadMessage(f"{cls.kind}.{item.name} has the wrong type")
            known[item.name] = tuple(value) if isinstance(value, list) else value
        try:
            return cls(**known)
        except TypeError as error:
            raise BadMessage(f"{cls.kind}: {error}") from None


_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bytes": (bytes,),
    "bool": (bool,),
    "dict": (dict,),
    "tuple": (list, tuple),
    "None": (type(None),),
}


def _fits(value: object, annotation: str) -> bool:
    for part in annotation.split(" | "):
        name = part.split("[", 1)[0]
        if isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool)):
            return name != "tuple" or _members_fit(value, part)
    return False


def _members_fit(value: Any, annotation: str) -> bool:
    member = annotation.split("[", 1)[1].split(",", 1)[0]
    return all(_fits(one, member) for one in value)


# ---- connector to edge -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Register(Message):
    """First message of a link: who this is. Answered with Accepted or Refused."""

    kind: ClassVar[str] = "register"
    versions: tuple[int, ...]
    tunnel: str  # id; must equal the one in the certificate
    replica: str  # id of the connector process: 32 hex digits, new at each start
    software: str = ""  # for people: "sekisho/0.1.0"
    clock: float = 0.0  # unix seconds at the connector; 0 = not told
    previous: str = ""  # why the last link of this process was lost, a reason name


@dataclass(frozen=True, slots=True)
class Table(Message):
    """A numbered service table. Replaces the one before; that one stays good for 60 s.

    Each entry is a map: index (int), hostname ("" = any), path ("" = any), service (as in the
    ingress file, without credentials), options (a map of the edge-side keys of originRequest).
    """

    kind: ClassVar[str] = "table"
    version: int
    entries: tuple[dict[str, Any], ...]
    owner: str = "file"  # or "edge": the table that Config pushed


@dataclass(frozen=True, slots=True)
class Configured(Message):
    """Answer to Config: taken (reason empty), or refused and the old table kept."""

    kind: ClassVar[str] = "configured"
    version: int
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class CertificateRequest(Message):
    """Ask for a link certificate; all that the enrolment role may say; also a renewal."""

    kind: ClassVar[str] = "certificate_request"
    request: bytes  # PKCS #10, DER: only its public key is read


# ---- edge to connector -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted(Message):
    """The link is registered: from here on streams may come."""

    kind: ClassVar[str] = "accepted"
    version: int  # protocol version for the rest of this link
    slot: int  # of the worker that this link ended in
    slots: int  # workers of the edge
    clock: float = 0.0  # unix seconds at the edge
    statistics: float = 10.0  # seconds between Statistics messages
    edge: str = ""  # name of the edge node, for people


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """No: the link is closed after it. Answer to Register and to CertificateRequest."""

    kind: ClassVar[str] = "refused"
    reason: str
    text: str = ""
    retry_after: float = 0.0  # seconds; 0 = the usual back-off
    final: bool = False  # only a person can change this: wait the longest back-off


@dataclass(frozen=True, slots=True)
class TableAccepted(Message):
    """The edge matches by this version from here on; `unrouted` hostnames never match."""

    kind: ClassVar[str] = "table_accepted"
    version: int
    unrouted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableRefused(Message):
    """The table is not used, and the one before stays. A first table refused means: no service."""

    kind: ClassVar[str] = "table_refused"
    version: int
    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Config(Message):
    """A table owned by the edge (the dashboard's). Answered with Configured, then Table."""

    kind: ClassVar[str] = "config"
    version: int
    entries: tuple[dict[str, Any], ...]  # ingress rules in the file's shape, keys as in config.yml


@dataclass(frozen=True, slots=True)
class Certificate(Message):
    """A link certificate, and the anchors that the connector pins from now on."""

    kind: ClassVar[str] = "certificate"
    certificate: bytes  # PEM
    anchors: bytes = b""  # PEM, one or more; empty = unchanged
    until: float = 0.0  # unix seconds of its end


# ---- both ways ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drain(Message):
    """The sender is leaving: no new streams here; those that run may end within `seconds`."""

    kind: ClassVar[str] = "drain"
    seconds: float = 30.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Statistics(Message):
    """What the sender measured on this link since it began; for people and metrics."""

    kind: ClassVar[str] = "statistics"
    round_trip: int = 0  # microseconds, smoothed
    streams: int = 0  # open now
    total: int = 0  # opened since the link began
    values: dict[str, Any] = field(default_factory=dict)


KINDS: tuple[type[Message], ...] = (
    Register,
    Table,
    Configured,
    CertificateRequest,
    Accepted,
    Refused,
    TableAccepted,
    TableRefused,
    Config,
    Certificate,
    Drain,
    Statistics,
)
BY_NAME = {one.kind: one for one in KINDS}


def parse(values: object) -> Message | None:
    """Return the message, None for a kind that this release doesn't know, or raise BadMessage."""
    if not isinstance(values, dict) or not isinstance(values.get("t"), str):
        raise BadMessage("not a map with a kind")
    kind = BY_NAME.get(values["t"])
    return None if kind is None else kind.from_map(values)
