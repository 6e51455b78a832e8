"""What answers under /cdn-cgi/access/ on an application's own host."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from edge.control import cookies
from edge.control.answers import clear_tossed, problem, redirect, set_cookie
from edge.control.visit import Visit, new_identifier, query_of, visit_of
from edge.identity.desk import Desk
from edge.identity.destination import meta_of, safe_redirect
from edge.identity.world import Application

START_LIFE = 86400  # seconds that a browser keeps its start nonce


class ApplicationHost:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def login(self, request: Request) -> Response:
        """Begin a sign-in: give the browser its start nonce and send it to the auth domain."""
        visit = visit_of(request, self._desk.world())
        query = query_of(request)
        application = self._application(visit, request)
        if application is None:
            return problem(visit, 404, "application-unknown")
        nonce = visit.identifier(cookies.START)
        fresh = nonce is None
        nonce = nonce or new_identifier()
        parameters = {
            "kid": application.aud,
            "redirect_url": safe_redirect(query.get("redirect_url", "/")),
            "meta": meta_of(nonce),
        }
        if query.get("switch") == "1":
            parameters["switch"] = "1"
        path = f"/cdn-cgi/access/login/{visit.host}?{urlencode(parameters).replace('+', '%20')}"
        answer = redirect(visit, visit.world.url(visit.world.auth_domain, path), status=302)
        if fresh:
            set_cookie(answer, cookies.write(cookies.START, nonce, max_age=START_LIFE))
        return answer

    def _application(self, visit: Visit, request: Request) -> Application | None:
        """Return the application that the worker matched; else the host's first."""
        found = visit.world.applications.get(request.headers.get("cf-sekisho-aud", ""))
        if found is not None and found.covers(visit.host):
            return found
        return next(iter(visit.world.at(visit.host)), None)

    async def authorized(self, request: Request) -> Response:
        """Redeem a hand-off code: only in the browser that began here (K08), once, within 60 s."""
        visit = visit_of(request, self._desk.world())
        query = query_of(request)
        redeemed = await self._desk.sessions.redeem(
            visit.world,
            visit.host,
            query.get("code", ""),
            visit.cookie(cookies.START),
            request.headers.get("cf-ipcountry", ""),
        )
        if redeemed is None:
            self._desk.audit.stranger(
                "refused",
                network=visit.network,
                reason="code-refused",
                aud=request.headers.get("cf-sekisho-aud", ""),
            )
            again = safe_redirect(query.get("redirect_url", "/"))
            return problem(visit, 403, "code-refused", again=again)
        application = redeemed.application
        answer = redirect(visit, redeemed.redirect, status=302)
        clear_tossed(answer, visit, application.cookie)
        set_cookie(
            answer,
            cookies.write(
                application.cookie,
                redeemed.token,
                max_age=redeemed.lifetime,
                same_site=application.same_site,
            ),
        )
        self._desk.audit.entered(
            who=redeemed.who, aud=application.aud, address=visit.address, network=visit.network
        )
        return answer
