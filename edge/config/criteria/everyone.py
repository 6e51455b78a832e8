"""everyone: true for all. In an allow policy that is whoever can sign in."""

from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import EVERYONE, Ask, Criterion, Kind, World, nothing


@dataclass(frozen=True, slots=True)
class Everyone(Criterion):
    @classmethod
    def parse(cls, value: Any) -> "Everyone":
        nothing(value)
        return cls()

    def ask(self, world: World) -> Ask:
        return Ask(EVERYONE)

    def text(self) -> str:
        return ""


KIND = Kind(
    "everyone", Everyone.parse, False, {"type": ["object", "boolean", "null"]},
    "Everyone who comes; in an allow policy, everyone who can sign in.",
)  # fmt: skip
