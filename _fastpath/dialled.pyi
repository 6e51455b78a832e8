import asyncio
from typing import Protocol

from _fastpath.carrier import Carrier
from _fastpath.endpoint import Pipe
from _fastpath.inbound import Inbound
from _fastpath.contexts import TlsClientContext

class LinkHooks(Protocol):
    def message(self, link: DialledLink, body: bytes) -> None: ...
    def stream(self, link: DialledLink, inbound: Inbound) -> None: ...
    def lost(self, link: DialledLink, reason: str) -> None: ...

class DialledLink(Carrier):
    def __init__(self, loop: asyncio.AbstractEventLoop, hooks: LinkHooks) -> None: ...
    def begin(self, pipe: Pipe) -> None: ...

def client_pipe(
    loop: asyncio.AbstractEventLoop,
    context: TlsClientContext | None = None,
    server_name: str = "",
) -> tuple[asyncio.BaseProtocol, asyncio.Future[Pipe]]: ...
