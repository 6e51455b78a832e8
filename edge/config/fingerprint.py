"""What an application's fragment depends on, as one digest: its own text, and what the names in it
mean."""

import hashlib

from edge.config.fragment import Identity
from edge.config.model import Application, RuleSet
from edge.config.world import ConfigWorld


def rules_text(part: RuleSet) -> tuple[object, ...]:
    # a rule's place in the file is not part of what it says
    return tuple(
        tuple((rule.kind, rule.criterion) for rule in rules)
        for rules in (part.include, part.require, part.exclude)
    )


class Fingerprints:
    """Remembers, for one compile, what names came to."""

    def __init__(self, world: ConfigWorld) -> None:
        self.world = world
        self.meanings: dict[tuple[str, str], str] = {}

    def meaning(self, reference: tuple[str, str]) -> str:
        found = self.meanings.get(reference)
        if found is None:
            found = self.meanings[reference] = self.look_up(*reference)
        return found

    def look_up(self, kind: str, word: str) -> str:
        world = self.world
        if kind == "provider":
            return world.provider(word) or ""
        if kind == "service token":
            return world.service_token(word) or ""
        if kind == "group":
            name = world.group(word)
            group = world.groups[name or ""]
            inner = sorted({r for rule in group.rules for r in rule.criterion.references()})
            text = repr((name, group.id, rules_text(group), [self.meaning(r) for r in inner]))
            return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        items = world.items[world.list_named(kind.removesuffix(" list"), word) or ""]
        return items.digest.hex()

    def of(self, application: Application, identity: Identity) -> bytes:
        if application._content is None:
            references: set[tuple[str, str]] = set()
            for policy in application.policies:
                for rule in policy.rules:
                    references.update(rule.criterion.references())
            text = repr((
                application.model_dump(exclude={"policies"}),
                [
                    (p.name, p.id, p.decision, p.session_duration, rules_text(p))
                    for p in application.policies
                ],
            ))  # fmt: skip
            application._content = (
                hashlib.blake2b(text.encode(), digest_size=16).digest(), tuple(sorted(references)),
            )  # fmt: skip
        content, wanted = application._content
        digest = hashlib.blake2b(content, digest_size=16)
        digest.update(repr(identity).encode())
        digest.update(repr(self.world.methods(application)).encode())
        for reference in wanted:
            digest.update(self.meaning(reference).encode() + b"\0")
        return digest.digest()
