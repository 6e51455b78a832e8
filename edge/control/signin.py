"""Signing in, on the auth domain: choose a way, prove who you are, go on to the application.

Nothing is stored until a person acts, and no GET uses anything up: a mail scanner or a prefetching
browser can follow every link here and change nothing."""

import hmac
from functools import partial
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from edge.control import cookies
from edge.control.answers import clear_everywhere, clear_tossed, page, problem, redirect, set_cookie
from edge.control.letters import pin_letter
from edge.control.visit import (
    Visit,
    browser_digest,
    check_form,
    form_of,
    form_token,
    is_identifier,
    new_identifier,
    query_of,
    visit_of,
)
from edge.identity.address import canonical
from edge.identity.desk import Desk
from edge.identity.destination import Destination, destination
from edge.identity.providers import pin as one_time_pin
from edge.identity.providers.failed import ProviderFailed
from edge.identity.sessions import Current, Issued, Person
from edge.identity.world import PIN, Provider
from edge.store import Flow

FLOW_LIFE = 600  # seconds from choosing a way to having proved it
FLOW_COOKIE = 86400  # seconds that a browser keeps what its sign-ins are bound to
# What the code page may be told by the address that it was sent to.
NOTES = (
    one_time_pin.WRONG,
    one_time_pin.DEAD,
    one_time_pin.LONGER,
    one_time_pin.MALFORMED,
    one_time_pin.BUSY,
    "sent",
)


