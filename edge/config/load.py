"""Files -> one checked model. Every problem of every file is found in one go; nothing here raises
for what it reads."""

import difflib
import glob
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from edge.config.check import Checker
from edge.config.files import MAX_CONFIG, read_regular
from edge.config.listitems import ListItems
from edge.config.model import LISTS, Config, Part
from edge.config.places import Reading
from edge.config.problem import Mark, Problem, did_you_mean, shown, suggestions_bounded
from edge.config.source import Items, Map, collector_off, mark_at, parse

PLACEHOLDER = (
    "invalid.invalid"  # stands for an auth_domain that was wrong, so that the rest is checked
)


LIST_EXAMPLES = {  # keys at the top that people write as one value
    "listen": '["0.0.0.0:443"]', "redirect": '["0.0.0.0:80"]', "plain": '["127.0.0.1:8080"]',
    "tunnel_listen": '["0.0.0.0:8443"]', "proxy_protocol": '["0.0.0.0:443"]',
    "trusted_proxies": '["10.0.0.0/24"]', "include": '["conf.d/*.yml"]',
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """One file's part, or what could be saved of it. `names` are those it defines, in whatever
    state."""

    digest: bytes
    part: Part | None
    problems: list[Problem]
    names: dict[str, set[str]]
    include: list[tuple[str, Mark]]
    given: frozenset[str] = frozenset()  # keys at the top that hold something, right or wrong


@dataclass
class Loaded:
    """What came out of a configuration. `config` may be used only when ok."""

    path: Path
    config: Config | None
    errors: list[Problem]
    check_warnings: list[Problem]
    files: dict[str, tuple[int, int, int] | None]  # path -> (ctime ns, inode, size)
    store_warnings: list[Problem] = field(default_factory=list)  # what compile found in the store
    list_items: dict[str, ListItems] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.config is not None and not self.errors

    @property
    def warnings(self) -> list[Problem]:
        return [*self.check_warnings, *self.store_warnings]


class Cache:
    """Parsed files by digest, kept between loads."""

    def __init__(self) -> None:
        self.parsed: dict[tuple[str, bool], ParsedFile] = {}
        self.lists: dict[bytes, tuple[ListItems, list[tuple[int, str]]]] = {}


def load(
    path: str | Path,
    *,
    credentials: str | None = None,
    previous: Mapping[str, Mapping[str, Any]] | None = None,
    cache: Cache | None = None,
) -> Loaded:
    """Read, parse and check a configuration and the files that it includes.

    credentials: folder of systemd's credentials (default $CREDENTIALS_DIRECTORY, else `credentials`
    beside the file, so that a person's `edge check` sees what the unit will be handed). previous:
    the running snapshot's settings["applications"], for the warning about renames."""
    path = Path(os.path.abspath(path))
    cache = cache or Cache()
    named = credentials or os.environ.get("CREDENTIALS_DIRECTORY")
    beside = path.parent / "credentials"
    folder = Path(named) if named else beside if beside.is_dir() else None
    with collector_off(), suggestions_bounded():
        return Reader(path, folder, cache).run(previous or {})


class Reader:
    def __init__(self, path: Path, credentials: Path | None, cache: Cache) -> None:
        self.path = path
        self.credentials = credentials
        self.cache = cache
        self.problems: list[Problem] = []
        self.files: dict[str, tuple[int, int, int] | None] = {}
        self.used: set[tuple[str, bool]] = set()

    def run(self, previous: Mapping[str, Mapping[str, Any]]) -> Loaded:
        main = self.file(self.path, True, None)
        parts = [main] if main is not None else []
        for included, place in self.included(main):
            parsed = self.file(included, False, place)
            if parsed is not None:
                parts.append(parsed)
        for stale in self.cache.parsed.keys() - self.used:
            del self.cache.parsed[stale]
        for parsed in parts:
            self.problems.extend(parsed.problems)
        config = self.merged(parts)
        items: dict[str, ListItems] = {}
        if config is not None:
            names: dict[str, set[str]] = {section: set() for section in LISTS}
            for parsed in parts:
                for section, known in parsed.names.items():
                    names[section] |= known
            checker = Checker(config, names, parts[0].given, self.cache.lists, self.stamp)
            items = checker.run(previous, whole=not self.problems)
            self.problems.extend(checker.problems)
        errors = sorted(p for p in set(self.problems) if p.level == "error")
        warnings = sorted(p for p in set(self.problems) if p.level == "warning")
        return Loaded(self.path, config, errors, warnings, self.files, list_items=items)

    def stamp(self, path: Path) -> None:
        """Remember what a file looked like: the watcher compares."""
        self.files[str(path)] = stat_of(path)

    def stamp_folders(self, pattern: str) -> None:
        """Remember the folders in which a pattern looks: a new file, or folder, changes its own."""
        while pattern:
            pattern = os.path.dirname(pattern)
            magic = glob.has_magic(pattern)
            for name in glob.glob(pattern, root_dir=self.path.parent) if magic else [pattern]:
                self.stamp(self.path.parent / name)
            if not magic:
                break

    def included(self, main: ParsedFile | None) -> list[tuple[Path, tuple[str, Mark]]]:
        found: dict[Path, tuple[str, Mark]] = {}
        for pattern, mark in main.include if main is not None else ():
            place = (shown(self.path), mark)
            names = sorted(glob.glob(pattern, root_dir=self.path.parent))
            self.stamp_folders(pattern)
            if not names and not glob.has_magic(pattern):
                self.problems.append(Problem(place[0], *mark, f"there is no file “{pattern}”"))
            for name in names:
                file = self.path.parent / name
                if file != self.path:
                    found.setdefault(file, place)
        return list(found.items())

    def file(self, path: Path, main: bool, place: tuple[str, Mark] | None) -> ParsedFile | None:
        self.stamp(path)
        try:
            text = read_regular(path, MAX_CONFIG)
        except OSError as error:
            file, mark = place or (shown(path), Mark(1, 1))
            sentence = f"{shown(path)} can't be read: {error.strerror}"
            self.problems.append(Problem(file, *mark, sentence))
            return None
        digest = hashlib.sha256(text).digest()
        self.used.add((str(path), main))
        kept = self.cache.parsed.get((str(path), main))
        if kept is None or kept.digest != digest:
            reading = Reading(shown(path), path.parent, self.credentials)
            kept = parse_file(text, digest, reading, main)
            self.cache.parsed[str(path), main] = kept
        return kept

    def merged(self, parts: list[ParsedFile]) -> Config | None:
        if not parts or not isinstance(parts[0].part, Config):
            return None
        lists: dict[str, list[Any]] = {section: [] for section in LISTS}
        for parsed in parts:
            if parsed.part is not None:
                for section in LISTS:
                    lists[section].extend(getattr(parsed.part, section))
        return parts[0].part.model_copy(update=lists)


def stat_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # not the time of its content: a key file's chmod counts too
    return found.st_ctime_ns, found.st_ino, found.st_size


def parse_file(text: bytes, digest: bytes, reading: Reading, main: bool) -> ParsedFile:
    problems: list[Problem] = []
    data = parse(
        text, lambda mark, sentence: problems.append(Problem(reading.file, *mark, sentence))
    )
    if data is None:
        return ParsedFile(digest, None, problems, {}, [])
    names = {section: names_of(data.get(section)) for section in LISTS}
    include = data.get("include") if main else None
    marks: list[tuple[str, Mark]] = []
    if isinstance(include, Items):
        places = zip(include, include.items_at, strict=True)
        marks = [(p, mark_at(m)) for p, m in places if isinstance(p, str)]
    elif isinstance(include, str):
        marks = [(include, mark_at(data.values_at["include"]))]
    given = frozenset(key for key, value in data.items() if value not in (None, [], {}))
    part = validated(Config if main else Part, data, reading, problems)
    return ParsedFile(digest, part, problems, names, marks, given)


def names_of(items: Any) -> set[str]:
    if not isinstance(items, list):
        return set()
    return {
        one[key]
        for one in items
        if isinstance(one, dict)
        for key in ("name", "id")
        if isinstance(one.get(key), str)
    }


def validated(
    model: type[Part], data: Map, reading: Reading, problems: list[Problem]
) -> Part | None:
    """Return the part; what is wrong is reported and cut out, so that everything else is still
    checked."""
    # what was cut out, every holder of it, and those that directly lost something
    cut: set[tuple[int | str, ...]] = set()
    holders: set[tuple[int | str, ...]] = set()
    robbed: set[tuple[int | str, ...]] = set()
    for _ in range(8):
        try:
            return model.model_validate(data, context=reading)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
        for one in wrong:
            loc = one["loc"]
            if loc not in cut and loc not in holders and loc[:-1] not in robbed:
                problems.append(translated(one, model, data, reading.file))
        cut |= {one["loc"] for one in wrong}
        robbed |= {one["loc"][:-1] for one in wrong}
        holders |= {one["loc"][:n] for one in wrong for n in range(len(one["loc"]))}
        doomed = {
            one["loc"][:-1] if one["type"] == "missing" else one["loc"]
            for one in wrong
            if not replaced(data, one, model)
        }
        if doomed and not remove(data, doomed):
            if model is not Config or (("auth_domain",) not in doomed and () not in doomed):
                return None
            data["auth_domain"] = PLACEHOLDER
        if model is Config and "auth_domain" not in data:
            data["auth_domain"] = PLACEHOLDER
    return None


def replaced(data: Map, error: Mapping[str, Any], model: type[BaseModel]) -> bool:
    """Put something harmless where cutting out would take its surroundings along: a choice, a rule.

    What is put there is only checked, never used: there is an error now."""
    loc = error["loc"]
    holder: Any = data
    for step in loc[:-1]:
        holder = child(holder, step)
    if error["type"] == "literal_error" and isinstance(holder, Map):
        choices = literals(model_at(model, loc[:-1]), str(loc[-1]))
        if choices and holder.get(loc[-1]) not in choices:
            near = difflib.get_close_matches(str(holder.get(loc[-1])), choices, n=1)
            holder[loc[-1]] = near[0] if near else choices[-1]
            return True
    if isinstance(holder, Items) and len(loc) > 1 and loc[-2] in ("include", "require", "exclude"):
        holder[loc[-1]] = "everyone"
        return True
    return False


def remove(data: Map, doomed: set[tuple[int | str, ...]]) -> bool:
    """Cut these locations out, later items of a list first. False when nothing was there to cut."""
    removed = False
    for loc in sorted(
        doomed, key=lambda loc: tuple((isinstance(x, int), x) for x in loc), reverse=True
    ):
        holder: Any = data
        for step in loc[:-1]:
            holder = child(holder, step)
        if not loc or holder is None:
            continue
        key = spelled(holder, loc[-1])
        if isinstance(holder, Items) and isinstance(key, int) and key < len(holder):
            del holder[key], holder.items_at[key]
            removed = True
        elif isinstance(holder, dict) and key in holder:
            del holder[key]
            removed = True
    return removed


def child(holder: Any, step: int | str) -> Any:
    try:
        return holder[spelled(holder, step)]
    except (KeyError, IndexError, TypeError):
        return None


def spelled(holder: Any, step: int | str) -> int | str:
    """Return the key as the file spells it: Cloudflare's name where ours is not there."""
    if isinstance(holder, dict) and isinstance(step, str) and step not in holder:
        folded = step.replace("_", "").lower()
        for key in holder:
            if isinstance(key, str) and key.replace("_", "").lower() == folded:
                return key
    return step


def translated(error: Mapping[str, Any], model: type[BaseModel], data: Map, file: str) -> Problem:
    """Return pydantic's error as a sentence at its place."""
    loc: tuple[int | str, ...] = error["loc"]
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "missing":
        return Problem(file, *place_of(data, loc[:-1]), f"“{loc[-1]}” is missing")
    if kind == "extra_forbidden":
        part = model_at(model, loc[:-1])
        known = keys_of(part)
        ours = getattr(part, "spellings", {}).get(loc[-1])
        holder = data
        for step in loc[:-1]:
            holder = child(holder, step)
        mark = (
            mark_at(holder.keys_at[str(loc[-1])])
            if isinstance(holder, Map)
            else place_of(data, loc)
        )
        if ours is not None:
            return Problem(file, *mark, f"“{loc[-1]}” is here twice, as “{ours}” too")
        return Problem(
            file, *mark, f"there is no key “{loc[-1]}” here{did_you_mean(str(loc[-1]), known)}"
        )
    if kind == "config":
        raw = context.get("at")
        where = (*loc, context["key"]) if "key" in context else loc
        mark = place_of(data, where) if raw is None else mark_at(raw)
        return Problem(file, *mark, context["sentence"])
    mark = place_of(data, loc)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(file, *mark, "this must be a mapping of keys")
    if kind == "list_type":
        example = LIST_EXAMPLES.get(str(loc[0])) if len(loc) == 1 else None
        like = "" if example is None else f", like {example}"
        return Problem(file, *mark, f"this must be a list{like}")
    if kind == "too_short":
        return Problem(file, *mark, "there must be at least one rule here")
    if kind == "literal_error":
        value: Any = data
        for step in loc:
            value = child(value, step)
        choices = literals(model_at(model, loc[:-1]), str(loc[-1]))
        return Problem(
            file, *mark,
            f"“{value}” is not one of {', '.join(choices)}{did_you_mean(str(value), choices)}",
        )  # fmt: skip
    return Problem(file, *mark, str(error["msg"]))


def place_of(data: Map, loc: tuple[int | str, ...]) -> Mark:
    """Return the nearest known place of a location."""
    mark, holder = data.at, data
    for step in loc:
        key = spelled(holder, step)
        if isinstance(holder, Map) and key in holder.values_at:
            mark = holder.values_at[str(key)]
        elif isinstance(holder, Items) and isinstance(key, int) and key < len(holder.items_at):
            mark = holder.items_at[key]
        else:
            break
        holder = holder[key]
    return mark_at(mark)


def model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    for step in loc:
        if isinstance(step, int):
            continue
        found = (
            models_in(model.model_fields[step].annotation) if step in model.model_fields else None
        )
        if found is None:
            break
        model = found
    return model


def models_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for one in get_args(annotation):
        found = models_in(one)
        if found is not None:
            return found
    return None


def keys_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def literals(model: type[BaseModel], key: str) -> list[str]:
    annotation = model.model_fields[key].annotation
    found = annotation if str(annotation).startswith("typing.Literal") else Literal[()]
    return [str(one) for one in get_args(found)]
