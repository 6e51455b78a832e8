"""idp_group: a group that the provider swore. Under Cloudflare's names azure_ad, okta, gsuite and
github_organization it is the same question: they differ in how their value is written."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.config.criteria.criterion import IDP_GROUP, Ask, Criterion, Kind, World, fields
from edge.config.scalars import wrong


@dataclass(frozen=True, slots=True)
class IdpGroup(Criterion):
    group: str
    provider: str

    @classmethod
    def parse(cls, value: Any) -> "IdpGroup":
        return cls.named(value, "name")

    @classmethod
    def named(cls, value: Any, key: str, second: str = "") -> "IdpGroup":
        """Read {key: group, identity_provider_id?}; or the group alone."""
        if isinstance(value, str):
            if not value:
                raise wrong(f"this must be a group's {key}")
            return cls(value, "")
        given = fields(value, (key,), tuple(k for k in (second, "identity_provider_id") if k))
        group = given[key] + ("/" + given[second] if second in given else "")
        return cls(group, given.get("identity_provider_id", ""))

    def references(self) -> Iterable[tuple[str, str]]:
        return (("provider", self.provider),) if self.provider else ()

    def ask(self, world: World) -> Ask:
        # a provider that does not exist is an error before this; "-" is no provider's id
        idp = (world.provider(self.provider) or "-") if self.provider else ""
        return Ask(IDP_GROUP, self.group.encode(), idp=idp.encode())

    def text(self) -> str:
        return f"{self.group} at {self.provider}" if self.provider else self.group


def kind(name: str, key: str, description: str, second: str = "", api: str = "") -> Kind:
    text = {"type": "string"}
    properties = {k: text for k in (key, second, "identity_provider_id") if k}
    shape = {
        "type": "object",
        "properties": properties,
        "required": [key],
        "additionalProperties": False,
    }

    def parse(value: Any) -> IdpGroup:
        return IdpGroup.named(value, key, second)

    return Kind(name, parse, True, {"anyOf": [text, shape]}, description, api)


KINDS = (
    kind("idp_group", "name", "A group of the identity provider, by name."),
    kind("azure_ad", "id", "A group of Entra ID, by its object id.", api="azureAD"),
    kind("okta", "name", "A group of Okta, by name."),
    kind("gsuite", "email", "A group of Google Workspace, by its address."),
    kind(
        "github_organization", "name", "An organisation of GitHub, or a team of it.", "team",
        api="github-organization",
    ),
)  # fmt: skip
