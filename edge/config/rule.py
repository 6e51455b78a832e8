"""A rule: one criterion with its value, in the short form or in the shape of Cloudflare's API."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from edge.config.criteria import CRITERIA, NOT_HERE, SPELLINGS, Criterion
from edge.config.problem import Mark, did_you_mean
from edge.config.scalars import wrong
from edge.config.source import Map, mark_at


@dataclass(frozen=True, slots=True)
class Rule:
    kind: str  # name of the criterion
    criterion: Criterion
    raw_at: Any  # RawMark | None, which pydantic can't look into

    @property
    def at(self) -> Mark:
        return Mark(1, 1) if self.raw_at is None else mark_at(self.raw_at)

    @property
    def person(self) -> bool:
        return CRITERIA[self.kind].person


def parse(value: Any) -> Rule:
    """Return the rule; raises the sentence to show."""
    if isinstance(value, Rule):
        return value
    at = getattr(value, "at", None)
    if isinstance(value, str):  # `- everyone`
        value = {value: None}
    if not isinstance(value, dict) or len(value) != 1:
        raise wrong("a rule is one criterion with its value, like {email: ada@example.com}")
    ((name, given),) = value.items()
    kind = SPELLINGS.get(name)
    if kind is None:
        place = value.keys_at.get(name) if isinstance(value, Map) else at
        if name in NOT_HERE:
            raise wrong(f"Cloudflare's criterion “{name}” does not exist here", at=place)
        raise wrong(f"there is no criterion “{name}”{did_you_mean(name, CRITERIA)}", at=place)
    if isinstance(value, Map):
        at = value.values_at[name]
    try:
        return Rule(kind.name, kind.parse(given), at)
    except PydanticCustomError as error:
        context = error.context or {}
        if at is None or context.get("at") is not None:
            raise
        raise wrong(context["sentence"], at=at) from error


def rule_schema() -> dict[str, Any]:
    shapes = [
        {
            "type": "object",
            "properties": {name: {**kind.schema, "description": kind.description}},
            "required": [name],
            "additionalProperties": False,
        }
        for name, kind in SPELLINGS.items()
    ]
    return {"anyOf": [{"enum": ["everyone", "any_valid_service_token"]}, *shapes]}


RuleItem = Annotated[Rule, PlainValidator(parse), WithJsonSchema(rule_schema())]
