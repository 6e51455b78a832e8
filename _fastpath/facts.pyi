from types import EllipsisType
from typing import Any

KINDS: dict[str, int]

def fold(text: str) -> bytes: ...
def email_parts(address: object) -> tuple[bytes, bytes] | None: ...

class FactSet:
    def __init__(
        self,
        *,
        email: str | EllipsisType | None = ...,
        idp: str | EllipsisType | None = ...,
        groups: list[str] | EllipsisType | None = ...,
        amr: list[str] | EllipsisType | None = ...,
        claims: dict[str, Any] | EllipsisType | None = ...,
    ) -> None: ...
    @staticmethod
    def from_claims(claims: dict[str, Any]) -> FactSet: ...
