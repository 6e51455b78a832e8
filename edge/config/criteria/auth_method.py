"""auth_method: how the provider says that the person proved who they are (`amr`, RFC 8176)."""

from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import (
    AUTH_METHOD,
    Ask,
    Criterion,
    Kind,
    World,
    one_text,
    text_schema,
)


@dataclass(frozen=True, slots=True)
class AuthMethod(Criterion):
    method: str

    @classmethod
    def parse(cls, value: Any) -> "AuthMethod":
        return cls(one_text(value, "auth_method", "a method like mfa, otp, hwk"))

    def ask(self, world: World) -> Ask:
        return Ask(AUTH_METHOD, self.method.encode())

    def text(self) -> str:
        return self.method


KIND = Kind(
    "auth_method", AuthMethod.parse, True, text_schema("auth_method"),
    "An authentication method of RFC 8176, as the provider swore it: mfa, otp, hwk, …",
)  # fmt: skip
