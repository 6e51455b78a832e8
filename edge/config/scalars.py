"""The small types of the configuration: a text comes in, a typed value or a sentence comes out."""

import ipaddress
import re
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from _fastpath.facts import email_parts

DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_DURATION = 36_500 * 86_400  # seconds
MAX_DURATION_TEXT = 64  # characters; what is longer is not even looked at
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NOT_IN_URL = re.compile(r"[\s\x00-\x20\x7f-\x9f\"<>\\^`{|}]")  # urlsplit drops some silently
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


def wrong(text: str, **context: Any) -> PydanticCustomError:
    """Return an error whose sentence is shown as it is (braces are PydanticCustomError's)."""
    return PydanticCustomError("config", "{sentence}", {"sentence": text, **context})


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong("this must be a text")
    return value


def line(value: Any) -> str:
    text = text_of(value)
    if not text:
        raise wrong("this must not be empty")
    if CONTROL.search(text):
        raise wrong("this must be one line without control characters")
    return text


def duration(value: Any) -> float:
    """Return seconds; `1h30m`, `24h`, `500ms`, `7d`, `0`."""
    text = text_of(value)
    if text == "0":
        return 0.0
    parts = DURATION.findall(text) if len(text) <= MAX_DURATION_TEXT else []
    if not parts or "".join(n + u for n, u in parts) != text:
        raise wrong(f"“{text}” is not a duration: write a number with its unit, like 24h, 30m, 10s")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds > MAX_DURATION:
        raise wrong("nothing here lasts longer than 100 years (36500d)")
    return seconds


def whole_duration(value: Any) -> int:
    seconds = duration(value)
    if seconds != int(seconds):
        raise wrong("this duration is counted in whole seconds")
    return int(seconds)


def session_length(value: Any) -> int:
    seconds = whole_duration(value)
    if seconds > 31 * 86400:
        raise wrong("a session lasts at most 31 days (744h)")
    return seconds


def size(value: Any) -> int:
    """Return bytes (or a plain count); `64KiB`, `1MiB`, `100`."""
    match = re.fullmatch(r"([0-9]{1,12})(KiB|MiB|GiB)?", text_of(value))
    if not match:
        raise wrong(f"“{value}” is not a size: write a number, or one with KiB, MiB, GiB")
    return int(match[1]) * {None: 1, "KiB": 1024, "MiB": 1 << 20, "GiB": 1 << 30}[match[2]]


def host_name(value: Any) -> str:
    """Return a host name in lower case, without a dot at its end; names outside ASCII in their xn--
    form."""
    text = text_of(value).removesuffix(".").lower()
    if len(text) > 253:  # before anything that takes its time
        raise wrong(f"“{value}” is not a host name")
    if not text.isascii():
        try:
            text = text.encode("idna").decode()
        except UnicodeError as error:
            raise wrong(f"“{value}” is not a host name") from error
    labels = text.split(".")
    if len(text) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise wrong(f"“{value}” is not a host name")
    if labels[-1].isdigit():
        raise wrong(f"“{value}” is an address; a host name is needed here")
    return text


def host_pattern(value: Any) -> str:
    """Return a host name, or `*.` and one."""
    text = text_of(value)
    if text.startswith("*."):
        return "*." + host_name(text[2:])
    if "*" in text:
        raise wrong("a * in a host name stands alone and first, for one label: *.example.com")
    return host_name(text)


class Listen(NamedTuple):
    """Where to listen: an address (or name `localhost`) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback


def listen(value: Any) -> Listen:
    text = text_of(value)
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", text)
    if not match or int(match[3]) > 65535:
        raise wrong(f"“{text}” is not an address and port: write 0.0.0.0:443 or [::]:443")
    try:
        address = ipaddress.ip_address(match[1] or match[2])
    except ValueError as error:
        raise wrong(f"“{match[1] or match[2]}” is not an IP address") from error
    if (address.version == 6) != (match[1] is not None):
        raise wrong("an IPv6 address stands in brackets: [::]:443")
    return Listen(str(address), int(match[3]))


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(value: Any) -> Network:
    """Return an IP network; a single address is one of its own. IPv4-mapped IPv6 is IPv4 (C09)."""
    text = text_of(value)
    if "." in text.partition("/")[2]:
        # 0.0.0.255 would be read as 24 bits, and 0.0.0.0 as none: everybody
        raise wrong(f"“{text}”: write the prefix's length, not a mask, like 203.0.113.0/24")
    try:
        if "%" in text:
            raise ValueError("a zone means something on one machine only")
        found = ipaddress.ip_network(text)
    except ValueError as error:
        try:
            near = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise wrong(f"“{text}” is not an IP address or network, like 203.0.113.0/24") from error
        if "%" in text:
            raise wrong(f"“{text}” has a zone, which no client's address has") from error
        raise wrong(f"“{text}” has bits beyond its prefix; did you mean “{near}”?") from error
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, found.prefixlen - 96))
    return found


def file_path(value: Any, info: ValidationInfo) -> Path:
    """Return an absolute path: relative ones count from the file's folder, credential:NAME from
    systemd's folder."""
    text = text_of(value)
    if not text or "\0" in text:
        raise wrong("this must be the path of a file")
    context = info.context
    if text.startswith("credential:"):
        name = text.removeprefix("credential:")
        if not name or "/" in name:
            raise wrong("credential: is followed by a name without slashes")
        if context is None or context.credentials is None:
            raise wrong(
                f"credential:{name} needs $CREDENTIALS_DIRECTORY (systemd's LoadCredential=)"
            )
        return Path(context.credentials) / name
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise wrong(f"“{text}” begins with the home of nobody here") from error
    return path if context is None else Path(context.folder) / path


