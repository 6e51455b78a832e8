"""Worker to worker: who is there, and which links each has (design §7, relays between workers).

Every worker listens on `run/worker-<slot>.sock`. At its start it dials all others and waits a
moment for what they say, so that a replaced worker knows the tunnels before it serves; later the
higher slot of a pair dials again what was lost. On the control stream both say which links they
have: `hello{slot}`, `link{link,tunnel,round_trip,streams,version,entries,limit}`, `all{}` at the
end of the greeting, `numbers{links}`, `gone{link}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _fastpath.table import Table, TableError
from _fastpath.tunnel import Link, Links, Sibling
from edge.server.feed import parent_of, peer_of
from edge.wire.errors import BadMessage
from edge.wire.framing import pack_map, unpack_map

log = logging.getLogger("sekisho.siblings")

DIAL = 1.0  # seconds to reach a sibling: its socket is on this machine
GREETING = 0.5  # seconds that a starting worker waits for its siblings' links


@dataclass(slots=True)
class Known:
    """What is known of the worker at the other end of one socket."""

    links: Links
    dialled: bool  # by this worker
    slot: int = -1  # until it said hello
    greeted: bool = False
    told_all: bool = False


class Siblings:
    """This worker's sockets to the others, and what it tells them."""

    def __init__(self, folder: Path, *, slot: int, slots: int, master: int | None = None) -> None:
        self.folder = folder
        self.slot, self.slots = slot, slots
        self.master = os.getppid() if master is None else master
        self._server: asyncio.AbstractServer | None = None
        self._binding: asyncio.Task[None] | None = None
        self._dialling: set[int] = set()
        self._reached: dict[int, Sibling] = {}

    def path(self, slot: int) -> Path:
        """Return the socket of the worker in `slot`."""
        return self.folder / f"worker-{slot}.sock"

    async def listen(self, links: Links) -> None:
        """Bind this worker's socket (an older one of its slot is replaced), and dial others."""
        loop = asyncio.get_running_loop()
        await self._bind(links)
        others = [slot for slot in range(self.slots) if slot != self.slot]
        await asyncio.gather(*(self._dial(links, slot) for slot in others))
        end = loop.time() + GREETING
        while loop.time() < end and not self._told_all(links):  # noqa: ASYNC110  a moment
            await asyncio.sleep(0.005)

    async def _bind(self, links: Links) -> None:
        """Listen; a run folder on a full disk costs relays, not the worker: tick() tries again."""
        loop = asyncio.get_running_loop()
        path = self.path(self.slot)
        try:
            path.unlink(missing_ok=True)
            server = await loop.create_unix_server(
                lambda: links.sibling_pipe(False)[0], str(path)
            )
            path.chmod(0o600)
        except OSError as error:
            log.error("other workers can't reach this one: %s", error)
            return
        self._server = server

    @staticmethod
    def _told_all(links: Links) -> bool:
        return all(one.user.told_all for one in links.all_siblings())

    def close(self) -> None:
        """Stop listening."""
        if self._binding is not None:
            self._binding.cancel()
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self.path(self.slot).unlink(missing_ok=True)

    def allowed(self, sock: socket.socket) -> bool:
        """Return True when the other end is this service's user and a child of our master."""
        pid, uid = peer_of(sock)
        return uid == os.geteuid() and parent_of(pid) == self.master

    def tick(self, links: Links) -> None:
        """Dial whom it is our turn to dial, and send numbers; called every second."""
        if self._server is None and self._binding is None:
            self._binding = asyncio.get_running_loop().create_task(self._bind(links))
            self._binding.add_done_callback(self._bound)
        for slot in range(self.slot):
            if slot not in self._reached and slot not in self._dialling:
                self._dialling.add(slot)
                task = asyncio.get_running_loop().create_task(self._dial(links, slot))
                task.add_done_callback(partial(self._dialled, slot))
        mine = [link for link in links.all() if link.table is not None and not link.draining]
        if mine:
            numbers = [[link.number, link.round_trip, link.streams] for link in mine]
            self._tell(links, {"t": "numbers", "links": numbers})

    def _bound(self, task: asyncio.Task[None]) -> None:
        self._binding = None

    def _dialled(self, slot: int, task: asyncio.Task[None]) -> None:
        self._dialling.discard(slot)

    async def _dial(self, links: Links, slot: int) -> None:
        loop = asyncio.get_running_loop()
        protocol, ready = links.sibling_pipe(True)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DIAL):
                await loop.create_unix_connection(lambda: protocol, str(self.path(slot)))
                if ready is not None:
                    await ready

    # -- saying ------------------------------------------------------------------------------------

    def opened(self, links: Links, sibling: Sibling, client: bool) -> None:
        """Note a new socket; who dialled speaks first, as the control stream is its to open."""
        sibling.user = Known(links, client)
        if client:
            self.greet(links, sibling)

    def greet(self, links: Links, sibling: Sibling) -> None:
        """Tell a sibling who this is and every link that it may use."""
        sibling.user.greeted = True
        self._send(sibling, {"t": "hello", "slot": self.slot})
        for link in links.all():
            if link.table is not None and not link.draining:
                self._send(sibling, _link(link))
        self._send(sibling, {"t": "all"})

    def offer(self, links: Links, link: Link) -> None:
        """Tell all siblings about a link's new table."""
        if not link.draining:
            self._tell(links, _link(link))

    def withdraw(self, links: Links, link: Link) -> None:
        """Tell all siblings that a link takes no new streams."""
        self._tell(links, {"t": "gone", "link": link.number})

    def _tell(self, links: Links, message: dict[str, Any]) -> None:
        for sibling in links.all_siblings():
            if sibling.user.greeted:  # else it hears everything with the greeting
                self._send(sibling, message)

    def _send(self, sibling: Sibling, message: dict[str, Any]) -> None:
        sibling.send(pack_map(message))

    # -- hearing -----------------------------------------------------------------------------------

    def hear(self, sibling: Sibling, body: bytes) -> None:
        """Take one message of a sibling; it runs the same code, so a broken one ends the socket."""
        try:
            message = unpack_map(body)
            self._take(sibling, message)
        except (BadMessage, KeyError, TypeError, ValueError, TableError):
            log.exception("a sibling said what no worker says")
            sibling.close("link-protocol")

    def _take(self, sibling: Sibling, message: dict[str, Any]) -> None:
        kind = message["t"]
        if kind == "hello":
            sibling.user.slot = slot = int(message["slot"])
            before = self._reached.get(slot)
            self._reached[slot] = sibling
            if before is not None and before is not sibling and self.slot < slot:
                # both dialled at once: the lower slot gives up the socket that it dialled
                (sibling if sibling.user.dialled else before).close("link-goaway")
                self._reached[slot] = before if sibling.user.dialled else sibling
            if not sibling.user.greeted:
                self.greet(sibling.user.links, sibling)
        elif kind == "link":
            table = Table(message["version"], message["entries"], message["limit"])
            sibling.offer(
                message["link"], message["tunnel"], table, message["round_trip"], message["streams"]
            )
        elif kind == "numbers":
            known = set(sibling.known())
            for number, round_trip, streams in message["links"]:
                if number in known:
                    sibling.offer(number, "", None, round_trip, streams)
        elif kind == "gone":
            sibling.withdraw(message["link"])
        elif kind == "all":
            sibling.user.told_all = True

    def parted(self, sibling: Sibling) -> None:
        """Forget a sibling that went away."""
        if self._reached.get(sibling.user.slot) is sibling:
            del self._reached[sibling.user.slot]


def _link(link: Link) -> dict[str, Any]:
    table = link.table
    return {
        "t": "link",
        "link": link.number,
        "tunnel": link.tunnel.decode(),
        "round_trip": link.round_trip,
        "streams": link.streams,
        "version": table.version if table is not None else 0,
        "entries": list(link.user.entries),
        "limit": [name.decode() for name in table.limit] if table is not None else [],
    }
