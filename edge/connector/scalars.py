"""Text of a configuration file -> typed values; what doesn't fit is told at its place."""

from __future__ import annotations

import re
from collections.abc import Callable

from edge.config.source import Map, RawMark

Complain = Callable[[RawMark, str, str], None]

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", re.ASCII)


def read_text(values: Map, key: str, default: str, complain: Complain) -> str:
    """Return a text, the default when absent."""
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        complain(values.values_at[key], f"“{key}” is a text", "error")
        return default
    return value


def read_boolean(values: Map, key: str, default: bool, complain: Complain) -> bool:
    """Return true or false, the default when absent."""
    value = values.get(key)
    if value is None:
        return default
    if value not in ("true", "True", "false", "False"):
        complain(values.values_at[key], f"“{key}” is true or false", "error")
        return default
    return str(value).lower() == "true"


def read_number(
    values: Map, key: str, default: int, least: int, most: int, complain: Complain
) -> int:
    """Return a whole number in [least, most], the default when absent."""
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        number = int(value)
        if least <= number <= most:
            return number
    complain(values.values_at[key], f"“{key}” is a number from {least} to {most}", "error")
    return default


def read_duration(
    values: Map, key: str, default: float, most: float, complain: Complain
) -> float:
    """Return seconds from `30s`, `1m30s`, `500ms` or a bare number of seconds."""
    value = values.get(key)
    if value is None:
        return default
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None or seconds > most:
        complain(
            values.values_at[key], f"“{key}” is a time like 30s, at most {most:.0f}s", "error"
        )
        return default
    return seconds


def parse_duration(text: str) -> float | None:
    """Return seconds, or None when the text is no duration."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None or not text or len(text) > 32:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def read_address(values: Map, key: str, complain: Complain) -> tuple[str, int] | None:
    """Return (host, port) of `127.0.0.1:20241`, or None when absent."""
    value = values.get(key)
    if value is None:
        return None
    found = split_address(value) if isinstance(value, str) else None
    if found is None:
        complain(values.values_at[key], f"“{key}” is an address like 127.0.0.1:20241", "error")
    return found


def split_address(text: str) -> tuple[str, int] | None:
    """Return (host, port) of `host:port` or `[v6]:port`; None when it is neither."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^:\[\]/@\s]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        return None
    return match[1] or match[2], int(match[3])
