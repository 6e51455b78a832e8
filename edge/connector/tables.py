"""The numbered service tables of this connector: the newest one, and replaced ones for 60 s."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.connector.ingress import Rule
from edge.connector.origin import Target, build_target

KEPT = 60.0  # seconds that a replaced table still serves streams that name it
MOST_KEPT = 100  # replaced tables; over it: the oldest serves no more


class NotInTable(LookupError):
    """A stream named a version that is unknown or too old, or an index that isn't in it."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


@dataclass(slots=True)
class Numbered:
    """One version: its rules and what each dials, by index."""

    version: int
    owner: str  # "file" or "edge"
    rules: tuple[Rule, ...]
    targets: dict[int, Target]
    until: float = 0.0  # monotonic; 0 = current

    def entries(self) -> tuple[dict[str, object], ...]:
        """Return the table as it is announced."""
        return tuple(rule.announced() for rule in self.rules)


class Tables:
    """All versions that streams may name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.current: Numbered | None = None
        self._kept: dict[int, Numbered] = {}
        self._next = 1

    def replace(self, rules: tuple[Rule, ...], owner: str = "file") -> Numbered:
        """Make `rules` the current table; the one before serves for KEPT more.

        Raises ServiceRefused when a rule's TLS settings can't be used; nothing has changed then.
        """
        targets = {rule.index: build_target(rule, pushed=owner == "edge") for rule in rules}
        fresh = Numbered(self._next, owner, rules, targets)
        self._next += 1
        now = self.clock()
        if self.current is not None:
            self.current.until = now + KEPT
        self._kept = {
            version: one for version, one in self._kept.items() if not one.until or one.until > now
        }
        while len(self._kept) > MOST_KEPT:
            del self._kept[min(self._kept)]
        self._kept[fresh.version] = fresh
        self.current = fresh
        return fresh

    def target(self, version: int, index: int) -> Target:
        """Return what a stream's header names, or raise NotInTable."""
        table = self._kept.get(version)
        if table is None or (table.until and table.until <= self.clock()):
            raise NotInTable("tunnel-table-unknown", f"table {version} is not kept here")
        target = table.targets.get(index)
        if target is None:
            raise NotInTable("tunnel-table-unknown", f"table {version} has no entry {index}")
        return target
