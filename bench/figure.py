"""A figure: ours beside theirs in interleaved rounds, measurements beside their bars, a table."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Bar:
    """What was measured and the most that it may be."""

    measured: float
    most: float

    @property
    def met(self) -> bool:
        return self.measured <= self.most


@dataclass
class Figure:
    """Any of three: ratios of ours over theirs, bars, rows of a table. All of it goes into JSON."""

    name: str
    unit: str
    what: str                            # one sentence: ours over theirs, and what is counted
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    bars: dict[str, Bar] = field(default_factory=dict)
    rows: list[dict[str, object]] = field(default_factory=list)   # of one set of keys

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

    def at_most(self, ratio: float) -> "Figure":
        """Set a bar for the median of the ratios."""
        self.bars["ratio"] = Bar(statistics.median(self.ratios), ratio)
        return self

    def summary(self) -> dict[str, object]:
        found: dict[str, object] = {"figure": self.name, "what": self.what}
        if self.theirs:
            ratios = self.ratios
            found |= {
                "ratio": round(statistics.median(ratios), 3),
                "range": [round(min(ratios), 3), round(max(ratios), 3)],
                "ours": round(statistics.median(self.ours), 3),
                "theirs": round(statistics.median(self.theirs), 3),
                "unit": self.unit,
                "rounds": len(ratios),
            }
        found |= {k: round(v, 3) for k, v in self.notes.items()}
        if self.bars:
            found["bars"] = {
                k: {"measured": round(b.measured, 3), "most": b.most, "met": b.met}
                for k, b in self.bars.items()
            }
        if self.rows:
            found["rows"] = self.rows
        return found

    def text(self) -> str:
        """Return what a person reads: one line, then bars and rows."""
        parts = [f"{self.name}: {self.what}"]
        if self.theirs:
            ratios = self.ratios
            ours, theirs = (number(statistics.median(one)) for one in (self.ours, self.theirs))
            parts.append(
                f"  {number(statistics.median(ratios))} ({number(min(ratios))} to "
                f"{number(max(ratios))}, {len(ratios)} rounds): ours {ours} {self.unit}, "
                f"theirs {theirs} {self.unit}")
        parts += [f"  {name}: {number(value)}" for name, value in self.notes.items()]
        parts += [
            f"  {name}: {number(b.measured)}, at most {b.most:g}: {'met' if b.met else 'NOT MET'}"
            for name, b in self.bars.items()
        ]
        if self.rows:
            parts += ["", *markdown(self.rows)]
        return "\n".join(parts)

    def json(self) -> str:
        return json.dumps(self.summary(), ensure_ascii=False)


def number(value: float) -> str:
    """Return three significant digits, and every digit before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(rows: list[dict[str, object]]) -> list[str]:
    """Return a table's lines; the first row's keys are its head."""

    def line(cells: Mapping[str, object]) -> str:
        return "| " + " | ".join(str(one) for one in cells.values()) + " |"

    names = {name: name for name in rows[0]}
    return [line(names), "|" + "---|" * len(names), *(line(row) for row in rows)]
