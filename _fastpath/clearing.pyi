MAX_CLEARED_SEGMENTS: int
MAX_CLEARED_PATH: int
MAX_CLEARED_LINES: int
MAX_CLEARED_BYTES: int
CLEARED_LIFE: int

def clearings(name: bytes, host: bytes, path: bytes) -> list[bytes]: ...
