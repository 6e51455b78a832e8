"""What both the auth domain and an application's host answer: keys, identity, signing out."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.control import cookies
from edge.control.answers import clear_tossed, page, plain_json, problem, set_cookie
from edge.control.visit import Visit, check_origin, form_of, query_of, visit_of
from edge.identity.desk import Desk
from edge.identity.sessions import Current

# Sites whose GET ends a session at once: our own pages, sibling applications, and a typed address.
NEAR = ("same-origin", "same-site", "none")


class Everywhere:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def landing(self, request: Request) -> Response:
        """Say who is signed in, on the auth domain's front page."""
        visit = visit_of(request, self._desk.world())
        current = await self._of_browser(visit)
        return page(
            visit,
            "landing.html",
            email=current.account.email if current else "",
            logout="/cdn-cgi/access/logout",
        )

    async def certs(self, request: Request) -> Response:
        """Return the public keys that verify our tokens."""
        visit = visit_of(request, self._desk.world())
        document = self._desk.keys.jwks_document(self._desk.clock())
        # Short: a key that was rotated out must not live on in somebody's cache for long.
        answer = plain_json(visit, document, cache="public, max-age=300")
        answer.headers["access-control-allow-origin"] = "*"
        del answer.headers["vary"]
        return answer

    async def identity(self, request: Request) -> Response:
        """Return who is signed in, in Cloudflare's shape; no token is part of it (M17)."""
        visit = visit_of(request, self._desk.world())
        found = await self._signed_in(visit)
        if not found:
            return problem(visit, 401, "session-missing")
        wanted = request.headers.get("cf-sekisho-aud", "")
        current, claims = next((pair for pair in found if pair[1].get("aud") == [wanted]), found[0])
        provider = visit.world.providers.get(current.session.provider)
        sworn = current.session.facts
        return plain_json(
            visit,
            {
                "id": current.account.id,
                "name": current.account.name,
                "email": current.account.email,
                "user_uuid": current.account.id,
                "account_id": visit.world.auth_domain,
                "idp": {
                    "id": current.session.provider,
                    "type": provider.type if provider else "unknown",
                },
                "geo": {"country": claims.get("country", "")},
                "groups": sworn.get("groups", []),
                "amr": sworn.get("amr", []),
                "custom": claims.get("custom", {}),
                "iat": claims.get("iat", current.session.created),
                "ip": current.session.address,
                "auth_status": "NONE",
                "common_name": "",
                "service_token_id": "",
                "service_token_status": False,
                "is_warp": False,
                "is_gateway": False,
                "device_id": "",
                "device_sessions": {},
                "devicePosture": {},
                "version": 2,
            },
        )

    async def _of_browser(self, visit: Visit) -> Current | None:
        return await self._desk.sessions.of_browser(
            visit.world, visit.cookie(cookies.GLOBAL), visit.cookie(cookies.SESSION)
        )

    async def _signed_in(self, visit: Visit) -> list[tuple[Current, dict[str, Any]]]:
        if visit.on_auth_domain:
            current = await self._of_browser(visit)
            return [(current, {})] if current is not None else []
        found = await self._desk.sessions.at_application(visit.world, visit.host, visit.cookies)
        return [(current, claims) for _, claims, current in found]

    async def _to_end(self, visit: Visit) -> list[dict[str, Any]]:
        """Return what the browser's cookies prove and signing out ends, as claims."""
        sessions = self._desk.sessions
        if not visit.on_auth_domain:
            return sessions.proven(visit.world, visit.host, visit.cookies)
        current = await sessions.current(visit.world, visit.cookie(cookies.GLOBAL))
        if current is None:
            return []
        return [{"email": current.account.email, "sekisho": {"sid": current.session.id}}]

    # ---- signing out (K09)

    async def logout(self, request: Request) -> Response:
        """End everything at once when one of our own pages or a typed address asks; else ask
        back."""
        visit = visit_of(request, self._desk.world())
        query = query_of(request)
        near = request.headers.get("sec-fetch-site") in NEAR
        ahead = "sec-purpose" in request.headers or "purpose" in request.headers
        if not near or ahead:
            return page(visit, "logout.html", done=False, only=not visit.on_auth_domain, again="")
        return await self._end(visit, only=query.get("only") == "1")

    async def logout_posted(self, request: Request) -> Response:
        visit = visit_of(request, self._desk.world())
        form = await form_of(request)
        check_origin(request, visit)
        if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
            return problem(visit, 403, "form-foreign")  # neither says that the form was ours
        return await self._end(visit, only="only" in form)

    async def _end(self, visit: Visit, *, only: bool) -> Response:
        """Revoke first, then clear: a copied cookie is dead when this page shows."""
        only = only and not visit.on_auth_domain
        for claims in await self._to_end(visit):
            nonce, sid = str(claims.get("identity_nonce", "")), str(claims["sekisho"]["sid"])
            aud = str(claims.get("aud", [""])[0])
            if await self._desk.revocations.known(nonce if only else "", sid):
                continue
            if only:
                await self._desk.revocations.one_application(nonce, sid, aud)
            else:
                await self._desk.revocations.session(sid)
            self._desk.audit.record(
                "sign-out",
                who=str(claims.get("email", "")),
                address=visit.address,
                reason="one-application" if only else "everywhere",
                aud=aud,
            )
        answer = page(
            visit,
            "logout.html",
            done=True,
            only=only,
            again="" if visit.on_auth_domain else "/",
        )
        if visit.on_auth_domain:
            names = [cookies.GLOBAL]
            set_cookie(answer, cookies.clear(cookies.SESSION))
        else:
            names = [application.cookie for application in visit.world.at(visit.host)]
        for name in names:
            clear_tossed(answer, visit, name)
            if not visit.tossed(name):
                set_cookie(answer, cookies.clear(name))
        return answer
