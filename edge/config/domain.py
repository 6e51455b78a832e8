"""What an application covers: a host, or a host and a path. The path is kept in the normal form
that requests get."""

import re
from typing import Annotated, Any, NamedTuple

from pydantic import PlainValidator

from _fastpath.limits import MAX_PATH_PATTERN
from edge.config.scalars import host_pattern, schema, text_of, wrong

UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
DELIMITERS = "!$&'()+,:;=@"  # requests are compared with these decoded (route.pyx, matched_form)
ALLOWED = re.compile(r"[A-Za-z0-9._~!$&'()+,;=:@*/-]")


class Domain(NamedTuple):
    """host: a name or *.name. path: "" for the whole host, else from its first slash, without one
    at its end."""

    host: str
    path: str

    def __str__(self) -> str:
        return self.host + self.path


def normal_path(text: str) -> str:
    """Return the normal form of a path pattern; raises the sentence to show.

    The same rules as _fastpath.head.path_normal (section D of the negative cases), with `*` for any
    bytes."""
    if "?" in text or "#" in text:
        raise wrong("a path has no query and no fragment")
    out: list[str] = []
    i = 0
    while i < len(text):
        letter = text[i]
        if letter == "%":
            code = text[i + 1 : i + 3]
            if not re.fullmatch(r"[0-9A-Fa-f]{2}", code):
                raise wrong(f"“%{code}” is not a percent escape")
            byte = chr(int(code, 16))
            if ord(byte) < 33 or ord(byte) == 127 or byte in "/\\%":
                raise wrong(f"“%{code}” can't stand in a path: no request is let through with it")
            plain = UNRESERVED.fullmatch(byte) or byte in DELIMITERS
            out.append(byte if plain else "%" + code.upper())
            i += 3
            continue
        if ALLOWED.fullmatch(letter):
            out.append(letter)
        elif letter.isprintable() and not letter.isascii():
            out.append("".join(f"%{byte:02X}" for byte in letter.encode()))
        else:
            raise wrong(f"“{letter}” can't stand in a path")
        i += 1
    path = re.sub("/+", "/", "".join(out))
    segments = path.split("/")
    if any(segment.split(";")[0] in (".", "..") for segment in segments):
        raise wrong("a path has no . and .. segments")
    if ";" in path:
        raise wrong("a path has no “;”: requests are compared without parameters")
    if any(segment.endswith(".") for segment in segments):
        raise wrong("no segment of a path ends with a dot: requests are compared without it")
    if any(segment.count("*") > 1 for segment in segments):
        raise wrong("at most one * between two slashes")
    if len(path) > MAX_PATH_PATTERN:
        raise wrong(f"a path has at most {MAX_PATH_PATTERN} bytes")
    return path.removesuffix("/")


def domain(value: Any) -> Domain:
    """Return host and path; scheme and port are errors, as in Cloudflare's."""
    text = text_of(value)
    if "://" in text:
        raise wrong(f"“{text}” has a scheme; write only {text.split('://', 1)[1]}")
    host, slash, rest = text.partition("/")
    if ":" in host:
        raise wrong(f"“{text}” has a port; an application covers its host on every port")
    return Domain(host_pattern(host), normal_path(slash + rest) if rest else "")


DomainText = Annotated[Domain, PlainValidator(domain), schema(examples=["wiki.example.com/admin"])]
