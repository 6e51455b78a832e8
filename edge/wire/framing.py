"""Messages as bytes: a 4-byte big-endian length, then one msgpack map."""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from edge.wire.errors import BadMessage
from edge.wire.messages import Message, parse

MAX_MESSAGE = 1 << 20  # bytes of one control message; over it: the link is closed
_LENGTH = struct.Struct(">I")


def pack(message: Message) -> bytes:
    """Return the message with its length in front."""
    return pack_map(message.to_map())


def pack_map(values: dict[str, Any]) -> bytes:
    """Return any map with a kind `t` as one message: what sibling workers say to each other."""
    body: bytes = msgpack.packb(values, use_bin_type=True)
    if len(body) > MAX_MESSAGE:
        raise BadMessage(f"{values['t']} is larger than {MAX_MESSAGE} bytes")
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> Message | None:
    """Return the message in `body` (without its length), None when its kind is unknown."""
    return parse(unpack_map(body))


def unpack_map(body: bytes) -> Any:
    """Return the msgpack value in `body`; nesting, sizes and text are checked by msgpack."""
    if len(body) > MAX_MESSAGE:
        raise BadMessage(f"larger than {MAX_MESSAGE} bytes")
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=True)
    except Exception as error:
        # msgpack raises half a dozen kinds (ExtraData, OutOfData, UnicodeDecodeError, ...)
        raise BadMessage(f"not msgpack: {type(error).__name__}") from None
