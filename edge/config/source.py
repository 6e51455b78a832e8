"""YAML text -> plain data that knows its places. Scalars stay text: the model gives them types.

Anchors, aliases, merge keys and tags are errors at their place: they make a file mean what nobody
reads in it."""

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import yaml

from edge.config.problem import Mark

NULLS = ("", "~", "null", "Null", "NULL")
MAX_DEPTH = 32  # levels of nesting; a configuration needs about eight

Complain = Callable[[Mark, str], None]


class RawMark(Protocol):
    """A mark as libyaml's loader makes it, from 0: turned into a Mark only for what is shown."""

    line: int
    column: int


def mark_at(raw: RawMark) -> Mark:
    return Mark(raw.line + 1, raw.column + 1)


class Map(dict[str, Any]):
    """A mapping: `at` is its place, `keys_at` where each key stands, `values_at` where each value
    stands."""

    __slots__ = ("at", "keys_at", "values_at")
    at: RawMark
    keys_at: dict[str, RawMark]
    values_at: dict[str, RawMark]


class Items(list[Any]):
    """A list: `at` is its place, `items_at` where each item stands."""

    __slots__ = ("at", "items_at")
    at: RawMark
    items_at: list[RawMark]


@contextmanager
def collector_off() -> Iterator[None]:
    """Run without the garbage collector: a load makes a million objects and no cycle worth looking
    for."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parse(text: bytes, complain: Complain) -> Map | None:
    """Return the file's mapping, or None when there is none to speak of; every problem goes to
    complain."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - (text.rfind(b"\n", 0, error.start) + 1) + 1
        complain(Mark(line, column), "this byte is not UTF-8")
        return None
    if (place := unprintable(decoded)) is not None:
        # libyaml's ReaderError has no line
        complain(place, "a control character; YAML does not allow it here")
        return None
    try:
        if not aliases_refused(decoded, complain):
            return None
        node = compose(decoded)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        words = str(error.problem or error.context)
        complain(place, f"this is not YAML: {words}{hint(words, decoded, place)}")
        return None
    if node is None:
        complain(Mark(1, 1), "the file is empty")
        return None
    data = Converter(complain).convert(node, 0)
    if not isinstance(data, Map):
        complain(mark_of(node), "a configuration file is a mapping of keys")
        return None
    return data


# What YAML's own words mean most of the time
HINTS = {
    "mapping values are not allowed": "the indentation? Or a value with “: ” in it: quote it",
    "did not find expected key": "the indentation? Keys of one mapping stand in one column",
    "did not find expected '-' indicator": "the indentation? Items of one list stand in one column",
    "could not find expected ':'": "a key without “: ” behind it, or the indentation",
    "did not find expected ',' or": "a comma or a closing bracket is missing before here",
    "did not find expected node content": "a value is missing, or quote it",
    "did not find expected alphabetic or numeric": "quote a value that begins with * or &",
    "found unexpected end of stream": "a quote isn't closed",
    "found unknown escape character": "a backslash: write the value in single quotes",
    "found character that cannot start": "quote a value that begins with @, ` or %",
}


def hint(words: str, text: str, place: Mark) -> str:
    """Return what a person can do about what libyaml says, in brackets, or nothing."""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: place.column]:
        return " (a tab: indent with spaces)"
    found = next((hint for begin, hint in HINTS.items() if words.startswith(begin)), None)
    return "" if found is None else f" ({found})"


class TextLoader(yaml.CSafeLoader):  # type: ignore[misc]
    """Scalars are text, whatever they look like: what PyYAML would take them for is neither asked
    nor worth its time."""

    TAGS = {  # noqa: RUF012
        yaml.ScalarNode: "tag:yaml.org,2002:str",
        yaml.SequenceNode: "tag:yaml.org,2002:seq",
        yaml.MappingNode: "tag:yaml.org,2002:map",
    }

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return self.TAGS[kind]

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


def compose(text: str) -> yaml.Node | None:
    loader = TextLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


# YAML 1.1 §5.1; libyaml raises on the rest, without a line
NOT_YAML = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def unprintable(text: str) -> Mark | None:
    found = NOT_YAML.search(text)
    if found is None:
        return None
    at = found.start()
    return Mark(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def aliases_refused(text: str, complain: Complain) -> bool:
    """Return False when the file has an anchor or alias: nine lines of them unfold into a billion
    nodes."""
    if "&" not in text:
        return True  # an alias without an anchor is an error of YAML itself
    clean = True
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            complain(mark, f"an alias (*{event.anchor}) is not allowed: write the value out")
            clean = False
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            complain(mark, f"an anchor (&{event.anchor}) is not allowed: write the value out")
            clean = False
    return clean


def mark_of(node: yaml.Node) -> Mark:
    return mark_at(node.start_mark)


PLAIN_TAGS = frozenset(TextLoader.TAGS.values())


class Converter:
    def __init__(self, complain: Complain) -> None:
        self.complain = complain

    def convert(self, node: yaml.Node, depth: int) -> Any:
        if node.tag not in PLAIN_TAGS:
            self.complain(mark_of(node), f"a tag ({node.tag}) is not allowed")
        kind = type(node)
        if kind is yaml.ScalarNode:
            value = node.value
            return None if not node.style and value in NULLS else value  # '' is the plain style
        if depth > MAX_DEPTH:
            self.complain(mark_of(node), f"nested deeper than {MAX_DEPTH} levels")
            return None
        if kind is yaml.SequenceNode:
            items = Items([self.convert(child, depth + 1) for child in node.value])
            items.at = node.start_mark
            items.items_at = [child.start_mark for child in node.value]
            return items
        return self.mapping(node, depth)

    def mapping(self, node: yaml.Node, depth: int) -> Map:
        data = Map()
        keys_at: dict[str, RawMark] = {}
        values_at: dict[str, RawMark] = {}
        data.at, data.keys_at, data.values_at = node.start_mark, keys_at, values_at
        for key_node, value_node in node.value:
            if type(key_node) is not yaml.ScalarNode:
                self.complain(mark_of(key_node), "a key is a word")
                continue
            if key_node.tag not in PLAIN_TAGS:
                self.complain(mark_of(key_node), f"a tag ({key_node.tag}) is not allowed")
            key = key_node.value
            if key == "<<" and not key_node.style:
                sentence = "a merge key (<<) is not allowed: write the keys out"
                self.complain(mark_of(key_node), sentence)
                continue
            if key in data:
                sentence = f"“{key}” is here twice; the first is in line {keys_at[key].line + 1}"
                self.complain(mark_of(key_node), sentence)
                continue
            data[key] = self.convert(value_node, depth + 1)
            keys_at[key], values_at[key] = key_node.start_mark, value_node.start_mark
        return data
