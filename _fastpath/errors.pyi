FAULTS: tuple[str, ...]
ROWS: tuple[tuple[int, str, int, int, bool], ...]

class WireError(Exception):
    reason: str
    status: int
    fault: str
    retry: bool
    code: int
    detail: object
    def __init__(self, code: int, detail: object = None) -> None: ...

def reasons() -> dict[str, tuple[int, str, bool]]: ...
def reason_number(name: str) -> int: ...
def reason_of(number: int) -> str: ...
