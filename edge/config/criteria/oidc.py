"""oidc: a claim that the provider swore, compared whole; of a list of values one is enough."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import CLAIM, Ask, Criterion, Kind, World, fields


@dataclass(frozen=True, slots=True)
class Oidc(Criterion):
    claim: str
    value: str
    provider: str

    @classmethod
    def parse(cls, value: Any) -> "Oidc":
        given = fields(value, ("claim_name", "claim_value"), ("identity_provider_id",))
        return cls(given["claim_name"], given["claim_value"], given.get("identity_provider_id", ""))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("provider", self.provider),) if self.provider else ()

    def ask(self, world: World) -> Ask:
        idp = (world.provider(self.provider) or "-") if self.provider else ""
        return Ask(CLAIM, self.value.encode(), claim=self.claim.encode(), idp=idp.encode())

    def text(self) -> str:
        at = f" at {self.provider}" if self.provider else ""
        return f"{self.claim} = {self.value}{at}"


KIND = Kind(
    "oidc",
    Oidc.parse,
    True,
    {
        "type": "object",
        "properties": {
            "claim_name": {"type": "string"},
            "claim_value": {"type": "string"},
            "identity_provider_id": {"type": "string"},
        },
        "required": ["claim_name", "claim_value"],
        "additionalProperties": False,
    },
    "A claim of the identity provider; of a list of values one is enough.",
)
