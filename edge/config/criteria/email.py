"""email: one address, compared whole, A-Z and a-z alike and nothing else folded (M09)."""

import re
from dataclasses import dataclass
from typing import Any

from _fastpath.facts import email_parts
from edge.config.criteria.criterion import EMAIL, Ask, Criterion, Kind, World, one_text, text_schema
from edge.config.scalars import wrong

SPACE = re.compile(r"\s")


def address(text: str) -> bytes:
    parts = email_parts(text)
    if parts is None or SPACE.search(text):
        raise wrong(f"“{text}” is not an e-mail address")
    return parts[0]


@dataclass(frozen=True, slots=True)
class Email(Criterion):
    address: bytes

    @classmethod
    def parse(cls, value: Any) -> "Email":
        return cls(address(one_text(value, "email", "an e-mail address")))

    def ask(self, world: World) -> Ask:
        return Ask(EMAIL, self.address)

    def text(self) -> str:
        return self.address.decode()


KIND = Kind("email", Email.parse, True, text_schema("email"), "One e-mail address.")
