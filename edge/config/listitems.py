"""What a list holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListItems:
    """The entries of one list, checked: values in their compared form."""

    kind: str  # email, ip
    digest: bytes  # of what was written
    emails: tuple[bytes, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()  # IP version, first, last
