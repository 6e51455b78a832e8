"""The entries of a list, in the form that is compared."""

from collections.abc import Sequence

from pydantic_core import PydanticCustomError

from edge.config.criteria.email import address
from edge.config.listitems import ListItems
from edge.config.scalars import network


def parse(
    kind: str, digest: bytes, items: Sequence[str], lines: Sequence[str]
) -> tuple[ListItems, list[tuple[int, str]]]:
    """Return the entries, and (number, sentence) of those that are wrong; lines are numbered after
    items."""
    emails: list[bytes] = []
    ranges: list[tuple[int, int, int]] = []
    wrong: list[tuple[int, str]] = []
    for number, text in enumerate((*items, *lines)):
        text = text.strip()
        if number >= len(items) and (not text or text.startswith("#")):
            continue
        try:
            if kind == "email":
                emails.append(address(text))
            else:
                found = network(text)
                ranges.append((found.version, int(found[0]), int(found[-1])))
        except PydanticCustomError as error:
            wrong.append((number, error.message()))
    return ListItems(kind, digest, tuple(emails), tuple(ranges)), wrong
