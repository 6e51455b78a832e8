"""Frames, and the worker's end of the feed against a real socket."""

import asyncio
import os
import struct

import msgpack
import pytest

from edge.server import feed as feed_module
from edge.server.feed import (
    MAX_FRAME,
    MAX_QUEUED_EVENTS,
    FeedClient,
    FeedError,
    FeedServer,
    Frames,
    pack,
    parent_of,
)
from edge.server.listener import bind_unix

MESSAGES = [{"t": "beat", "wall": 1.5}, {"t": "snapshot", "sha256": b"\0" * 32}, {"t": "new-thing"}]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_frames_are_the_same_however_they_are_cut(size):
    stream = b"".join(pack(message) for message in MESSAGES)
    frames, got = Frames(), []
    for at in range(0, len(stream), size):
        got += frames.feed(stream[at : at + size])
    assert got == MESSAGES


@pytest.mark.parametrize("stream", [
    struct.pack(">I", MAX_FRAME + 1),
    struct.pack(">I", 1) + b"\xc1",
    struct.pack(">I", 1) + msgpack.packb(1),
    struct.pack(">I", 3) + msgpack.packb({"t": 1}),
    struct.pack(">I", 1) + b"\x80",
    struct.pack(">I", 0),
], ids=["too long", "not msgpack", "not a map", "type is no text", "no type", "empty"])
def test_what_is_no_frame_is_refused(stream):
    with pytest.raises(FeedError):
        Frames().feed(stream)


def test_message_over_the_bound_is_never_sent():
    with pytest.raises(FeedError):
        pack({"t": "x", "body": bytes(MAX_FRAME)})


class Control:
    """What control's publisher is to the feed, written down."""

    def __init__(self):
        self.heard = []

    def greeting(self):
        return [{"t": "beat", "wall": 0.0}]

    def on_message(self, peer, message):
        self.heard.append((peer.slot, message))

    def on_gone(self, peer):
        self.heard.append((peer.slot, "gone"))


class Ends:
    """Both ends on one socket path."""

    def __init__(self, folder, admits=lambda pid: True):
        self.path = folder / "feed.sock"
        self.admits = admits
        self.control = Control()
        self.got, self.states = [], []
        self.client = FeedClient(
            self.path, slot=3, on_message=self.got.append, on_state=self.states.append
        )
        self.task = None

    async def listen(self):
        self.server = FeedServer(self.control, instance="i", admits=self.admits)
        await self.server.start(bind_unix(self.path))

    async def __aenter__(self):
        await self.listen()
        self.task = asyncio.create_task(self.client.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await self.server.close()

    async def until(self, true):
        async with asyncio.timeout(3):
            while not true():
                await asyncio.sleep(0.005)


async def test_worker_is_greeted_and_both_speak(tmp_path):
    async with Ends(tmp_path) as ends:
        await ends.until(lambda: len(ends.got) == 2)
        assert [message["t"] for message in ends.got] == ["hello", "beat"]
        ends.client.send({"t": "counters", "counters": {"requests": 7}})
        ends.client.send({"t": "ack", "version": 4})
        await ends.until(lambda: len(ends.control.heard) == 2)
        peer = ends.server.peers[3]
        assert (peer.pid, peer.version, peer.counters) == (os.getpid(), 4, {"requests": 7})
        ends.server.broadcast({"t": "from-a-newer-release"})
        await ends.until(lambda: len(ends.got) == 3)


async def test_worker_comes_back_within_a_second_and_brings_its_events(tmp_path):
    async with Ends(tmp_path) as ends:
        await ends.until(lambda: ends.client.connected)
        await ends.server.close()
        await ends.until(lambda: not ends.client.connected)
        ends.client.send_events(["one"])
        ends.client.send_events(["two"])
        begin = asyncio.get_running_loop().time()
        await ends.listen()
        await ends.until(lambda: ends.client.connected)
        assert asyncio.get_running_loop().time() - begin < 1.2
        await ends.until(lambda: any(m != "gone" and m["t"] == "events"
                                     for _, m in ends.control.heard))
        assert ends.control.heard[-1] == (3, {"t": "events", "events": ["one", "two"]})
        assert ends.states == [True, False, True]


def test_events_are_bounded_while_control_is_away(tmp_path):
    client = FeedClient(tmp_path / "none", slot=0, on_message=lambda message: None)
    for _ in range(3):
        client.send_events(list(range(MAX_QUEUED_EVENTS // 2)))
    assert client.lost_events == MAX_QUEUED_EVENTS // 2


async def test_stranger_is_refused_whatever_it_says(tmp_path):
    """A process that is no child of the master gets nothing, not even a greeting."""
    async with Ends(tmp_path, admits=lambda pid: False) as ends:
        reader, writer = await asyncio.open_unix_connection(str(ends.path))
        writer.write(pack({"t": "hello", "slot": 3, "pid": 1}))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)
        assert ends.got == [] and ends.server.peers == {}


async def test_stranger_by_user_is_refused(tmp_path, monkeypatch):
    """Z07: the kernel's word on the other end's user counts, not its message."""
    monkeypatch.setattr(feed_module, "peer_of", lambda sock: (os.getpid(), 65534))
    async with Ends(tmp_path) as ends:
        await asyncio.sleep(0.1)
        assert ends.server.peers == {}


async def test_gap_in_the_numbers_drops_the_connection(tmp_path):
    async with Ends(tmp_path) as ends:
        await ends.until(lambda: len(ends.got) == 2)
        ends.server.peers[3]._sent += 1  # as if a message had been lost
        ends.server.broadcast({"t": "beat", "wall": 1.0})
        # dropped, connected again, told everything anew
        await ends.until(lambda: [m["t"] for m in ends.got] == ["hello", "beat", "hello", "beat"])


async def test_message_that_cannot_be_applied_drops_the_connection(tmp_path):
    async with Ends(tmp_path) as ends:
        failing = [True]

        def on_message(message):
            if message["t"] == "snapshot" and failing.pop():
                raise ValueError("half applied")
            ends.got.append(message)

        ends.client._on_message = on_message
        await ends.until(lambda: len(ends.got) == 2)
        ends.server.broadcast({"t": "snapshot"})
        await ends.until(lambda: len(ends.got) == 4)
        assert ends.states == [True, False, True]


async def test_worker_that_comes_twice_replaces_itself(tmp_path):
    async with Ends(tmp_path) as ends:
        await ends.until(lambda: 3 in ends.server.peers)
        first = ends.server.peers[3]
        _, writer = await asyncio.open_unix_connection(str(ends.path))
        writer.write(pack({"t": "hello", "slot": 3, "pid": 1}))
        await ends.until(lambda: ends.server.peers.get(3) not in (first, None))
        writer.close()


async def test_first_frame_must_be_hello(tmp_path):
    async with Ends(tmp_path) as ends:
        reader, writer = await asyncio.open_unix_connection(str(ends.path))
        writer.write(pack({"t": "ack", "version": 1}))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)


def test_parent_of():
    assert parent_of(os.getpid()) == os.getppid()
    assert parent_of(2**22 + 5) == 0
