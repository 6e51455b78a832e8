"""any_valid_service_token: any service token of this installation that has not expired."""

from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import ANY_SERVICE_TOKEN, Ask, Criterion, Kind, World, nothing


@dataclass(frozen=True, slots=True)
class AnyValidServiceToken(Criterion):
    @classmethod
    def parse(cls, value: Any) -> "AnyValidServiceToken":
        nothing(value)
        return cls()

    def ask(self, world: World) -> Ask:
        return Ask(ANY_SERVICE_TOKEN)

    def text(self) -> str:
        return ""


KIND = Kind(
    "any_valid_service_token", AnyValidServiceToken.parse, False,
    {"type": ["object", "boolean", "null"]}, "Any valid service token of this installation.",
)  # fmt: skip
