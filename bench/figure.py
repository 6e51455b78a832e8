"""A figure: ours beside theirs, in interleaved rounds; the median ratio and its range."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Figure:
    name: str
    unit: str
    what: str                            # one sentence: ours over theirs, and what is counted
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def interleave(
        self, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
    ) -> "Figure":
        """Measure both in turns, the order swapped each round so that neither always goes first."""
        for number in range(rounds):
            if number % 2:
                second = theirs()
                self.ours.append(ours())
                self.theirs.append(second)
            else:
                self.ours.append(ours())
                self.theirs.append(theirs())
        return self

    def summary(self) -> dict[str, object]:
        ratios = self.ratios
        return {
            "figure": self.name,
            "ratio": round(statistics.median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
            "ours": round(statistics.median(self.ours), 3),
            "theirs": round(statistics.median(self.theirs), 3),
            "unit": self.unit,
            "rounds": len(ratios),
            **{k: round(v, 3) for k, v in self.notes.items()},
        }

    def line(self) -> str:
        s = self.summary()
        low, high = s["range"]  # type: ignore[misc]
        notes = ", ".join(f"{k} {v:g}" for k, v in self.notes.items())
        return (
            f"{self.name:14} {s['ratio']} ({low} to {high})  ours {s['ours']} {self.unit}, theirs "
            f"{s['theirs']} {self.unit}; {self.what}" + (f" [{notes}]" if notes else "")
        )

    def json(self) -> str:
        return json.dumps(self.summary())
