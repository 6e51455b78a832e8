from collections.abc import Mapping, Sequence
from typing import Any, final

from _fastpath.revocations import Revocations

@final
class ServiceToken:
    @property
    def client_id(self) -> bytes: ...
    @property
    def id(self) -> bytes: ...
    @property
    def name(self) -> bytes: ...

@final
class ServiceTokens:
    def __init__(self, tokens: Mapping[str, Sequence[Any]] | None = None) -> None: ...
    @property
    def size(self) -> int: ...
    def prove(
        self, client_id: bytes, secret: bytes, now: int, revocations: Revocations
    ) -> tuple[str, None] | tuple[None, str]: ...
