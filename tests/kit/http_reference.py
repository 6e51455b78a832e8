"""A plain reading of RFC 9112 and of section D, slow and obvious, to judge the codec by.

It shares no code and no technique with `_fastpath`: regular expressions over whole messages here,
one pass over borrowed bytes there. It says what is accepted and what it means, not which reason a
refusal has."""

import re
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
METHOD = rb"[!#$%&'*+\-.^_`|~0-9A-Z]{1,32}"
TARGET = rb"[!$-;=?-\[\]-~]+"  # visible ASCII but " # < > and backslash
VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
REQUEST = re.compile(rb"(?:\r\n)?(%b) (%b) HTTP/1\.([01])\r\n" % (METHOD, TARGET))
STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (%b))?\r\n" % VALUE)
FIELD = re.compile(rb"(%b):(%b)\r\n" % (TOKEN, VALUE))
OWNED = re.compile(
    r"(cf-|x-forwarded-).+|forwarded|x-real-ip|true-client-ip|x-original-url|x-rewrite-url|proxy"
)
READ_OWNED = {"cf-access-token", "cf-access-client-id", "cf-access-client-secret"}
NEVER_LISTED = {"host", "content-length", "transfer-encoding"}


class Refused(Exception):
    """The message must be refused."""


class Incomplete(Exception):
    """More bytes are needed."""


@dataclass
class Reading:
    size: int
    minor: int
    fields: list[tuple[bytes, bytes]]
    method: bytes = b""
    target: bytes = b""
    status: int = 0
    framing: str = "none"
    length: int = 0
    keep_alive: bool = True
    expect_continue: bool = False
    upgrade: str = ""
    owned: set[int] = field(default_factory=set)  # indexes of fields that only the edge may set
    listed: set[int] = field(
        default_factory=set
    )  # indexes of fields that Connection makes hop-by-hop

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.decode("latin-1").lower() == name]


