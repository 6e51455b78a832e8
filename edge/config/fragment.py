"""One application -> one fragment: bytes that stand for themselves, and the tables they need by
digest."""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from _fastpath import limits
from _fastpath.route import hash_text
from edge.config.criteria import Ask
from edge.config.criteria.criterion import ANY_SERVICE_TOKEN, EVERYONE, GROUP, IP
from edge.config.model import Application, RuleSet
from edge.config.rule import Rule
from edge.config.tables import (
    FULL_SIEVE,
    Built,
    Range,
    build_ranges,
    build_set,
    ranges_digest,
    ranges_sieve,
    set_digest,
    set_sieve,
)
from edge.config.world import ConfigWorld

INSTR = struct.Struct("<BBHiIIIIQIIQIIQ")
INSTR_TABLE = struct.Struct("<BBHiIIQQIIQIIQ")  # the same, with a sieve where the value would be
WORD = (1 << 64) - 1
BLOCK = struct.Struct("<BBHiIIIIIIIIIIIIiI")
HEAD = struct.Struct("<IiII18I")
TEXT = struct.Struct("<II")
NO_INDEX = 0xFFFFFFFF
Asked = tuple[int, int]  # a table's number here, and the sieve over its values
NO_TABLE: Asked = (NO_INDEX, 0)
SIEVED = 1000  # entries; a longer list fills its sieve anyway
INSTR_ONE = 1

PASS_COOKIE, ENCODED_SLASH, SAMESITE_NONE, SAMESITE_STRICT, SERVICE_401 = 1, 2, 4, 8, 16
OPTIONS_BYPASS, HAS_ALLOW, HAS_BYPASS, HAS_SERVICE, HTTP_ONLY = 32, 64, 128, 256, 512
DECISIONS = {"allow": 1, "deny": 2, "bypass": 3, "non_identity": 4}


class TooLarge(ValueError):
    """An application beyond what the evaluator takes; str() is the sentence."""


@dataclass(frozen=True, slots=True)
class Fragment:
    data: bytes
    tables: tuple[bytes, ...]  # digests, in the order of the fragment's numbers


@dataclass(frozen=True, slots=True)
class Identity:
    """What an application is called everywhere else."""

    id: str
    aud: str
    cookie: str
    session_duration: int


TableSource = Callable[[bytes, Callable[[], Built]], None]


