"""As whom a client's connections are counted: its IPv4 address, or the /64 of its IPv6 address."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.kit.core_thread import CoreThread
from tests.kit.origin import RecordingOrigin
from tests.kit.policy_cases import application
from tests.kit.raw import Raw

EVERYBODY = {"decision": "bypass", "include": ["everyone"]}
MOST = 3


@pytest.fixture
def core() -> Iterator[CoreThread]:
    limits = {"connections_per_address": MOST}
    with RecordingOrigin() as origin, CoreThread(
        origin, applications=[application([EVERYBODY])], limits=limits
    ) as one:
        sock = socket.create_server(("127.0.0.1", 0))
        serving = one.loop.create_server(one.core.acceptor("plain", proxy_protocol=True), sock=sock)
        asyncio.run_coroutine_threadsafe(serving, one.loop).result(10)
        one.port = sock.getsockname()[1]
        yield one


def served(core: CoreThread, c: Raw, address: str) -> bool:
    family = "TCP6" if ":" in address else "TCP4"
    here = "::1" if ":" in address else "127.0.0.1"
    c.send(f"PROXY {family} {address} {here} 5000 80\r\n".encode() + core.request())
    try:
        return c.answer().status == 200
    except (ConnectionError, EOFError, AssertionError):
        return False


@pytest.mark.parametrize(("addresses", "other"), [
    (["2001:db8:1:2::1", "2001:db8:1:2:ffff::7", "2001:db8:1:2:3:4:5:6"], "2001:db8:1:3::1"),
    (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], "192.0.2.2"),
    (["::1", "::2", "::3"], "192.0.2.1"),
])
def test_a_client_has_all_addresses_of_its_64(core: CoreThread, addresses: list[str], other: str) -> None:
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(core.client()) for _ in addresses]
        assert all(served(core, c, address) for c, address in zip(kept, addresses, strict=True))
        for address in addresses:
            with core.client() as c:
                assert not served(core, c, address)
        with core.client() as c:
            assert served(core, c, other)
        kept[0].sock.close()
        for _ in range(100):                          # one that ends makes room
            with core.client() as c:
                if served(core, c, addresses[1]):
                    break
        else:
            raise AssertionError("no room was made")