def read_fields(data: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    fields: list[tuple[bytes, bytes]] = []
    while not data.startswith(b"\r\n", at):
        found = FIELD.match(data, at)
        if not found:
            raise Refused
        if found.end() - at - 2 > 32768 or len(fields) == 100:
            raise Refused
        fields.append((found[1], found[2].strip(b" \t")))
        at = found.end()
    return fields, at + 2


def is_owned(name: bytes) -> bool:
    folded = re.sub(r"[^a-z0-9]", "-", name.decode("latin-1").lower())
    if folded in READ_OWNED:
        return (
            folded.encode() != name.lower()
        )  # only the exact spelling is read, the others are dropped
    return bool(OWNED.fullmatch(folded))


def settle(r: Reading, *, switches: bool = True) -> None:
    """What the fields mean together; Upgrade only where the message can switch."""
    for name, _ in r.fields:
        plain = name.decode("latin-1").lower()
        folded = re.sub(r"[^a-z0-9]", "-", plain)
        if folded in ("content-length", "transfer-encoding") and folded != plain:
            raise Refused
    lengths, codings = r.all("content-length"), r.all("transfer-encoding")
    if codings:
        if lengths or r.minor == 0 or [c.lower() for c in codings] != [b"chunked"]:
            raise Refused
        r.framing = "chunked"
    elif lengths:
        if len(lengths) > 1 or not re.fullmatch(rb"0|[1-9][0-9]{0,17}", lengths[0]):
            raise Refused
        r.framing, r.length = "length", int(lengths[0])
    options = [o.strip(b" \t").lower() for v in r.all("connection") for o in v.split(b",")]
    if len(options) > 32 or not all(re.fullmatch(TOKEN, o) or o == b"" for o in options):
        raise Refused
    r.keep_alive = b"close" not in options and (r.minor == 1 or b"keep-alive" in options)
    r.owned = {i for i, (name, _) in enumerate(r.fields) if is_owned(name)}
    r.listed = {
        i
        for i, (name, _) in enumerate(r.fields)
        if name.lower() in options
        and name.lower() not in (b"close", b"keep-alive", b"upgrade")
        and i not in r.owned
        and name.decode("latin-1").lower() not in NEVER_LISTED | READ_OWNED
    }
    asked = [u.lower() for u in r.all("upgrade")]
    if asked and switches:
        known = {b"websocket": "websocket", b"sekisho-tcp/1": "tcp"}
        r.upgrade = known.get(asked[0], "other") if len(asked) == 1 and r.minor else "other"
        if r.upgrade != "other" and b"upgrade" not in options:
            raise Refused


def whole_head(data: bytes) -> None:
    """Raise Incomplete where no empty line ends the head within the limit."""
    end = data.find(b"\r\n\r\n", 2 if data.startswith(b"\r\n") else 0)
    if end < 0 and len(data) < 65536:
        raise Incomplete
    if end < 0 or end + 4 > 65536:
        raise Refused


def read_request(data: bytes) -> Reading:
    """Read one request head; raise Incomplete or Refused."""
    whole_head(data)
    line = REQUEST.match(data)
    if not line:
        raise Refused
    method, target = line[1], line[2]
    fields, end = read_fields(data, line.end())
    r = Reading(end, int(line[3]), fields, method=method, target=target)
    if len(target) > 8192 or method in (b"CONNECT", b"TRACE", b"TRACK"):
        raise Refused
    settle(r)
    hosts = r.all("host")
    if len(hosts) != 1 or not hosts[0]:
        raise Refused
    absolute = re.match(rb"(?i)(https?)://([^/?]+)", target)
    if absolute:
        usual = 80 if absolute[1].lower() == b"http" else 443
        asked, named = read_host(absolute[2]), read_host(hosts[0])
        if (asked[0], asked[1] or usual) != (named[0], named[1] or usual):
            raise Refused
    elif target == b"*":
        if method != b"OPTIONS":
            raise Refused
    elif not target.startswith(b"/"):
        raise Refused
    for name in (*READ_OWNED, "authorization", "origin"):
        if len(r.all(name)) > 1:
            raise Refused
    expect = r.all("expect")
    if expect:
        if [e.lower() for e in expect] != [b"100-continue"]:
            raise Refused
        r.expect_continue = r.minor == 1
    if r.upgrade in ("websocket", "tcp"):
        if method != b"GET" or r.framing == "chunked" or r.length:
            raise Refused
        if r.upgrade == "websocket":
            if r.all("sec-websocket-version") != [b"13"]:
                raise Refused
            keys = r.all("sec-websocket-key")
            if len(keys) != 1 or not re.fullmatch(rb"[A-Za-z0-9+/]{22}==", keys[0]):
                raise Refused
    return r


def read_response(data: bytes, method: bytes = b"GET") -> Reading:
    """Read one response head; raise Incomplete or Refused."""
    whole_head(data)
    line = STATUS.match(data)
    if not line or line.end() - 2 > 32768:
        raise Refused
    fields, end = read_fields(data, line.end())
    r = Reading(end, int(line[1]), fields, status=int(line[2]))
    settle(r, switches=r.status == 101)  # in another answer Upgrade only announces
    if r.status < 200 or r.status == 204:
        if r.framing == "chunked":
            raise Refused
        r.framing = "none"
    elif r.status == 304 or method == b"HEAD":
        r.framing = "none"
    elif r.framing == "none":
        r.framing, r.keep_alive = "close", False
    return r


SIZE_LINE = re.compile(
    rb'([0-9A-Fa-f]{1,16})((?:;%b(?:=(?:%b|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|'
    rb'\\[\t\x20-\x7e\x80-\xff])*"))?)*)\r\n' % (TOKEN, TOKEN)
)


def read_chunked(data: bytes) -> tuple[bytes, bytes]:
    """Return (payload, what follows) of a whole chunked body; raise Refused for other bytes."""
    payload, at, extensions = b"", 0, 0
    while True:
        line = SIZE_LINE.match(data, at)
        if not line or int(line[1], 16) >= 1 << 60:
            raise Refused
        extensions += max(len(line[2]), 0)
        at, size = line.end(), int(line[1], 16)
        if size == 0:
            break
        if data[at + size : at + size + 2] != b"\r\n":
            raise Refused
        payload += data[at : at + size]
        at += size + 2
    if extensions > 16384:
        raise Refused
    fields, end = read_fields(data, at)
    if end - at > 16384 or len(fields) > 100:
        raise Refused
    return payload, data[end:]


def read_host(host: bytes) -> tuple[bytes, int | None]:
    """Return (lower-case name, port or None); raise Refused."""
    found = re.fullmatch(rb"(\[[0-9A-Fa-f:.]{2,}\]|[0-9A-Za-z_.-]+)(?::([1-9][0-9]{0,4}))?", host)
    if not found or len(host) > 255 or (found[2] and int(found[2]) > 65535):
        raise Refused
    name = found[1].lower()
    if name.startswith(b"["):
        return name, int(found[2]) if found[2] else None
    if name.endswith(b"."):
        name = name[:-1]
    labels = name.split(b".")
    if len(name) > 253 or not all(0 < len(label) < 64 for label in labels):
        raise Refused
    return name, int(found[2]) if found[2] else None


ATOM = re.compile(rb"(?:%[0-9A-Fa-f]{2})|[!$&-.0-;=@-\[\]-~]")
UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def read_path(path: bytes, encoded_slash: bool = False) -> bytes:
    """Return the normal form of a path; raise Refused. Segment by segment, atom by atom."""
    if not path.startswith(b"/") or len(path) > 8192:
        raise Refused
    kept: list[bytes] = []
    dots = parameters = False
    open_end = True  # the normal form ends in '/'
    segments = path.split(b"/")[1:]
    for number, segment in enumerate(segments):
        atoms = read_atoms(segment)
        pieces = split_pieces(atoms)
        for separator, piece in pieces:
            if piece.endswith(b"%20"):
                raise Refused
            if separator == b"%2F" and not encoded_slash:
                raise Refused
        parameters |= any(s in (b";", b"%3B") for s, _ in pieces)
        if len(pieces) > 1:
            for k, (separator, piece) in enumerate(pieces):
                before = [s for s, _ in pieces[:k]]
                inside_parameters = (bool(before) and before[-1] != b"%2F") or parameter_reaches(
                    before
                )
                if not inside_parameters and piece in (b".", b".."):
                    raise Refused
                if separator == b"%2F" and piece == b"" and not inside_parameters:
                    raise Refused
        text = b"".join(atoms)
        last = number == len(segments) - 1
        if text == b"":
            open_end = True
        elif text == b".":
            dots = open_end = True
        elif text == b"..":
            dots = open_end = True
            if not kept:
                raise Refused
            kept.pop()
        else:
            kept.append(text)
            open_end = not last
    if dots and parameters:
        raise Refused
    return b"/" + b"/".join(kept) + (b"/" if open_end and kept else b"")


def parameter_reaches(separators: list[bytes]) -> bool:
    """A ';' puts all pieces up to the next encoded slash into parameters."""
    return bool(separators) and separators[-1] in (b";", b"%3B")


def read_atoms(segment: bytes) -> list[bytes]:
    atoms: list[bytes] = []
    at = 0
    while at < len(segment):
        found = ATOM.match(segment, at)
        if not found:
            raise Refused
        atom = found[0]
        at = found.end()
        if len(atom) == 1:
            atoms.append(atom)
            continue
        value = int(atom[1:], 16)
        if value < 0x20 or value in (0x7F, 0x5C):
            raise Refused
        if value == 0x25 and re.match(rb"(25)*(2e|2f|5c|[01][0-9a-f]|7f)", segment[at:], re.I):
            raise Refused
        atoms.append(bytes([value]) if value in UNRESERVED else b"%%%02X" % value)
    escaped = [
        bytes([int(a[1:], 16)]) if len(a) == 3 and int(a[1:], 16) >= 128 else b"/" for a in atoms
    ]
    try:
        b"".join(escaped).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused from None
    return atoms


def split_pieces(atoms: list[bytes]) -> list[tuple[bytes, bytes]]:
    """[(separator that ends the piece, piece)], the last with separator b""."""
    pieces, piece = [], b""
    for atom in atoms:
        if atom in (b";", b"%3B", b"%2F"):
            pieces.append((atom, piece))
            piece = b""
        else:
            piece += atom
    return [*pieces, (b"", piece)]
