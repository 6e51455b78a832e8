"""What a criterion is: how its value is read, what it refers to, and what the evaluator asks for
it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.config.problem import did_you_mean
from edge.config.scalars import wrong

# numbers of _fastpath/snapshot.pxd, enum Op
EVERYONE, EMAIL, EMAIL_DOMAIN, IP, LOGIN_METHOD, IDP_GROUP = 1, 2, 3, 4, 5, 6
CLAIM, AUTH_METHOD, SERVICE_TOKEN, ANY_SERVICE_TOKEN, GROUP = 7, 8, 9, 10, 11


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the evaluator. At most one of value, addresses, table and group is set."""

    op: int
    value: bytes | None = None
    addresses: tuple[int, int, int] | None = None  # IP version, first and last address
    table: tuple[str, str] | None = None  # ("email" | "ip", name of the list)
    group: str | None = None
    claim: bytes = b""
    idp: bytes = b""


class World(Protocol):
    """What names mean: the configuration and the store's objects, seen from a rule."""

    def provider(self, word: str) -> str | None: ...
    def group(self, word: str) -> str | None: ...
    def list_named(self, kind: str, word: str) -> str | None: ...
    def service_token(self, word: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Criterion:
    """Base of every criterion: a frozen, hashable value (it is a key of caches)."""

    @classmethod
    def parse(cls, value: Any) -> "Criterion":
        """Read the short form or Cloudflare's; raises the error to show."""
        raise NotImplementedError

    def references(self) -> Iterable[tuple[str, str]]:
        """Yield (kind, name or id) of what must exist: provider, group, email list, ip list,
        service token."""
        return ()

    def ask(self, world: World) -> Ask:
        """Return what the evaluator asks; every reference exists (a missing service token never
        matches)."""
        raise NotImplementedError

    def text(self) -> str:
        """Return the value as a person reads it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table of criteria."""

    name: str  # Cloudflare's name, as its Terraform provider spells it
    parse: Any  # (value) -> Criterion
    person: bool  # says something about who is signed in
    schema: Mapping[str, Any] = field(hash=False)
    description: str = ""
    api: str = ""  # the same in Cloudflare's API, where that spells it in another way


def one_text(value: Any, key: str, what: str) -> str:
    """Return the text of the short form, or of {key: text}."""
    if isinstance(value, dict):
        given = fields(value, required=(key,))
        value = given[key]
    if not isinstance(value, str) or not value:
        raise wrong(f"this must be {what}, or {shape_of([key])}")
    return value


def fields(
    value: Any, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return a mapping's texts; raises on unknown, missing and empty ones."""
    if not isinstance(value, dict):
        raise wrong(f"this must be a mapping: write {shape_of(required)}")
    known = (*required, *optional)
    for key, given in value.items():
        if key not in known:
            place = getattr(value, "keys_at", {}).get(key)
            hint = did_you_mean(key, known) or f": write {shape_of(known)}"
            raise wrong(f"there is no key “{key}” here{hint}", at=place)
        if given is not None and not isinstance(given, str):
            raise wrong(f"“{key}” must be a text", at=getattr(value, "values_at", {}).get(key))
    for key in required:
        if not value.get(key):
            raise wrong(f"“{key}” is missing")
    return {key: given for key, given in value.items() if given}


def shape_of(keys: Iterable[str]) -> str:
    return "{" + ", ".join(f"{key}: …" for key in keys) + "}"


def nothing(value: Any) -> None:
    """Check the value of a criterion that has none: empty, {} or true."""
    if value not in (None, {}, "true"):
        raise wrong("this criterion has no value: write {}")


def text_schema(key: str, **rest: Any) -> dict[str, Any]:
    """Return the JSON schema of a short form beside Cloudflare's."""
    text = {"type": "string", **rest}
    shape = {
        "type": "object",
        "properties": {key: text},
        "required": [key],
        "additionalProperties": False,
    }
    return {"anyOf": [text, shape]}
