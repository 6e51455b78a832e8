"""YAML text -> plain data that knows its places. Scalars stay text: the model gives them types.

Anchors, aliases, merge keys and tags are errors at their place: they make a file mean what nobody reads in it."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from edge.config.problem import Mark, did_you_mean

NULLS = ("", "~", "null", "Null", "NULL")
MAX_DEPTH = 32  # levels of nesting; a configuration needs about eight

Complain = Callable[[Mark, str], None]


class Map(dict[str, Any]):
    """A mapping: `at` is its place, `keys_at` where each key stands, `values_at` where each value stands."""

    __slots__ = ("at", "keys_at", "values_at")
    at: Mark
    keys_at: dict[str, Mark]
    values_at: dict[str, Mark]


class Items(list[Any]):
    """A list: `at` is its place, `items_at` where each item stands."""

    __slots__ = ("at", "items_at")
    at: Mark
    items_at: list[Mark]


@contextmanager
def collector_off() -> Iterator[None]:
    """Run without the garbage collector: a load makes a million objects and no cycle worth looking for."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parse(text: bytes, complain: Complain) -> Map | None:
    """Return the file's mapping, or None when there is none to speak of; every problem goes to complain."""
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
        complain(place, f"this is not YAML: {error.problem or error.context}")
        return None
    if node is None:
        complain(Mark(1, 1), "the file is empty")
        return None
    data = Converter(complain).convert(node, 0)
    if not isinstance(data, Map):
        complain(mark_of(node), "a configuration file is a mapping of keys")
        return None
    return data


def compose(text: str) -> yaml.Node | None:
    loader = yaml.CSafeLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def unprintable(text: str) -> Mark | None:
    if text.isprintable():
        return None
    for number, line in enumerate(text.split("\n"), 1):
        if line.isprintable():
            continue
        for column, letter in enumerate(line, 1):
            if (
                not letter.isprintable()
                and (ord(letter) < 32 or ord(letter) == 127)
                and letter not in "\t\r"
            ):
                return Mark(number, column)
    return None


def aliases_refused(text: str, complain: Complain) -> bool:
    """Return False when the file has an anchor or alias: nine lines of them unfold into a billion nodes."""
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
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


PLAIN_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class Converter:
    def __init__(self, complain: Complain) -> None:
        self.complain = complain

    def convert(self, node: yaml.Node, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self.complain(mark_of(node), f"nested deeper than {MAX_DEPTH} levels")
            return None
        if isinstance(node, yaml.ScalarNode):
            if node.style is None and node.value in NULLS:
                return None
            if node.tag.startswith("!") or (node.style and node.tag != "tag:yaml.org,2002:str"):
                self.complain(mark_of(node), f"a tag ({node.tag}) is not allowed")
            return node.value
        if node.tag not in PLAIN_TAGS:
            self.complain(mark_of(node), f"a tag ({node.tag}) is not allowed")
        if isinstance(node, yaml.SequenceNode):
            items = Items(self.convert(child, depth + 1) for child in node.value)
            items.at = mark_of(node)
            items.items_at = [mark_of(child) for child in node.value]
            return items
        return self.mapping(node, depth)

    def mapping(self, node: yaml.Node, depth: int) -> Map:
        data = Map()
        data.at, data.keys_at, data.values_at = mark_of(node), {}, {}
        for key_node, value_node in node.value:
            place = mark_of(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain(place, "a key is a word")
                continue
            key = key_node.value
            if key == "<<" and key_node.style is None:
                self.complain(place, "a merge key (<<) is not allowed: write the keys out")
                continue
            if key in data:
                first = data.keys_at[key]
                self.complain(place, f"“{key}” is here twice; the first is in line {first.line}")
                continue
            data[key] = self.convert(value_node, depth + 1)
            data.keys_at[key], data.values_at[key] = place, mark_of(value_node)
        return data


def unknown_key(key: str, known: list[str]) -> str:
    return f"there is no key “{key}” here{did_you_mean(key, known)}"
