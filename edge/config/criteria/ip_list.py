"""ip_list: the networks of a list of the configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import IP, Ask, Criterion, Kind, World, one_text, text_schema


@dataclass(frozen=True, slots=True)
class IpList(Criterion):
    name: str

    @classmethod
    def parse(cls, value: Any) -> "IpList":
        return cls(one_text(value, "id", "the name of an IP list"))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("ip list", self.name),)

    def ask(self, world: World) -> Ask:
        return Ask(IP, table=("ip", world.list_named("ip", self.name) or ""))

    def text(self) -> str:
        return self.name


KIND = Kind("ip_list", IpList.parse, False, text_schema("id"), "An IP list, by name or id.")
