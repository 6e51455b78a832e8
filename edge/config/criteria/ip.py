"""ip: an address or network; IPv4-mapped IPv6 is IPv4 (C09)."""

from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import IP, Ask, Criterion, Kind, World, one_text, text_schema
from edge.config.scalars import network


@dataclass(frozen=True, slots=True)
class Ip(Criterion):
    version: int
    first: int
    last: int
    written: str

    @classmethod
    def parse(cls, value: Any) -> "Ip":
        found = network(one_text(value, "ip", "an IP address or network"))
        return cls(
            found.version, int(found.network_address), int(found.broadcast_address), str(found)
        )

    def ask(self, world: World) -> Ask:
        return Ask(IP, addresses=(self.version, self.first, self.last))

    def text(self) -> str:
        return self.written


KIND = Kind("ip", Ip.parse, False, text_schema("ip"), "The client's address, IPv4 or IPv6.")
