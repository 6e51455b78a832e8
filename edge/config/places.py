"""The base of every part of the model: it remembers where it stood."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from edge.config.problem import Mark
from edge.config.source import Items, Map

NOWHERE = Mark(1, 1)


@dataclass(frozen=True)
class Reading:
    """What validators need to know of the file that is being read."""

    file: str  # as shown in problems
    folder: Path  # relative paths count from here
    credentials: Path | None  # $CREDENTIALS_DIRECTORY


class Located(BaseModel):
    """A part of the configuration. Empty values (`key:`) are absent; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    spellings: ClassVar[dict[str, str]] = {}  # another system's name of a key -> ours

    _file: str = PrivateAttr("")
    _at: Mark = PrivateAttr(NOWHERE)
    _values: dict[str, Mark] = PrivateAttr(default_factory=dict)
    _items: dict[str, list[Mark]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def remember(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if not isinstance(data, Map):
            return handler(data)
        given = {key: value for key, value in data.items() if value is not None}
        for theirs, ours in cls.spellings.items():
            if theirs in given and ours not in given:
                given[ours] = given.pop(theirs)
        self = handler(given)
        if info.context is not None:
            self._file = info.context.file
        self._at, self._values = data.at, data.values_at
        self._items = {k: v.items_at for k, v in data.items() if isinstance(v, Items)}
        return self

    def place(self, key: str | None = None, item: int | None = None) -> tuple[str, Mark]:
        """Return file and mark of this part, of a key's value, or of an item of a list."""
        if key is None:
            return self._file, self._at
        marks = self._items.get(key)
        if item is not None and marks is not None and item < len(marks):
            return self._file, marks[item]
        return self._file, self._values.get(key, self._at)
