from types import EllipsisType
from typing import Any

from _fastpath.snapshot import Snapshot

KINDS: dict[str, int]
VERDICTS: tuple[str, ...]
OPS: tuple[str, ...]

def fold(text: str) -> bytes: ...
def email_parts(address: object) -> tuple[bytes, bytes] | None: ...
def address_bytes(text: str) -> bytes: ...

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

def judge(
    snapshot: Snapshot, host: str | bytes, path: str | bytes, facts: dict[str, Any]
) -> dict[str, Any]: ...
def judge_preflight(snapshot: Snapshot, host: str | bytes, path: str | bytes) -> dict[str, Any]: ...
def judge_repeatedly(
    snapshot: Snapshot, host: str | bytes, path: str | bytes, facts: dict[str, Any], times: int
) -> int: ...
def find_repeatedly(
    snapshot: Snapshot, host: str | bytes, path: str | bytes, times: int
) -> int: ...
def may_allow(
    snapshot: Snapshot, host: str | bytes, path: str | bytes, facts: dict[str, Any]
) -> bool: ...
def explain(
    snapshot: Snapshot, host: str | bytes, path: str | bytes, facts: dict[str, Any]
) -> dict[str, Any]: ...
