"""Tunnels as the administrator and the workers see them: created, listed, deleted; certificates
signed. Only control holds the tunnel CA's key (a row of the store, encrypted)."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.control.admin import Answer, NotDone, body_of, field
from edge.identity import authority
from edge.identity.audit import Audit
from edge.identity.authority import Authority
from edge.identity.keys import KeyStore
from edge.identity.revocations import Revocations
from edge.store import NameTaken, Store, Thing

CA = "tunnel-ca"  # name of the key row; its public text is the certificate
EDGE = "tunnel-edge"  # kind of the rows with the edge's certificate for tunnel.<auth_domain>
NAME = re.compile(r"[^\W_][\w .-]{0,62}")  # of a tunnel; a UUID is refused: it would be an id
MAX_HOSTNAMES = 100  # that one credential is limited to

Changed = Callable[[str], Awaitable[None]]


class TunnelDesk:
    """Everything about tunnels that needs the store or the CA's key."""

    def __init__(
        self,
        store: Store,
        keys: KeyStore,
        revocations: Revocations,
        audit: Audit,
        *,
        changed: Changed,
        states: Callable[[], Sequence[dict[str, Any]]],
        addresses: Callable[[], tuple[str, list[str]]],
        close_links: Callable[[str, str], int],
        clock: Callable[[], float],
    ) -> None:
        self.store = store
        self.keys = keys
        self.revocations = revocations
        self.audit = audit
        self.changed = changed  # (why): returns when every worker runs the new snapshot
        self.states = states  # one map per link of every worker
        self.addresses = addresses  # (server name, [host:port …]) for new credentials
        self.close_links = close_links  # (tunnel id, replica or ""): how many were asked to close
        self.clock = clock

    # -- keys --------------------------------------------------------------------------------------

    async def start(self, server_name: str) -> tuple[bytes, bytes, bytes]:
        """Make what is missing; return (edge certificate, its key, anchors), all PEM.

        The CA is made once, in a store that has none. It is never replaced silently: a damaged
        row was refused when the keys were opened.
        """
        now = authority.utc_now()
        if self.keys.get(CA) is None:
            fresh = authority.new_authority("Sekisho tunnel CA", now)
            await self.keys.put(CA, "tunnel-ca", fresh.key, fresh.certificate.decode())
            self.audit.record("tunnel-ca-create")
        before = self.keys.of_kind(EDGE)  # each renewal is a row of its own, the newest counts
        edge = before[-1] if before else None
        if (
            edge is None
            or authority.wants_renewal(edge.public.encode(), now)
            or authority.names_of(edge.public.encode()) != [server_name]
        ):
            key = authority.new_key()
            certificate = authority.issue_edge(self._ca(), key=key, name=server_name, now=now)
            name = f"{EDGE}-{len(before):05d}"
            edge = await self.keys.put(name, EDGE, key, certificate.decode())
        return edge.public.encode(), edge.secret, self.anchors()

    def anchors(self) -> bytes:
        """Return the certificates that connectors pin, PEM."""
        return self._ca().certificate

    def _ca(self) -> Authority:
        row = self.keys.get(CA)
        if row is None:
            raise NotDone("there is no tunnel CA yet", 503)
        return Authority(row.public.encode(), row.secret)

    # -- workers ask -------------------------------------------------------------------------------

    async def link_certificate(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Answer a worker's question: a link certificate for a credential, or why not."""
        credential = await self.store.objects.get(str(ask.get("credential", "")))
        if credential is None or credential.kind != "credential":
            return _no("link-revoked", "there is no such credential")
        if credential.body.get("revoked"):
            return _no("link-revoked", "the credential was revoked")
        tunnel = await self.store.objects.get(credential.body["tunnel"])
        if tunnel is None:
            return _no("tunnel-unknown", "the tunnel was deleted")
        if ask.get("tunnel") not in ("", None, tunnel.id):
            return _no("link-role", "the credential is for another tunnel")
        try:
            certificate = authority.issue_link(
                self._ca(),
                request=ask["request"],
                tunnel=tunnel.id,
                credential=credential.id,
                hostnames=credential.body.get("hostnames", []),
                now=authority.utc_now(),
            )
        except ValueError as error:
            return _no("link-protocol", f"the certificate request can't be used: {error}")
        return {
            "certificate": certificate,
            "anchors": self.anchors(),
            "until": authority.end_of(certificate).timestamp(),
        }

    # -- the administrator asks --------------------------------------------------------------------

    async def create(self, name: str, request: bytes, hostnames: list[str]) -> Answer:
        """Make a tunnel with its first credential; answered when every worker knows it."""
        if NAME.fullmatch(name) is None or _is_id(name):
            raise NotDone("a tunnel's name is 1 to 63 letters, digits, spaces, . _ or -", 400)
        ident = str(uuid.uuid4())
        now = int(self.clock())
        if await self.store.objects.find("tunnel", name) is not None:
            raise NotDone(f"there is a tunnel “{name}” already", 409)
        # the certificate first: a request that can't be signed leaves no tunnel behind
        answer = await self._credential(ident, name, request, hostnames)
        try:
            await self.store.objects.add("tunnel", ident, name, {}, None, now)
        except NameTaken:
            await self.store.objects.remove(answer["credential"])
            raise NotDone(f"there is a tunnel “{name}” already", 409) from None
        self.audit.record("tunnel-create", tunnel=ident, name=name)
        await self.changed("tunnel created")
        return answer

    async def _credential(
        self, tunnel: str, name: str, request: bytes, hostnames: list[str]
    ) -> Answer:
        if len(hostnames) > MAX_HOSTNAMES or not all(_HOST.fullmatch(one) for one in hostnames):
            raise NotDone("hostnames are like wiki.example.com or *.example.com", 400)
        ident = str(uuid.uuid4())
        try:
            certificate = authority.issue_credential(
                self._ca(),
                request=request,
                credential=ident,
                hostnames=hostnames,
                now=authority.utc_now(),
            )
        except ValueError as error:
            raise NotDone(f"the certificate request can't be used: {error}", 400) from None
        body = {"tunnel": tunnel, "hostnames": hostnames, "revoked": False}
        await self.store.objects.add("credential", ident, ident, body, None, int(self.clock()))
        server_name, addresses = self.addresses()
        return {
            "tunnel": tunnel,
            "name": name,
            "credential": ident,
            "edge": addresses,
            "server_name": server_name,
            "anchors": self.anchors().decode(),
            "certificate": certificate.decode(),
        }

    async def overview(self) -> list[Answer]:
        """Return every tunnel with how many links it has."""
        states = self.states()
        rows = []
        for tunnel in await self.store.objects.list("tunnel"):
            links = [one for one in states if one.get("tunnel") == tunnel.id]
            rows.append(
                {
                    "id": tunnel.id,
                    "name": tunnel.name,
                    "created": tunnel.created,
                    "status": _status(links),
                    "links": len(links),
                    "replicas": len({one.get("replica") for one in links}),
                }
            )
        return rows

    async def info(self, name: str) -> Answer:
        """Return one tunnel with its credentials and links."""
        tunnel = await self._tunnel(name)
        links = [one for one in self.states() if one.get("tunnel") == tunnel.id]
        credentials = await self._credentials(tunnel.id)
        return {
            "id": tunnel.id,
            "name": tunnel.name,
            "created": tunnel.created,
            "status": _status(links),
            "credentials": [
                {
                    "id": one.id,
                    "created": one.created,
                    "revoked": bool(one.body.get("revoked")),
                    "hostnames": one.body.get("hostnames", []),
                }
                for one in credentials
            ],
            "links": links,
        }

    async def delete(self, name: str, force: bool) -> Answer:
        """Delete a tunnel: its credentials are revoked, its links closed."""
        tunnel = await self._tunnel(name)
        links = [one for one in self.states() if one.get("tunnel") == tunnel.id]
        if links and not force:
            raise NotDone(f"“{tunnel.name}” has {len(links)} links; use --force to cut them", 409)
        for credential in await self._credentials(tunnel.id):
            await self._revoke(credential)
            await self.store.objects.remove(credential.id)
        await self.store.objects.remove(tunnel.id)
        self.audit.record("tunnel-delete", tunnel=tunnel.id, name=tunnel.name)
        await self.changed("tunnel deleted")
        return {"id": tunnel.id, "name": tunnel.name, "links_cut": len(links)}

    async def token(
        self, name: str, request: bytes, rotate: bool, hostnames: list[str] | None
    ) -> Answer:
        """Issue another credential; with `rotate`, those before it are revoked at once."""
        tunnel = await self._tunnel(name)
        before = await self._credentials(tunnel.id)
        if hostnames is None:  # as narrow as the newest one
            hostnames = before[-1].body.get("hostnames", []) if before else []
        answer = await self._credential(tunnel.id, tunnel.name, request, hostnames)
        if rotate:
            for credential in before:
                await self._revoke(credential)
        self.audit.record(
            "tunnel-credential-create", tunnel=tunnel.id, id=answer["credential"], rotate=rotate
        )
        return answer

    async def cleanup(self, name: str, replica: str) -> Answer:
        """Close a tunnel's links (of one replica); connectors that live dial again."""
        tunnel = await self._tunnel(name)
        asked = self.close_links(tunnel.id, replica)
        self.audit.record("tunnel-cleanup", tunnel=tunnel.id, replica=replica, links=asked)
        return {"id": tunnel.id, "name": tunnel.name, "links": asked}

    async def _revoke(self, credential: Thing) -> None:
        if not credential.body.get("revoked"):
            await self.revocations.credential(credential.id)

    async def _credentials(self, tunnel: str) -> list[Thing]:
        found = [
            one
            for one in await self.store.objects.list("credential")
            if one.body.get("tunnel") == tunnel
        ]
        # two of one second: the one that rotation revoked came first
        return sorted(found, key=lambda one: (one.created, not one.body.get("revoked")))

    async def _tunnel(self, name: str) -> Thing:
        found = await self.store.objects.find("tunnel", name)
        if found is None and _is_id(name):
            found = await self.store.objects.get(name)
        if found is None or found.kind != "tunnel":
            raise NotDone(f"there is no tunnel “{name}”", 404)
        return found


def routes(desk: TunnelDesk) -> list[Route]:
    """Return the operations of tunnels for admin.sock."""

    async def tunnels(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"tunnels": await desk.overview()})
        body = await body_of(request)
        answer = await desk.create(
            field(body, "name", str), _request(body), _hostnames(body) or []
        )
        return JSONResponse(answer, 201)

    async def tunnel(request: Request) -> Response:
        name = request.path_params["name"]
        if request.method == "GET":
            return JSONResponse(await desk.info(name))
        force = request.query_params.get("force") == "true"
        return JSONResponse(await desk.delete(name, force))

    async def token(request: Request) -> Response:
        body = await body_of(request)
        answer = await desk.token(
            request.path_params["name"],
            _request(body),
            field(body, "rotate", bool, False),
            _hostnames(body),
        )
        return JSONResponse(answer, 201)

    async def cleanup(request: Request) -> Response:
        body = await body_of(request)
        replica = field(body, "replica", str, "")
        return JSONResponse(await desk.cleanup(request.path_params["name"], replica))

    return [
        Route("/tunnels", tunnels, methods=["GET", "POST"]),
        Route("/tunnels/{name}", tunnel, methods=["GET", "DELETE"]),
        Route("/tunnels/{name}/token", token, methods=["POST"]),
        Route("/tunnels/{name}/cleanup", cleanup, methods=["POST"]),
    ]


_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*)(\.[a-z0-9_-]+)*")


def _request(body: Answer) -> bytes:
    try:
        return base64.b64decode(field(body, "request", str), validate=True)
    except binascii.Error:
        raise NotDone("field 'request' must be base64", 400) from None


def _hostnames(body: Answer) -> list[str] | None:
    found = body.get("hostnames")
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise NotDone("field 'hostnames' must be a list of names", 400)
    return [one.lower() for one in found]


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _status(links: Sequence[dict[str, Any]]) -> str:
    """Return cloudflared's word for how a tunnel is."""
    if not links:
        return "down"
    return "healthy" if any(one.get("state") == "up" for one in links) else "degraded"


def _no(reason: str, text: str) -> dict[str, Any]:
    return {"reason": reason, "text": text, "final": reason != "tunnel-unknown"}
