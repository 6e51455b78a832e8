from typing import Any

from _fastpath.snapshot import Snapshot

VERDICTS: tuple[str, ...]
OPS: tuple[str, ...]

def address_bytes(text: str) -> bytes: ...
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
