"""Durations on the command line: 90s, 15m, 24h, 30d."""

import re
from typing import Any

import click

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Duration(click.ParamType[int]):
    """A number with a unit, as seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration like 90s, 15m, 24h or 30d", param, ctx)
        return int(match[1]) * UNITS[match[2]]


DURATION = Duration()
