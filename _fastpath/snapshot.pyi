from typing_extensions import Buffer
from os import PathLike
from typing import Any

HEADER_SIZE: int
DIGEST_AT: int
FORMAT_VERSION: int
SECTION_NAMES: tuple[str, ...]
SIZES: dict[str, int]

class SnapshotDamaged(ValueError): ...

class Snapshot:
    version: int
    settings: dict[Any, Any]
    digest: bytes
    def __init__(self, data: Buffer) -> None: ...
    @staticmethod
    def open(path: str | PathLike[str]) -> Snapshot: ...
    def applications(self) -> list[dict[str, Any]]: ...
    def routes_list(self) -> list[dict[str, Any]]: ...
    def place(self, host: bytes, path: bytes) -> dict[str, Any]: ...

def set_table(key: bytes, values: list[bytes], rules: list[int]) -> tuple[bytes, int, int]: ...
