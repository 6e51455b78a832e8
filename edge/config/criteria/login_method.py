"""login_method: the identity provider that the person signed in with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import (
    LOGIN_METHOD,
    Ask,
    Criterion,
    Kind,
    World,
    one_text,
    text_schema,
)


@dataclass(frozen=True, slots=True)
class LoginMethod(Criterion):
    name: str

    @classmethod
    def parse(cls, value: Any) -> "LoginMethod":
        return cls(one_text(value, "id", "the name of an identity provider"))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("provider", self.name),)

    def ask(self, world: World) -> Ask:
        return Ask(LOGIN_METHOD, (world.provider(self.name) or "").encode())

    def text(self) -> str:
        return self.name


KIND = Kind(
    "login_method",
    LoginMethod.parse,
    True,
    text_schema("id"),
    "An identity provider, by name or id.",
)
