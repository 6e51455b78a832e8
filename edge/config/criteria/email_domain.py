"""email_domain: what follows the @, compared whole: `example.com` does not stand for
`sub.example.com`."""

import re
from dataclasses import dataclass
from typing import Any

from _fastpath.facts import fold
from edge.config.criteria.criterion import (
    EMAIL_DOMAIN,
    Ask,
    Criterion,
    Kind,
    World,
    one_text,
    text_schema,
)
from edge.config.scalars import wrong

SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class EmailDomain(Criterion):
    domain: bytes

    @classmethod
    def parse(cls, value: Any) -> "EmailDomain":
        text = one_text(value, "domain", "a domain").removeprefix("@")
        if not text or "@" in text or "*" in text or SPACE.search(text):
            raise wrong(f"“{text}” is not a domain like example.com")
        return cls(fold(text))

    def ask(self, world: World) -> Ask:
        return Ask(EMAIL_DOMAIN, self.domain)

    def text(self) -> str:
        return self.domain.decode()


KIND = Kind(
    "email_domain", EmailDomain.parse, True, text_schema("domain"),
    "Every e-mail address in one domain, subdomains not included.",
)  # fmt: skip
