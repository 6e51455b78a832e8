from collections.abc import Iterable, Mapping
from typing import Any, Literal, final

from _fastpath.jwt import Token

Kind = Literal[
    "session", "nonce", "user", "application", "service_token", "credential", "administrator"
]

@final
class Revocations:
    @property
    def generation(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def size(self) -> int: ...
    def apply(
        self,
        entries: Iterable[Mapping[str, Any]],
        full: bool = False,
        seq: int = 0,
        now: int = 0,
    ) -> None: ...
    def lists(self, kind: Kind, ident: str) -> bool: ...
    def check_token(self, token: Token) -> str | None: ...