class Writer:
    """Collects one application's instructions, blocks, strings and tables."""

    def __init__(self, world: ConfigWorld, key: bytes, need: TableSource) -> None:
        self.world = world
        self.key = key
        self.need = need
        self.instrs: list[list[int]] = []
        self.sieves: list[int | None] = []  # of those with a table
        self.texts: list[int] = []  # index into strings, one for each instruction
        self.strings: list[bytes] = [b""]
        self.string_numbers: dict[bytes, int] = {b"": 0}
        self.hashes: dict[bytes, int] = {}
        self.tables: dict[bytes, int] = {}
        self.groups: dict[str, int] = {}
        self.group_blocks: list[list[int]] = []

    # -- strings and tables

    def string(self, text: bytes) -> int:
        number = self.string_numbers.get(text)
        if number is None:
            number = self.string_numbers[text] = len(self.strings)
            self.strings.append(text)
        return number

    def hash(self, text: bytes) -> int:
        found = self.hashes.get(text)
        if found is None:
            found = self.hashes[text] = hash_text(self.key, text)
        return found

    def table(self, digest: bytes, build: Callable[[], Built]) -> int:
        number = self.tables.get(digest)
        if number is None:
            number = self.tables[digest] = len(self.tables)
            self.need(digest, build)
        return number

    # -- instructions: strings are numbers until the end

    def instr(
        self,
        ask: Ask,
        rule: int,
        *,
        one: bytes | None = None,
        table: Asked = NO_TABLE,
        text: str = "",
    ) -> None:
        group = self.groups[ask.group] if ask.group is not None else NO_INDEX
        claim, idp = ask.claim, ask.idp
        self.instrs.append([
            ask.op, INSTR_ONE if one is not None else 0, 0, rule, table[0], group,
            self.string(one or b""), self.hash(one) if one is not None else 0,
            self.string(claim), self.hash(claim) if claim else 0,
            self.string(idp), self.hash(idp) if idp else 0,
        ])  # fmt: skip
        self.sieves.append(None if table is NO_TABLE else table[1])
        self.texts.append(self.string(text.encode()))

    def single(self, ask: Ask, rule: int, text: str = "") -> None:
        """One rule, one instruction."""
        if ask.table is not None:
            self.instr(ask, rule, table=self.list_table(ask.table), text=text)
        elif ask.addresses is not None:
            self.instr(ask, rule, one=address_pair(ask.addresses), text=text)
        elif ask.op in (EVERYONE, ANY_SERVICE_TOKEN, GROUP):
            self.instr(ask, rule, text=text)
        else:
            self.instr(ask, rule, one=ask.value or b"", text=text)

    def merged(self, asks: Sequence[Ask]) -> None:
        """Rules of which one is enough: those that differ only in their value become one look-up,
        numbered by rule."""
        families: dict[tuple[int, bytes, bytes], list[tuple[int, Ask]]] = {}
        alone: list[tuple[int, Ask]] = []
        for number, ask in enumerate(asks):
            if ask.value is None and ask.addresses is None:
                alone.append((number, ask))
            else:
                families.setdefault((ask.op, ask.claim, ask.idp), []).append((number, ask))
        todo = [(number, [(number, ask)]) for number, ask in alone]
        todo += [(members[0][0], members) for members in families.values()]
        for first, members in sorted(todo, key=lambda one: one[0]):
            ask = members[0][1]
            if len(members) == 1:
                self.single(ask, first)
            else:
                self.instr(ask, 0, table=self.family_table(members))
                # rule numbers are in the table; the instruction's own is the
                # lowest of them, and the table's count from it
                self.instrs[-1][3] = first

    def family_table(self, members: list[tuple[int, Ask]]) -> Asked:
        first = members[0][0]
        if members[0][1].op == IP:
            ranges: list[Range] = [
                (*ask.addresses, number - first)
                for number, ask in members
                if ask.addresses is not None
            ]
            number = self.table(ranges_digest(ranges), lambda: build_ranges(ranges))
            return number, ranges_sieve(ranges)
        values = [ask.value or b"" for _, ask in members]
        rules = [number - first for number, _ in members]
        number = self.table(set_digest(values, rules), lambda: build_set(self.key, values, rules))
        return number, set_sieve(self.hash(value) for value in values)

    def list_table(self, named: tuple[str, str]) -> Asked:
        items = self.world.items[named[1]]
        short = len(items.emails) + len(items.ranges) <= SIEVED
        if items.kind == "ip":
            ranges: list[Range] = [(*one, 0) for one in items.ranges]
            number = self.table(b"l" + items.digest, lambda: build_ranges(ranges))
            return number, ranges_sieve(ranges) if short else FULL_SIEVE
        number = self.table(
            b"l" + items.digest,
            lambda: build_set(self.key, items.emails, [0] * len(items.emails)),
        )
        return number, set_sieve(map(self.hash, items.emails)) if short else FULL_SIEVE

    # -- blocks

    def block(self, part: RuleSet, decision: int, number: int, session: int) -> list[int]:
        include, require, exclude = part.include, part.require, part.exclude
        for rule in part.rules:
            self.group_of(rule)
        asks = [
            [rule.criterion.ask(self.world) for rule in rules]
            for rules in (include, require, exclude)
        ]
        first = len(self.instrs)
        self.merged(asks[0])
        n_include = len(self.instrs) - first
        for index, ask in enumerate(asks[1]):
            self.single(ask, index)
        before = len(self.instrs)
        self.merged(asks[2])
        n_exclude = len(self.instrs) - before
        plain = len(self.instrs)
        for section, section_asks in zip((include, require, exclude), asks, strict=True):
            for index, (rule, ask) in enumerate(zip(section, section_asks, strict=True)):
                self.single(ask, index, rule.criterion.text())
        ident = part.id or ""
        return [
            decision, 0, 0, number,
            self.string(part.name.encode()), self.string(ident.encode()),
            first, n_include, len(require), n_exclude,
            plain, len(include), len(require), len(exclude), session,
        ]  # fmt: skip

    def group_of(self, rule: Rule) -> None:
        """Put the group that a rule names, and what is inside it, before the block that asks for
        it."""
        if rule.kind != "group":
            return
        name = rule.criterion.ask(self.world).group or ""
        if name in self.groups:
            return
        group = self.world.groups[name]
        for inner in group.rules:
            self.group_of(inner)
        inside = [
            self.groups[inner.criterion.ask(self.world).group or ""]
            for inner in group.rules
            if inner.kind == "group"
        ]
        block = self.block(group, 0, 0, -1)
        block[1] = 1 + max((self.group_blocks[number][1] for number in inside), default=0)
        if block[1] > limits.MAX_GROUP_DEPTH:
            raise TooLarge(f"groups nest deeper than {limits.MAX_GROUP_DEPTH} levels")
        self.groups[name] = len(self.group_blocks)
        self.group_blocks.append(block)
        if len(self.group_blocks) > limits.MAX_RULE_GROUPS:
            raise TooLarge(f"an application uses at most {limits.MAX_RULE_GROUPS} groups")

    # -- bytes

    def finish(self, application: Application, identity: Identity) -> Fragment:
        order = sorted(
            enumerate(application.policies), key=lambda p: p[1].decision in ("allow", "deny")
        )
        blocks = [
            self.block(
                policy, DECISIONS[policy.decision], number,
                -1 if policy.session_duration is None else policy.session_duration,
            )
            for number, policy in order
        ]  # fmt: skip
        if len(self.instrs) > limits.MAX_INSTRUCTIONS:
            raise TooLarge("an application has too many rules")
        named = [
            self.string(text.encode())
            for text in (identity.id, application.name, identity.aud, identity.cookie)
        ]
        origins = [self.string(text.encode()) for text in application.allowed_origins]
        methods = [ident.encode() for ident in self.world.methods(application)]
        numbers = [0] * len(methods)
        allowed = self.table(
            set_digest(methods, numbers), lambda: build_set(self.key, methods, numbers)
        )
        arrays = [
            (TEXT.size, len(origins)), (INSTR.size, len(self.instrs)), (BLOCK.size, len(blocks)),
            (BLOCK.size, len(self.group_blocks)), (TEXT.size, len(self.texts)),
        ]  # fmt: skip
        at = aligned(HEAD.size)
        starts = []
        for size, count in arrays:
            starts.append((at, count))
            at = aligned(at + size * count)
        places = []
        for text in self.strings:
            places.append((at, len(text)))
            at += len(text)
        head = HEAD.pack(
            flags_of(application), identity.session_duration, len(self.tables), allowed,
            *(number for one in named for number in places[one]),
            *(number for start in starts for number in start),
        )  # fmt: skip
        pieces = [
            head,
            *(TEXT.pack(*places[one]) for one in origins),
            *(
                self.instr_bytes(one, sieve, places)
                for one, sieve in zip(self.instrs, self.sieves, strict=True)
            ),
            *(self.block_bytes(one, places) for one in blocks),
            *(self.block_bytes(one, places) for one in self.group_blocks),
            *(TEXT.pack(*places[one]) for one in self.texts),
            *self.strings,
        ]
        return Fragment(padded(b"".join(pieces)), tuple(self.tables))

    @staticmethod
    def instr_bytes(one: list[int], sieve: int | None, places: list[tuple[int, int]]) -> bytes:
        op, flags, reserved, rule, table, group, text, h1, claim, h2, idp, h3 = one
        tail = (*places[claim], h2, *places[idp], h3)
        if sieve is not None:
            words = (sieve & WORD, sieve >> 64)
            return INSTR_TABLE.pack(op, flags, reserved, rule, table, group, *words, *tail)
        return INSTR.pack(op, flags, reserved, rule, table, group, *places[text], h1, *tail)

    @staticmethod
    def block_bytes(one: list[int], places: list[tuple[int, int]]) -> bytes:
        return BLOCK.pack(*one[:4], *places[one[4]], *places[one[5]], *one[6:], 0)


