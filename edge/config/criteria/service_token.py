"""service_token: one service token, by name or id. Tokens live in the store, so a name may not
exist yet: it never matches."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import (
    SERVICE_TOKEN,
    Ask,
    Criterion,
    Kind,
    World,
    one_text,
    text_schema,
)


@dataclass(frozen=True, slots=True)
class ServiceToken(Criterion):
    name: str

    @classmethod
    def parse(cls, value: Any) -> "ServiceToken":
        return cls(one_text(value, "token_id", "the name of a service token"))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("service token", self.name),)

    def ask(self, world: World) -> Ask:
        return Ask(SERVICE_TOKEN, (world.service_token(self.name) or "-").encode())

    def text(self) -> str:
        return self.name


KIND = Kind(
    "service_token", ServiceToken.parse, False, text_schema("token_id"),
    "A service token, by name or id; meant for non_identity policies.",
)  # fmt: skip
