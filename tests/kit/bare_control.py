"""A real publisher and feed in the smallest control process; its "configuration" is one text file.

admin.sock takes one JSON line, {"do": "reload" | "publish" | "status" | "revoke" | "tickets"}, answers one."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from edge.server.channel import die_with_master, inherited_channel, keep_to_master
from edge.server.feed import parent_of
from edge.server.folder import stamp_clock
from edge.server.journal import start_journal
from edge.server.listener import bind_unix
from edge.server.master import EX_REFUSED
from edge.server.plan import inherited_plan
from edge.server.publish import Built, Publisher, Refused


class TextFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    async def build(self, version: int, *, reread: bool) -> Built:
        text = self.path.read_text().strip()
        if text.startswith("broken"):
            raise Refused([f"{self.path}:1:1: it is broken"])
        return Built(json.dumps({"version": version, "text": text}).encode(), [])


async def serve() -> int:
    plan, channel = inherited_plan(), inherited_channel()
    start_journal("control")
    master = os.getppid()
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    reloads = []
    loop.add_signal_handler(signal.SIGTERM, ending.set)

    def on_question(peer: Any, message: Any) -> None:
        peer.send({"t": "answer", "id": message["id"], "facts": message["ask"]})

    publisher = Publisher(
        plan.folder, TextFile(Path(plan.config)), workers=plan.workers,
        admits=lambda pid: parent_of(pid) == master, wall=time.time, on_question=on_question, on_events=lambda peer, events: None,
    )

    async def reload_for_master() -> None:
        outcome = await publisher.reload("signal")
        await publisher.everywhere(outcome.version)
        channel.send("reloaded", status=f"version {outcome.version}")

    def on_channel() -> None:
        messages = channel.receive()
        if messages is None:
            os._exit(1)
        for message in messages:
            if message["t"] == "reload":
                reloads.append(loop.create_task(reload_for_master()))

    loop.add_reader(channel.sock, on_channel)
    outcome = await publisher.reload("start")
    if not outcome.ok and publisher.current is None:
        return EX_REFUSED
    await publisher.feed.start(socket.socket(fileno=plan.feed_fd))

    async def on_admin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ask = json.loads(await reader.readline())
        answer: Any = None
        if ask["do"] == "reload":
            outcome = await publisher.reload("command")
            everywhere = await publisher.everywhere(outcome.version)
            answer = {
                "version": outcome.version, "errors": outcome.errors, "everywhere": everywhere,
            }
        elif ask["do"] == "publish":
            answer = (await publisher.reload("command")).version
        elif ask["do"] == "revoke":
            answer = await publisher.revoke([{"kind": "session", "id": ask["id"]}])
        elif ask["do"] == "tickets":
            publisher.set_tickets([bytes(80)])
        elif ask["do"] == "status":
            answer = {
                "control": os.getpid(), "version": publisher.version,
                "workers": {
                    str(peer.slot): {
                        "pid": peer.pid, "version": peer.version, "refused": peer.refused,
                        "counters": peer.counters,
                    }
                    for peer in publisher.feed.peers.values()
                },
            }
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    admin = await asyncio.start_unix_server(on_admin, sock=bind_unix(plan.folder.admin_socket))
    stamp_clock(plan.folder.clock, time.time())
    channel.send("ready")

    async def beat() -> None:
        while True:
            channel.send("beat")
            publisher.beat()
            await asyncio.sleep(1.0)

    beating = loop.create_task(beat())
    await ending.wait()
    beating.cancel()
    admin.close()
    await publisher.feed.close()
    return 0


if __name__ == "__main__":
    die_with_master()
    keep_to_master()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(serve()))
