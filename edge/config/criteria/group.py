"""group: a rule group of the configuration, true when its own include, require and exclude say
so."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import GROUP, Ask, Criterion, Kind, World, one_text, text_schema


@dataclass(frozen=True, slots=True)
class Group(Criterion):
    name: str

    @classmethod
    def parse(cls, value: Any) -> "Group":
        return cls(one_text(value, "id", "the name of a group"))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("group", self.name),)

    def ask(self, world: World) -> Ask:
        return Ask(GROUP, group=world.group(self.name))

    def text(self) -> str:
        return self.name


KIND = Kind("group", Group.parse, False, text_schema("id"), "A rule group, by name or id.")
