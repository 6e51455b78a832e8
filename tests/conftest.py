"""Real programs that any test may ask for by name; each starts once, when first asked for."""

from tests.kit.postgres import postgres

__all__ = ["postgres"]
