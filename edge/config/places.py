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
from edge.config.source import Items, Map, mark_at

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

    # (file, the mapping's mark, its values' marks, its lists' items' marks)
    _marks: Any = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def remember(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if type(data) is not Map:
            return handler(data)
        given: dict[str, Any] = data
        if None in data.values():
            given = {key: value for key, value in data.items() if value is not None}
        if cls.spellings:
            given = dict(given)
            for theirs, ours in cls.spellings.items():
                if theirs in given and ours not in given:
                    given[ours] = given.pop(theirs)
        self = handler(given)
        file = info.context.file if info.context is not None else ""
        items = {k: v.items_at for k, v in data.items() if type(v) is Items}
        # what the attribute's setter would do, without looking for it in every class:
        # this runs for every policy
        private: dict[str, Any] = self.__pydantic_private__ or {}
        private["_marks"] = (file, data.at, data.values_at, items)
        return self

    def place(self, key: str | None = None, item: int | None = None) -> tuple[str, Mark]:
        """Return file and mark of this part, of a key's value, or of an item of a list."""
        if self._marks is None:
            return "", NOWHERE
        file, at, values, items = self._marks
        if key is None:
            return file, mark_at(at)
        marks = items.get(key)
        if item is not None and marks is not None and item < len(marks):
            return file, mark_at(marks[item])
        theirs = [name for name, ours in self.spellings.items() if ours == key]
        return file, mark_at(next((values[k] for k in (key, *theirs) if k in values), at))
