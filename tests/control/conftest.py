"""A complete sign-in desk per test: SQLite, keys, a real SMTP server, the public application."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email import policy as email_policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from edge.control.public import build_public
from edge.identity.desk import Desk
from edge.identity.keys import KeyStore
from edge.identity.master_key import MasterKey
from edge.identity.world import PIN, Application, Judgement, Mail, Provider, World
from edge.store import Store
from tests.kit.sign_in import AUTH, GRAFANA_AUD, WIKI_AUD, Browser, Inbox, ManualClock


@dataclass
class TableJudge:
    """Allows the listed addresses; the compiled program is tested in
    tests/identity/test_judge.py."""

    listed: dict[str, set[str]]  # host -> addresses
    durations: dict[str, int] = field(default_factory=dict)

    def decide(self, host: str, path: str, facts: Any) -> Judgement:
        if facts["email"] in self.listed.get(host, set()):
            aud = GRAFANA_AUD if host.startswith("grafana.") else WIKI_AUD
            return Judgement("allow", "policy-allowed", "Staff", self.durations.get(host), aud)
        return Judgement("deny", "policy-no-match")

    def may_allow(self, host: str, path: str, facts: Any) -> bool:
        return facts["email"] in self.listed.get(host, set())


@dataclass
class Place:
    """Everything that a test of the public application touches."""

    desk: Desk
    app: Any
    clock: ManualClock
    inbox: Inbox
    judge: TableJudge
    published: list[dict[str, Any]]
    pauses: list[float]
    worlds: list[World]

    def browser(self, **options: Any) -> Browser:
        auds = {"wiki.example.com": WIKI_AUD, "grafana.example.com": GRAFANA_AUD}
        return Browser(self.app, auds=auds, **options)

    async def mail_for(self, address: str, count: int = 1) -> None:
        """Wait until so many letters have arrived."""
        async with asyncio.timeout(5):
            while len(self.inbox.for_(address)) < count:
                await asyncio.sleep(0.005)

    async def sign_in(
        self,
        browser: Browser,
        address: str = "ann@example.com",
        url: str = "https://wiki.example.com/",
    ) -> Any:
        """Walk the whole PIN path and return the last answer."""
        page = await browser.open_application(url)
        before = len(self.inbox.for_(address))
        page = await browser.submit(page, "email", email=address)
        await self.mail_for(address, before + 1)
        return await browser.submit(page, "code", code=self.inbox.code_for(address), follow=True)


@pytest.fixture
async def inbox() -> AsyncIterator[tuple[Inbox, int]]:
    box = Inbox()

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            parser = BytesParser(policy=email_policy.default)
            box.letters.append(parser.parsebytes(envelope.content))  # type: ignore[arg-type]
            return "250 kept"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield box, port
    server.close()


def make_world(port: int, judge: Any, **changes: Any) -> World:
    return World(
        **{
            "auth_domain": AUTH,
            "issuer": f"https://{AUTH}",
            "auth_aud": "f" * 64,
            "applications": {
                WIKI_AUD: Application(WIKI_AUD, "Wiki", ("wiki.example.com",)),
                GRAFANA_AUD: Application(GRAFANA_AUD, "Grafana", ("grafana.example.com",)),
            },
            "providers": {"pin": Provider("pin", "One-time PIN", PIN)},
            "judge": judge,
            "mail": Mail(f"smtp://127.0.0.1:{port}", "Sekisho <access@example.com>"),
            **changes,
        }
    )


@pytest.fixture(scope="session")
def new_state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MasterKey]:
    """A migrated database with its first keys, made once: every test gets a copy."""
    path, master = tmp_path_factory.mktemp("state") / "state.db", MasterKey.generate()

    async def make() -> None:
        store = await Store.open(f"sqlite:///{path}")
        await KeyStore.open(store, master, clock=ManualClock())
        await store.close()

    asyncio.run(make())
    return path, master


@pytest.fixture
async def place(
    tmp_path: Path, inbox: tuple[Inbox, int], new_state: tuple[Path, MasterKey]
) -> AsyncIterator[Place]:
    box, port = inbox
    clock = ManualClock()
    shutil.copy(new_state[0], tmp_path / "state.db")
    store = await Store.open(f"sqlite:///{tmp_path}/state.db")
    keys = await KeyStore.open(store, new_state[1], clock=clock)
    judge = TableJudge(
        {
            "wiki.example.com": {"ann@example.com", "taro@example.jp"},
            "grafana.example.com": {"ann@example.com"},
        }
    )
    worlds = [make_world(port, judge)]
    published: list[dict[str, Any]] = []
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    current: Callable[[], World] = lambda: worlds[-1]  # noqa: E731
    desk = Desk(
        store,
        keys,
        world=current,
        publish_revocation=published.append,
        clock=clock,
        steady=clock,
        pause=pause,
    )
    await desk.start()
    yield Place(desk, build_public(desk), clock, box, judge, published, pauses, worlds)
    await desk.stop()
    await store.close()
