"""The whole path walked as a client would: `sekisho demo --check`, one line a step."""

import asyncio
import base64
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect

from edge.demo.processes import crowding, memory
from edge.demo.stage import CONFIG, MAY_ENTER, MAY_NOT, Stage, command
from edge.demo.visitor import Reply, Visitor

BULK = 200_000_000            # bytes up and down
GROWTH = 16 << 20             # bytes by which the edge's memory may grow meanwhile
BLOCK = bytes(1 << 18)
BRIEF = 2                     # seconds of a session at Reports here: the walk sees its end
WALK_CONFIG = CONFIG.replace(
    "  - name: Reports\n", f"  - name: Reports\n    session_duration: {BRIEF}s\n", 1
)
Step = Callable[["Walk"], Awaitable[str]]


class Wrong(AssertionError):
    """A step saw something other than it must; the text says what."""


def expect(true: object, otherwise: str) -> None:
    if not true:
        raise Wrong(otherwise)


def rewritten(token: str, **claims: Any) -> str:
    """Return the token with other claims under its old signature."""
    head, body, signature = token.split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    payload.update(claims)
    raw = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"{head}.{raw}.{signature}"


class Walk:
    """One visitor who may enter, one who may not, and what they keep between the steps."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.guest = Visitor(stage.port, stage.client_tls())
        self.refused = Visitor(stage.port, stage.client_tls())
        self.page: Reply | None = None      # the sign-in page of the guest
        self.seen_mail = 0                  # id of the newest mail already used
        self.socket: ClientConnection | None = None
        self.brief: tuple[str, float] | None = None   # a token of Reports, and when it was made

    # --- what several steps do -------------------------------------------------------------------

    @property
    def wiki(self) -> str:
        return self.stage.url("wiki")

    def token(self, host: str = "wiki.sekisho.localhost") -> str:
        for name, value in self.guest.jar.get(host, {}).items():
            if name.startswith("CF_Authorization"):
                return value
        raise Wrong(f"no CF_Authorization cookie on {host}: {sorted(self.guest.jar.get(host, {}))}")

    async def code(self, address: str, patience: float = 5.0) -> str:
        """Return the PIN of the newest mail to the address, once it has arrived over SMTP."""
        inbox = Visitor(self.stage.inbox_port)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            reply = await inbox.get(f"{self.stage.inbox_url}messages.json?to={address}")
            letters = [m for m in json.loads(reply.body) if m["id"] > self.seen_mail]
            if letters:
                self.seen_mail = letters[0]["id"]
                found = re.search(r"(?<!\d)(\d{6}|\d{8})(?!\d)", letters[0]["text"])
                expect(found, f"no PIN in the mail: {letters[0]['text']!r}")
                assert found is not None
                return found.group(1)
            await asyncio.sleep(0.03)
        raise Wrong(f"no mail to {address} within {patience:.0f} s")

    async def sign_in(self, visitor: Visitor, page: Reply, address: str) -> Reply:
        """From the sign-in page to wherever it leads."""
        form = page.form("email")
        sent = await visitor.submit(page, form, email=address)
        field = "code" if 'name="code"' in sent.text else "pin"
        return await visitor.submit(
            sent, sent.form(field), **{field: await self.code(address)}
        )

    async def refused_for(self, token: str, application: str = "wiki") -> str | None:
        """Return the reason that refuses this token as a cookie; None when it is let in."""
        stranger = Visitor(self.stage.port, self.stage.client_tls())
        cookie = {"Cookie": f"CF_Authorization={token}"}
        page = await stranger.get(self.stage.url(application), headers=cookie, cookies=False)
        reply = await stranger.get(
            self.stage.url(application), headers={**cookie, "Accept": "application/json"},
            cookies=False,
        )
        if page.status == reply.status == 200:
            return None
        where = urlsplit(page.get("location") or "").hostname
        expect(
            page.status == 302 and where == "login.sekisho.localhost",
            f"a refused token led a browser to {page.status} {where}",
        )
        expect(reply.status == 401, f"a refused token got a program {reply.status}")
        return str(json.loads(reply.body)["reason"])

    async def open_socket(self) -> ClientConnection:
        parts = urlsplit(self.wiki)
        return await connect(
            ("wss" if self.stage.tls else "ws") + f"://{parts.netloc}/echo",
            host="127.0.0.1", port=self.stage.port, ssl=self.stage.client_tls(),
            server_hostname=parts.hostname if self.stage.tls else None,
            origin=websockets.Origin(f"{parts.scheme}://{parts.netloc}"),
            additional_headers={"Cookie": self.guest.cookies(parts.hostname or "")},
            proxy=None, compression=None, open_timeout=5,
        )

    # --- the steps -------------------------------------------------------------------------------

    async def to_sign_in(self) -> str:
        self.page = await self.guest.get(self.wiki + "?from=walk", follow=True)
        expect(self.page.status == 200, f"the sign-in page answered {self.page.status}")
        host = urlsplit(self.page.url).hostname
        expect(host == "login.sekisho.localhost", f"led to {host}")
        expect("Wiki" in self.page.text, "the sign-in page doesn't name the application")
        return "no session: the sign-in page of the auth domain"

    async def pin(self) -> str:
        assert self.page is not None
        reply = await self.sign_in(self.guest, self.page, MAY_ENTER)
        expect(reply.status == 200, f"after the PIN: {reply.status} at {reply.url}")
        expect(reply.url == self.wiki + "?from=walk", f"came back to {reply.url}")
        self.token()
        return "PIN by SMTP accepted, back at the very address asked for"

    async def identity(self) -> str:
        reply = await self.guest.get(
            self.stage.url("wiki", "/headers.json"),
            headers={"Cf-Access-Authenticated-User-Email": "root@example.com"},
        )
        saw = {n.lower(): v for n, v in json.loads(reply.body)["headers"]}
        email = saw.get("cf-access-authenticated-user-email")
        expect(email == MAY_ENTER, f"origin saw e-mail {email!r}")
        assertion = saw.get("cf-access-jwt-assertion")
        expect(assertion == self.token(), "the assertion isn't the application token")
        for name in ("cf-connecting-ip", "cf-ray", "x-forwarded-for", "x-forwarded-proto"):
            expect(saw.get(name), f"origin saw no {name}")
        expect("CF_Authorization" not in saw.get("cookie", ""), "our cookie reached the origin")
        return "the origin saw our identity headers, and not the visitor's forgery"

    async def refusal(self) -> str:
        page = await self.refused.get(self.wiki, follow=True)
        reply = await self.sign_in(self.refused, page, MAY_NOT)
        expect(reply.status == 403, f"the refused person got {reply.status} at {reply.url}")
        expect(MAY_NOT in reply.text, "the page doesn't say who was refused")
        return "a refused person gets the reason page, 403"

    async def tokens(self) -> str:
        token = self.token()
        expect(await self.refused_for(token) is None, "a good token was refused")
        reports = await self.guest.get(self.stage.url("reports"), follow=True)
        expect(reports.status == 200, f"Reports answered {reports.status}")
        other = self.token("reports.sekisho.localhost")
        self.brief = other, time.time()
        head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        for what, forged, why in (
            ("with a changed claim", rewritten(token, email="root@example.com"), "token-signature"),
            ("without a signature", f"{head}.{token.split('.')[1]}.", "token-malformed"),
            ("of another application", other, "token-audience"),
        ):
            said = await self.refused_for(forged)
            expect(said == why, f"a token {what}: {said or 'let in'} instead of {why}")
        return "forged and other-application tokens refused, each for its own reason"

    async def expiry(self) -> str:
        """A token that was good, untouched, is refused once its time is over."""
        assert self.brief is not None
        token, made = self.brief
        await asyncio.sleep(max(0.0, made + BRIEF + 1 - time.time()))
        said = await self.refused_for(token, "reports")
        expect(said == "session-expired", f"an expired token: {said or 'let in'}")
        return f"a session of {BRIEF} s is over: its token is refused, its signature still good"

    async def echo(self) -> str:
        self.socket = await self.open_socket()
        for message in ("関所", b"\x00\xff" * 5000):
            await self.socket.send(message)
            back = await asyncio.wait_for(self.socket.recv(), 3)
            expect(back == message, "the echo differs")
        return "WebSocket echoes text and binary (and stays open)"

    async def event(self) -> str:
        delays = []
        async with self.guest.open(
            "GET", self.stage.url("wiki", "/events?every=0.2"),
            headers={"Accept": "text/event-stream"},
        ) as (reply, blocks):
            expect(reply.status == 200, f"events answered {reply.status}")
            async for block in blocks():
                for written in re.findall(rb'"written": ([0-9.]+)', block):
                    delays.append((time.time() - float(written)) * 1000)
                if len(delays) >= 4:
                    break
        expect(max(delays) < 100, f"an event took {max(delays):.0f} ms")
        return f"a server-sent event arrives {max(delays):.1f} ms after it was written"

    async def bulk(self) -> str:
        edge = self.stage.children["edge"].pid
        before, peak, done = memory(edge), 0, False

        async def watch() -> None:
            nonlocal peak
            while not done:
                peak = max(peak, await asyncio.to_thread(memory, edge))
                await asyncio.sleep(0.1)

        async def zeros() -> AsyncIterator[bytes]:
            left = BULK
            while left:
                yield BLOCK[: min(left, len(BLOCK))]
                left -= min(left, len(BLOCK))

        watching = asyncio.create_task(watch())
        started = time.monotonic()
        async with self.guest.open(
            "PUT", self.stage.url("wiki", "/upload"), stream=zeros(), length=BULK
        ) as (reply, blocks):
            answer = json.loads(b"".join([b async for b in blocks()]) or b"{}")
            expect(reply.status == 200 and answer["bytes"] == BULK, f"upload: {reply.status}")
        up = time.monotonic() - started
        started, came = time.monotonic(), 0
        async with self.guest.open(
            "GET", self.stage.url("wiki", f"/download?bytes={BULK}")
        ) as (reply, blocks):
            async for block in blocks():
                came += len(block)
        down = time.monotonic() - started
        expect(came == BULK, f"download: {came} bytes")
        done = True
        await watching
        grown = max(peak - before, 0)
        expect(grown < GROWTH, f"the edge grew by {grown / 2**20:.1f} MB")
        return (
            f"200 MB up ({BULK / up / 1e6:.0f} MB/s) and down ({BULK / down / 1e6:.0f} MB/s), "
            f"the edge grew by {grown / 2**20:.1f} MB"
        )

    async def policy_change(self) -> str:
        config, text = self.stage.config, self.stage.config.read_text()
        rule = "- {name: Staff, decision: allow, include: [{email_domain: example.com}]}"
        expect(rule in text, "the demo's configuration lost its rule")
        config.write_text(text.replace(rule, rule.replace("example.com", "example.org")))
        took = await self._until(403, "the changed policy")
        config.write_text(text)
        await self._until(200, "the old policy")
        return f"a changed policy file counts after {took:.1f} s, without a restart"

    async def _until(self, status: int, what: str) -> float:
        started = time.monotonic()
        while time.monotonic() - started < 5:
            if (await self.guest.get(self.wiki)).status == status:
                # every worker: a few connections land on each
                some = [(await self.guest.get(self.wiki)).status for _ in range(6)]
                if set(some) == {status}:
                    return time.monotonic() - started
            await asyncio.sleep(0.05)
        raise Wrong(f"{what} didn't take effect within 5 s")

    async def broken_policy(self) -> str:
        config, text = self.stage.config, self.stage.config.read_text()
        before = await self._status()
        config.write_text(text.replace("decision: allow", "decision: alow", 1))
        number, line = next(
            (i, t) for i, t in enumerate(config.read_text().splitlines(), 1) if ": alow" in t
        )
        place = f"{config.name}:{number}:{line.index('alow') + 1}:"
        try:
            # the running edge's own file watch, which looks once a second
            status = before
            deadline = time.monotonic() + 3 * crowding()
            while status["last_reload"]["ok"] and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                status = await self._status()
            last = status["last_reload"]
            expect(last["cause"] == "file change" and not last["ok"], f"the watch says {last}")
            expect(any(place in e for e in last["errors"]), f"{place} isn't in {last['errors']}")
            # and by command
            code, said = await self._run("edge", "reload", "-c", str(config))
            expect(code == 2, f"reload ended with {code}: {said}")
            expect(place in said, f"reload doesn't say {place}: {said}")
            after = await self._status()
            running = {w["version"] for w in after["workers"]}
            expect(running == {before["version"]}, f"workers run {running}, not the version before")
            reply = await self.guest.get(self.wiki)
            expect(reply.status == 200, f"the edge answered {reply.status} with a broken file")
        finally:
            config.write_text(text)
        deadline = time.monotonic() + 3 * crowding()
        while not (await self._status())["last_reload"]["ok"]:
            expect(time.monotonic() < deadline, "the mended file wasn't taken")
            await asyncio.sleep(0.1)
        return f"a broken policy file changes nothing; the running edge names {place[:-1]}"

    async def _run(self, *words: str) -> tuple[int, str]:
        """Run one `sekisho` command to its end; return exit status and all that it said."""
        process = await asyncio.create_subprocess_exec(
            *command(*words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
        return process.returncode or 0, said

    async def _status(self) -> Any:
        return json.loads((await self._run(
            "edge", "status", "-c", str(self.stage.config), "--json"
        ))[1])

    async def revocation(self) -> str:
        expect(self.socket is not None, "no open WebSocket")
        assert self.socket is not None
        started = time.monotonic()
        self.stage.run("edge", "revoke", "-c", str(self.stage.config), "--user", MAY_ENTER)
        try:
            await asyncio.wait_for(self.socket.wait_closed(), 5)
        except TimeoutError:
            raise Wrong("the WebSocket was still open after 5 s") from None
        took = time.monotonic() - started
        said = await self.refused_for(self.token())
        expect(said == "session-outdated", f"the revoked token: {said or 'let in'}")
        self.guest.jar.clear()
        page = await self.guest.get(self.wiki, follow=True)
        reply = await self.sign_in(self.guest, page, MAY_ENTER)
        expect(reply.status == 200, f"a new sign-in ended with {reply.status}")
        return f"revoked: the open WebSocket closed after {took:.1f} s, the token is refused"

    async def worker_killed(self) -> str:
        workers = self.stage.workers()
        expect(len(workers) == 2, f"{len(workers)} workers instead of 2")
        os.kill(workers[0], signal.SIGKILL)
        started, failed, last = time.monotonic(), 0, 0.0
        while time.monotonic() - started < 1.3:
            try:
                reply = await asyncio.wait_for(self.guest.get(self.wiki), 3)
                expect(reply.status == 200, f"answered {reply.status}")
            except (OSError, EOFError, TimeoutError, Wrong):
                failed, last = failed + 1, time.monotonic() - started
            await asyncio.sleep(0.02)
        expect(last < 1 * crowding(), f"requests still failed {last:.1f} s after the kill")
        while len(self.stage.workers()) < 2 or workers[0] in self.stage.workers():
            expect(time.monotonic() - started < 5, "the worker wasn't replaced")
            await asyncio.sleep(0.05)
        return f"a worker killed with SIGKILL: {failed} failed requests, none after {last:.2f} s"

    async def connector_killed(self) -> str:
        self.stage.children["connector"].kill()
        started = time.monotonic()
        reply = await self._settled(502, 1.0 * crowding())
        expect(reply.status == 502, f"without a connector: {reply.status}")
        took = time.monotonic() - started
        expect("<html" in reply.text.lower(), "502 without a page")
        restarted = time.monotonic()
        ready = asyncio.create_task(asyncio.to_thread(self.stage.start_connector))
        reply = await self._settled(200, 20.0)
        total = time.monotonic() - restarted
        await ready
        expect(reply.status == 200, f"after the restart: {reply.status}")
        expect(total < 2 * crowding(), f"served only {total:.1f} s after the restart")
        return (
            f"the connector killed: a 502 page after {took:.2f} s; started again: served after "
            f"{total:.2f} s, its start included"
        )

    async def _settled(self, status: int, within: float) -> Reply:
        deadline = time.monotonic() + within
        while True:
            reply = await asyncio.wait_for(self.guest.get(self.wiki), 5)
            if reply.status == status or time.monotonic() > deadline:
                return reply
            await asyncio.sleep(0.02)


STEPS: list[Step] = [
    Walk.to_sign_in,
    Walk.pin,
    Walk.identity,
    Walk.refusal,
    Walk.tokens,
    Walk.echo,
    Walk.event,
    Walk.bulk,
    Walk.expiry,
    Walk.policy_change,
    Walk.broken_policy,
    Walk.revocation,
    Walk.worker_killed,
    Walk.connector_killed,
]


async def walk(stage: Stage, tell: Callable[[str], None]) -> bool:
    """Take every step; False after the first that fails (later ones would only echo it)."""
    one = Walk(stage)
    for step in STEPS:
        started = time.monotonic()
        try:
            said = await asyncio.wait_for(step(one), 20)
        except Exception as problem:
            taken = time.monotonic() - started
            kind = "" if isinstance(problem, Wrong) else f"{type(problem).__name__}: "
            tell(f"FAILED {taken:6.2f} s  {step.__name__.replace('_', ' ')}: {kind}{problem}")
            return False
        tell(f"ok     {time.monotonic() - started:6.2f} s  {said}")
    return True
