"""Requests to identity providers: bounded in time and size, no redirects, no addresses of our
own side."""

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from edge.identity.providers.failed import ProviderFailed

TIMEOUT = 10.0  # seconds for one exchange with a provider, everything included
MAX_BODY = 1 << 20  # bytes of one answer


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_BODY
        async for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise ProviderFailed("provider-answer-too-large", "answer over 1 MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects only where a provider may be, to the very address that was checked."""

    def __init__(self, *, allow_local: bool, ca_file: str = "") -> None:
        self._allow_local = allow_local
        context = ssl.create_default_context(cafile=ca_file or None)
        self._inner = httpx2.AsyncHTTPTransport(verify=context, retries=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        check_url(str(url), allow_local=self._allow_local)
        address = await resolve(url.host, url.port or 443, allow_local=self._allow_local)
        # A second look-up could give another answer than the one that was checked.
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        request.url = url.copy_with(host=address)
        # A compressed answer could be larger than what the cap counts.
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        request.url = url
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise ProviderFailed("provider-answer-invalid", "answer is compressed unasked")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Capped(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def check_url(url: str, *, allow_local: bool) -> None:
    """Raise ProviderFailed unless this is an https address (or http, for a local provider)."""
    parsed = httpx2.URL(url)
    schemes = ("https", "http") if allow_local else ("https",)
    if parsed.scheme not in schemes or not parsed.host or parsed.userinfo:
        raise ProviderFailed("provider-address-refused", f"address with scheme {parsed.scheme!r}")
    if parsed.scheme == "http" and not _literal_local(parsed.host):
        raise ProviderFailed("provider-address-refused", "plain http to a host that isn't local")


async def resolve(host: str, port: int, *, allow_local: bool) -> str:
    """Return an address of the host; ProviderFailed for one that isn't public."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProviderFailed("provider-unreachable", f"{host}: {error}") from error
    for _, _, _, _, place in found:
        if not allow_local and not _ordinary(str(place[0])):
            raise ProviderFailed(
                "provider-address-refused", f"{host} is at {place[0]}, on our own side"
            )
    return str(found[0][4][0])


def _ordinary(address: str) -> bool:
    """Say whether a provider may be there without the operator having said so (M16)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_global and not parsed.is_multicast


def _literal_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def fetch_json(client: httpx2.AsyncClient, url: str, **headers: str) -> Any:
    """Return the JSON at this address; ProviderFailed for anything but 200 and JSON within 10 s."""
    try:
        async with asyncio.timeout(TIMEOUT):
            response = await httpx2.AsyncClient.request(
                client, "GET", url, headers={"accept": "application/json", **headers}
            )
    except (httpx2.HTTPError, OSError, TimeoutError) as error:
        raise ProviderFailed("provider-unreachable", f"{url}: {type(error).__name__}") from error
    if response.status_code != 200:
        raise ProviderFailed("provider-answer-invalid", f"{url}: status {response.status_code}")
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise ProviderFailed("provider-answer-invalid", f"{url}: not JSON") from error
