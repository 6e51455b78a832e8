"""email_list: the addresses of a list of the configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import EMAIL, Ask, Criterion, Kind, World, one_text, text_schema


@dataclass(frozen=True, slots=True)
class EmailList(Criterion):
    name: str

    @classmethod
    def parse(cls, value: Any) -> "EmailList":
        return cls(one_text(value, "id", "the name of an e-mail list"))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("email list", self.name),)

    def ask(self, world: World) -> Ask:
        return Ask(EMAIL, table=("email", world.list_named("email", self.name) or ""))

    def text(self) -> str:
        return self.name


KIND = Kind(
    "email_list", EmailList.parse, True, text_schema("id"), "An e-mail list, by name or id."
)