class SignIn:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # ---- choosing a way

    async def login(self, request: Request) -> Response:
        """Lead a signed-in person on, or show the ways to sign in."""
        visit = visit_of(request, self._desk.world())
        query = query_of(request)
        aim = self._aim(visit, request.path_params["host"], query)
        if aim is None:
            return problem(visit, 404, "application-unknown")
        switch = query.get("switch") == "1"
        if not switch:
            current = await self._desk.sessions.of_browser(
                visit.world, visit.cookie(cookies.GLOBAL), visit.cookie(cookies.SESSION)
            )
            if current is not None:
                answer = await self._lead_on(visit, aim, current)
                if answer is not None:
                    return answer
            offered = visit.world.offered(aim.application)
            if aim.application.straight_on and len(offered) == 1 and offered[0].type != PIN:
                return await self._to_provider(visit, aim, offered[0])
        return self._ways(visit, aim, note=query.get("note", ""), keep=switch)

    def _aim(self, visit: Visit, host: str, query: dict[str, str]) -> Destination | None:
        return destination(
            visit.world,
            host,
            query.get("kid", ""),
            query.get("redirect_url", "/"),
            query.get("meta", ""),
        )

    def _ways(self, visit: Visit, aim: Destination, *, note: str, keep: bool) -> Response:
        offered = visit.world.offered(aim.application)
        browser = visit.identifier(cookies.FLOW)
        fresh = browser is None
        browser = browser or new_identifier()
        # A form's answer may lead on to a provider, whose own redirects a browser checks too.
        others = any(provider.type != PIN for provider in offered)
        answer = page(
            visit,
            "signin.html",
            form_action=f"'self' {visit.world.scheme}:" if others else "'self'",
            application=aim.application.name,
            host=aim.host,
            pin=next((p for p in offered if p.type == PIN), None),
            providers=[p for p in offered if p.type != PIN],
            token=form_token(self._desk.keys.secret("form"), browser),
            action=login_path(aim),
            note=note if note in ("address",) else "",
        )
        if fresh:
            set_cookie(answer, cookies.write(cookies.FLOW, browser, max_age=FLOW_COOKIE))
        if (
            visit.cookies.get(cookies.GLOBAL) and not keep
        ):  # it did not hold, or this page would not show
            clear_everywhere(answer, visit, cookies.GLOBAL)
            set_cookie(answer, cookies.clear(cookies.SESSION))
        return answer

    async def choose(self, request: Request) -> Response:
        """Begin the chosen way: a code by mail, or the provider's own page."""
        visit = visit_of(request, self._desk.world())
        aim = self._aim(visit, request.path_params["host"], query_of(request))
        form = await form_of(request)
        browser = check_form(request, visit, self._desk.keys.secret("form"), form)
        if aim is None:
            return problem(visit, 404, "application-unknown")
        chosen = [p for p in visit.world.offered(aim.application) if p.id == form.get("method")]
        if not chosen:
            return problem(visit, 400, "form-invalid")
        if chosen[0].type == PIN:
            return await self._ask(visit, aim, chosen[0], browser, form.get("email", ""))
        return await self._to_provider(visit, aim, chosen[0])

    async def _to_provider(self, visit: Visit, aim: Destination, provider: Provider) -> Response:
        """Begin a flow in this browser and send it to the provider."""
        state, known = new_identifier(), visit.identifier(cookies.FLOW)
        browser = known or new_identifier()
        try:
            begun = await self._desk.provider(provider).begin(state)
        except ProviderFailed as error:
            return self._provider_failed(visit, aim, error)
        await self._desk.store.flows.begin(
            self._flow(visit, aim, provider, browser, state, dict(begun.secret))
        )
        answer = redirect(visit, begun.url)
        if known is None:
            set_cookie(answer, cookies.write(cookies.FLOW, browser, max_age=FLOW_COOKIE))
        return answer

    def _flow(
        self,
        visit: Visit,
        aim: Destination,
        provider: Provider,
        browser: str,
        flow: str,
        secret: dict[str, str],
    ) -> Flow:
        now = int(self._desk.steady())
        return Flow(
            id=flow,
            browser=browser_digest(browser),
            network=visit.network,
            provider=provider.id,
            aud=aim.application.aud,
            host=aim.host,
            redirect=aim.redirect,
            meta=aim.meta,
            language=visit.language,
            secret=secret,
            created=now,
            expires=now + FLOW_LIFE,
        )

    # ---- one-time PIN

    async def _ask(
        self, visit: Visit, aim: Destination, provider: Provider, browser: str, typed: str
    ) -> Response:
        address = canonical(typed)
        if address is None:
            return redirect(visit, login_path(aim) + "&note=address")
        flow = self._flow(visit, aim, provider, browser, new_identifier(), {"address": address})
        await self._desk.store.flows.begin(flow)
        await self._send_code(visit, flow, aim)
        return redirect(visit, f"/cdn-cgi/access/pin/{flow.id}")

    async def _send_code(self, visit: Visit, flow: Flow, aim: Destination) -> None:
        """Make the flow's code and queue its mail. The same work for an address that isn't
        listed."""
        address = str(flow.secret["address"])
        listed = visit.world.judge.may_allow(
            aim.host, aim.application.path(aim.host), {"email": address, "idp": flow.provider}
        )
        known = await self._desk.pin.known(visit.identifier(cookies.DEVICE), address)
        asked = await self._desk.pin.ask(flow, address, listed=listed, known=known)
        if asked.mail:
            link = visit.world.url(visit.world.auth_domain, f"/cdn-cgi/access/pin/{flow.id}")
            self._desk.post.put(
                address,
                visit.network,
                partial(pin_letter, address, asked.code, aim.application.name, link, flow.language),
            )
        elif not listed:
            self._desk.audit.stranger(
                "refused",
                network=visit.network,
                aud=flow.aud,
                reason="pin-not-listed",
                typed=address,
            )

    async def _own_flow(self, visit: Visit, flow_id: str) -> tuple[Flow, Destination] | None:
        """Return a flow that this very browser began and that is still open."""
        browser = visit.identifier(cookies.FLOW)
        if browser is None or not is_identifier(flow_id):
            return None
        flow = await self._desk.store.flows.get(flow_id, int(self._desk.steady()))
        if flow is None:
            return None
        if not hmac.compare_digest(browser_digest(browser), flow.browser):
            return None
        aim = destination(visit.world, flow.host, flow.aud, flow.redirect, flow.meta)
        return None if aim is None else (flow, aim)

    async def code_page(self, request: Request) -> Response:
        """Show where the code is typed; in any other browser than the one that asked, say so."""
        visit = visit_of(request, self._desk.world())
        note = query_of(request).get("note", "")
        own = await self._own_flow(visit, request.path_params["flow"])
        if own is None or "address" not in own[0].secret:
            return problem(visit, 400, "flow-unknown")
        flow, aim = own
        browser = visit.identifier(cookies.FLOW)
        assert browser is not None
        return page(
            visit,
            "code.html",
            form_action=f"'self' {visit.world.url(aim.host, '')}",
            application=aim.application.name,
            address=flow.secret["address"],
            note=note if note in NOTES else "",
            back=login_path(aim),
            token=form_token(self._desk.keys.secret("form"), browser),
        )

    async def code(self, request: Request) -> Response:
        """Try a code, or send another one."""
        visit = visit_of(request, self._desk.world())
        form = await form_of(request)
        check_form(request, visit, self._desk.keys.secret("form"), form)
        own = await self._own_flow(visit, request.path_params["flow"])
        if own is None or "address" not in own[0].secret:
            return problem(visit, 400, "flow-unknown")
        flow, aim = own
        address = str(flow.secret["address"])
        here = f"/cdn-cgi/access/pin/{flow.id}"
        if "again" in form:
            await self._send_code(visit, flow, aim)
            return redirect(visit, f"{here}?note=sent")
        device = visit.identifier(cookies.DEVICE)
        known = await self._desk.pin.known(device, address)
        outcome = await self._desk.pin.verify(flow, address, form.get("code", ""), known=known)
        if outcome == one_time_pin.LONGER:
            await self._send_code(visit, flow, aim)
        if outcome != one_time_pin.RIGHT:
            self._desk.audit.stranger(
                "refused",
                network=visit.network,
                aud=flow.aud,
                reason=f"pin-{outcome}",
                typed=address,
            )
            return redirect(visit, f"{here}?note={outcome}")
        if not await self._desk.store.flows.take(flow.id, int(self._desk.steady())):
            return problem(visit, 400, "flow-unknown")
        provider = visit.world.providers.get(flow.provider)
        if provider is None:
            return problem(visit, 400, "provider-unknown", again=login_path(aim))
        person = Person(issuer=PIN, subject=address, email=address, amr=("otp",))
        answer = await self._signed_in(visit, aim, provider, person)
        if not known or device is None:
            device = new_identifier()
        await self._desk.pin.remember(device, address)
        set_cookie(
            answer,
            cookies.write(
                cookies.DEVICE, device, max_age=one_time_pin.DEVICE_LIFE, same_site="Strict"
            ),
        )
        return answer

    # ---- a provider's answer

    async def callback(self, request: Request) -> Response:
        """Take a provider's answer: once, and only in the browser that was sent there."""
        visit = visit_of(request, self._desk.world())
        query = query_of(request)
        own = await self._own_flow(visit, query.get("state", ""))
        if own is None or "verifier" not in own[0].secret:
            return problem(visit, 400, "flow-unknown")
        flow, aim = own
        if not await self._desk.store.flows.take(flow.id, int(self._desk.steady())):
            return problem(visit, 400, "flow-unknown")
        provider = visit.world.providers.get(flow.provider)
        if provider is None or provider.type == PIN:
            return problem(visit, 400, "provider-unknown", again=login_path(aim))
        try:
            if "error" in query or not query.get("code"):
                raise ProviderFailed("provider-refused", "the provider answered with an error")
            person = await self._desk.provider(provider).finish(
                query["code"], query.get("iss"), flow.secret
            )
        except ProviderFailed as error:
            return self._provider_failed(visit, aim, error)
        return await self._signed_in(visit, aim, provider, person)

    def _provider_failed(self, visit: Visit, aim: Destination, error: ProviderFailed) -> Response:
        self._desk.audit.stranger(
            "sign-in-failed",
            network=visit.network,
            aud=aim.application.aud,
            reason=error.reason,
            why=str(error)[:300],
        )
        down = error.reason == "provider-unreachable"
        return problem(visit, 502 if down else 403, error.reason, again=login_path(aim))

    # ---- signed in

    async def _signed_in(
        self, visit: Visit, aim: Destination, provider: Provider, person: Person
    ) -> Response:
        """Begin the global session under a new id, end the one that the browser brought, go on."""
        desk = self._desk
        old = await desk.sessions.current(visit.world, visit.cookie(cookies.GLOBAL))
        if old is not None:  # first: where revoking fails, nobody gets a new session beside it
            await desk.revocations.session(old.session.id)
        current = await desk.sessions.begin(
            visit.world,
            provider.id,
            person,
            visit.address,
            replaces=old.session.id if old else None,
        )
        if current is None:
            desk.audit.refused(
                who=person.email,
                address=visit.address,
                aud=aim.application.aud,
                reason="account-disabled",
            )
            return problem(
                visit,
                403,
                "account-disabled",
                email=person.email,
                switch=login_path(aim) + "&switch=1",
            )
        desk.audit.record(
            "sign-in",
            who=person.email,
            aud=aim.application.aud,
            address=visit.address,
            provider=provider.name,
            account=current.account.id,
            session=current.session.id,
        )
        answer = await self._lead_on(visit, aim, current)
        if answer is None:  # this way isn't one that the application takes: offer those
            answer = redirect(visit, login_path(aim))
        clear_tossed(answer, visit, cookies.GLOBAL)
        for name, value in (
            (cookies.GLOBAL, desk.sessions.global_token(visit.world, current)),
            (cookies.SESSION, desk.sessions.companion(current)),
        ):
            set_cookie(answer, cookies.write(name, value, max_age=visit.world.global_session))
        set_cookie(answer, cookies.clear(cookies.FLOW))
        return answer

    async def _lead_on(self, visit: Visit, aim: Destination, current: Current) -> Response | None:
        """Send a signed-in person to the application, or tell them why not; None: sign in first."""
        issued = await self._desk.sessions.issue(visit.world, aim, current, visit.address)
        if isinstance(issued, Issued):
            query = urlencode({"code": issued.code, "redirect_url": aim.redirect})
            return redirect(visit, visit.world.url(aim.host, f"/cdn-cgi/access/authorized?{query}"))
        judgement = issued.judgement
        if judgement.reason in ("login-method-not-allowed", "sign-in-again"):
            return None
        email = current.account.email
        self._desk.audit.refused(
            who=email, address=visit.address, aud=aim.application.aud, reason=judgement.reason
        )
        if judgement.verdict == "unavailable":
            return problem(visit, 503, "facts-unavailable", again=login_path(aim))
        return problem(
            visit, 403, judgement.reason, email=email, switch=login_path(aim) + "&switch=1"
        )


def login_path(aim: Destination) -> str:
    """Return the auth domain's address of this sign-in."""
    query = urlencode(
        {"kid": aim.application.aud, "redirect_url": aim.redirect, "meta": aim.meta}
    ).replace("+", "%20")
    return f"/cdn-cgi/access/login/{aim.host}?{query}"
