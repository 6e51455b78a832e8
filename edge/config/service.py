"""What a route leads to when no tunnel does: an address that the edge itself dials."""

import ipaddress
import re
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import PlainValidator

from edge.config.scalars import NOT_IN_URL, host_name, schema, text_of, wrong

SCHEMES = {
    "": 0,
    "http": 1,
    "https": 2,
    "unix": 3,
    "unix+tls": 4,
    "http_status": 5,
    "hello_world": 6,
}


class Service(NamedTuple):
    """scheme: a key of SCHEMES. host, port for http(s); path for unix; status for http_status."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    status: int = 0

    @property
    def tls(self) -> bool:
        return self.scheme in ("https", "unix+tls")


def service(value: Any) -> Service:
    """Return the service of http://…, https://…, unix:/path, unix+tls:/path, http_status:NNN or
    hello_world."""
    text = text_of(value)
    if text == "hello_world":
        return Service("hello_world")
    if match := re.fullmatch(r"http_status:(\d{3})", text):
        status = int(match[1])
        if not 200 <= status <= 599:
            raise wrong(f"{status} is not a status that an answer can have")
        return Service("http_status", status=status)
    if match := re.fullmatch(r"(unix|unix\+tls):(?://)?(/[^\x00-\x1f\x7f-\x9f]+)", text):
        if len(match[2].encode()) > 107:
            raise wrong("the path of a Unix socket has at most 107 bytes")
        return Service(match[1], path=match[2])
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise wrong(f"“{text}” has no port that can be dialled") from error
    if parts.scheme not in ("http", "https") or NOT_IN_URL.search(text):
        raise wrong(
            f"“{text}” is no service: write http://…, https://…, unix:/…, http_status:404 or "
            f"hello_world"
        )
    if not parts.hostname or parts.username is not None:
        raise wrong(f"“{text}” needs a host, and no user")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise wrong(f"“{text}” has a path; a service is only scheme, host and port")
    host = parts.hostname
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        host = host_name(host)
    if port == 0:
        raise wrong(f"“{text}” has no port that can be dialled")
    return Service(parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme])


ServiceText = Annotated[Service, PlainValidator(service), schema(examples=["http://10.0.0.7:3000"])]