def http_url(value: Any) -> str:
    """Return an http(s) URL without user, query and fragment; no slash at its end."""
    text = text_of(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    good = good and NOT_IN_URL.search(text) is None
    if not good or parts.username is not None or parts.query or parts.fragment:
        raise wrong(f"“{text}” is not a URL like https://id.example.com")
    return text.rstrip("/")


def origin(value: Any) -> str:
    """Return a web origin as browsers write it: scheme, host, and the port where it is not the
    scheme's own."""
    parts = urlsplit(http_url(value))
    if parts.path:
        raise wrong(f"“{value}” is an address with a path; an origin is only https://host[:port]")
    host = host_name(parts.hostname)
    port = (
        "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    )
    return f"{parts.scheme}://{host}{port}"


def truth(value: Any) -> bool:
    if value in ("true", "yes", "on", True):
        return True
    if value in ("false", "no", "off", False):
        return False
    raise wrong("this must be true or false")


def whole(value: Any) -> int:
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"-?(?:0|[1-9][0-9]{0,14})", text):  # 0777 is octal to some
        raise wrong("this must be a whole number")
    return int(text)


def mail_server(value: Any) -> str:
    text = text_of(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    beside = (
        parts.username is not None or parts.path or parts.query or parts.fragment if good else ""
    )
    if not good or beside or NOT_IN_URL.search(text):
        raise wrong("write smtps://host:465 or smtp://host:587")
    return text


def mail_sender(value: Any) -> str:
    text = line(value)
    parts = email_parts(parseaddr(text)[1])
    if parts is None or NOT_IN_URL.search(parts[0].decode()):
        raise wrong(f"“{text}” is no sender: write an address, or Name <address>")
    return text


def database(value: Any) -> str:
    text = line(value)
    if not text.startswith(("sqlite:///", "postgresql://")) or text == "sqlite:///":
        raise wrong("write sqlite:////path or postgresql://…")
    return text


def host_header(value: Any) -> str:
    text = text_of(value)
    if not re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", text):
        raise wrong(f"“{text}” is no Host header: write a host name, perhaps with a port")
    return text


def aud_tag(value: Any) -> str:
    text = text_of(value)
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise wrong("an AUD tag has 64 hexadecimal digits in lower case")
    return text


def identifier(value: Any) -> str:
    text = text_of(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", text):
        raise wrong("an id has 1 to 64 letters, digits, - _ . : and begins with a letter or digit")
    return text


def name(value: Any) -> str:
    text = text_of(value)
    if not text.strip() or text != text.strip() or len(text) > 255 or not text.isprintable():
        raise wrong("a name has 1 to 255 printable characters and no space around it")
    return text


def schema(kind: str = "string", **rest: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **rest})


Name = Annotated[str, PlainValidator(name), schema(minLength=1, maxLength=255)]
Text = Annotated[str, PlainValidator(line), schema(minLength=1)]
Database = Annotated[str, PlainValidator(database), schema(examples=["sqlite:////path"])]
MailServer = Annotated[str, PlainValidator(mail_server), schema(examples=["smtps://host:465"])]
MailSender = Annotated[str, PlainValidator(mail_sender), schema(examples=["a@example.com"])]
HostHeader = Annotated[str, PlainValidator(host_header), schema(examples=["wiki.example.com"])]
Truth = Annotated[bool, PlainValidator(truth), schema("boolean")]
Whole = Annotated[int, PlainValidator(whole), schema("integer")]
Duration = Annotated[int, PlainValidator(whole_duration), schema(examples=["24h", "30m"])]
FineDuration = Annotated[float, PlainValidator(duration), schema(examples=["10s", "500ms"])]
SessionLength = Annotated[int, PlainValidator(session_length), schema(examples=["24h", "15m"])]
Size = Annotated[int, PlainValidator(size), WithJsonSchema({"type": ["integer", "string"]})]
HostName = Annotated[str, PlainValidator(host_name), schema(examples=["login.example.com"])]
HostPattern = Annotated[str, PlainValidator(host_pattern), schema(examples=["*.example.com"])]
ListenAddress = Annotated[Listen, PlainValidator(listen), schema(examples=["0.0.0.0:443"])]
NetworkText = Annotated[Network, PlainValidator(network), schema(examples=["10.0.0.0/24"])]
FilePath = Annotated[Path, PlainValidator(file_path), schema(examples=["/etc/sekisho/key"])]
HttpUrl = Annotated[str, PlainValidator(http_url), schema(examples=["https://id.example.com"])]
Origin = Annotated[str, PlainValidator(origin), schema(examples=["https://app.example.com"])]
AudTag = Annotated[str, PlainValidator(aud_tag), schema(pattern="^[0-9a-f]{64}$")]
Identifier = Annotated[str, PlainValidator(identifier), schema()]

__all__ = [
    "NOT_IN_URL",
    "AudTag",
    "BeforeValidator",
    "Database",
    "Duration",
    "FilePath",
    "FineDuration",
    "HostHeader",
    "HostName",
    "HostPattern",
    "HttpUrl",
    "Identifier",
    "Listen",
    "ListenAddress",
    "MailSender",
    "MailServer",
    "Name",
    "Network",
    "NetworkText",
    "Origin",
    "SessionLength",
    "Size",
    "Text",
    "Truth",
    "Whole",
    "wrong",
]  # fmt: skip