def address_pair(addresses: tuple[int, int, int]) -> bytes:
    """Return first and last address, 16 bytes each, IPv4 in its mapped form."""
    version, first, last = addresses
    base = 0xFFFF << 32 if version == 4 else 0
    return (base + first).to_bytes(16) + (base + last).to_bytes(16)


def aligned(offset: int) -> int:
    return -(-offset // 8) * 8


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 8)


def flags_of(application: Application) -> int:
    decisions = {policy.decision for policy in application.policies}
    chosen: Iterable[tuple[bool, int]] = (
        (application.pass_cookie, PASS_COOKIE),
        (application.encoded_slash, ENCODED_SLASH),
        (application.same_site == "none", SAMESITE_NONE),
        (application.same_site == "strict", SAMESITE_STRICT),
        (application.service_auth_401_redirect, SERVICE_401),
        (application.options_preflight_bypass, OPTIONS_BYPASS),
        ("allow" in decisions, HAS_ALLOW),
        ("bypass" in decisions, HAS_BYPASS),
        ("non_identity" in decisions, HAS_SERVICE),
        (True, HTTP_ONLY),
    )
    return sum(flag for on, flag in chosen if on)


def compile_fragment(
    application: Application, identity: Identity, world: ConfigWorld, key: bytes, need: TableSource
) -> Fragment:
    """Return the fragment; need(digest, build) is called once for every table that it uses. Raises
    TooLarge."""
    return Writer(world, key, need).finish(application, identity)
