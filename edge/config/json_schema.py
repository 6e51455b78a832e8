"""The JSON Schema of sekisho.yml, for editors: the model's, in the words that files use."""

from typing import Any

from edge.config.model import Config, OriginOptions, Route

SPELLED = {"Route": Route.spellings, "OriginOptions": OriginOptions.spellings}


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12). Every scalar is text to the loader; here it has its
    meaning's type."""
    found = Config.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "sekisho.yml"
    for name, spellings in SPELLED.items():
        properties = found["$defs"][name]["properties"]
        properties.update({theirs: properties[ours] for theirs, ours in spellings.items()})
    include = found["properties"]["include"]
    pattern = include["items"]
    include["anyOf"] = [pattern, {"type": include.pop("type"), "items": include.pop("items")}]
    for part in (found, *found["$defs"].values()):
        for key, shape in part.get("properties", {}).items():
            part["properties"][key] = nullable(shape)
    return found


def nullable(shape: dict[str, Any]) -> dict[str, Any]:
    """Allow `key:` with nothing after it, which is the same as no key; defaults that are ours to
    format are left out."""
    shape = {key: value for key, value in shape.items() if key != "default"}
    choices = shape.get("anyOf", [])
    if {"type": "null"} in choices:
        return shape
    description = shape.pop("description", None)
    whole: dict[str, Any] = {"anyOf": [shape, {"type": "null"}]}
    return whole if description is None else {**whole, "description": description}
