ACCESS_PATH: bytes
NONCE_BYTES: frozenset[int]
