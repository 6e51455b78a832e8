from collections.abc import Iterable
from typing import Literal, final

Profile = Literal["application", "client_ca", "tunnel"]

@final
class TicketKeys:
    def __init__(self, keys: Iterable[bytes] = ()) -> None: ...
    @property
    def size(self) -> int: ...
    def replace(self, keys: Iterable[bytes]) -> None: ...

@final
class TlsEntry:
    @property
    def refuses_all(self) -> bool: ...

@final
class TlsContexts:
    def __init__(self, tickets: TicketKeys | None = None) -> None: ...
    @property
    def tickets(self) -> TicketKeys: ...
    def add(
        self,
        names: Iterable[str],
        certificate: bytes,
        key: bytes,
        *,
        profile: Profile = "application",
        client_ca: bytes | None = None,
        revoked: bytes | None = None,
        require: bool = True,
        fallback: bool = False,
    ) -> TlsEntry: ...

@final
class TlsClientContext:
    def __init__(
        self,
        *,
        trust: bytes | None = None,
        certificate: bytes | None = None,
        key: bytes | None = None,
        alpn: Iterable[str] = (),
        verify: bool = True,
        minimum: Literal["1.2", "1.3"] = "1.2",
    ) -> None: ...
    @property
    def verify(self) -> bool: ...

class Hello: ...
