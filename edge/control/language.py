"""Languages: English in the source, others from gettext catalogues compiled when the process
starts."""

import io
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LANGUAGES = ("en", "ja")
FOLDER = Path(__file__).parent / "locales"


@cache
def catalogue(language: str) -> NullTranslations:
    """Return the translations of one language; English needs none."""
    if language == "en":
        return NullTranslations()
    with open(FOLDER / f"{language}.po", "rb") as file:
        parsed = read_po(file, locale=language, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, parsed)
    compiled.seek(0)
    return Translations(compiled)


def negotiate(accept: str) -> str:
    """Return the first of our languages that an Accept-Language value prefers, else English."""
    wanted: list[tuple[float, int, str]] = []
    for place, item in enumerate(accept.split(",")[:20]):
        tag, _, parameter = item.strip().partition(";")
        weight = 1.0
        if parameter.strip().startswith("q="):
            try:
                weight = float(parameter.strip()[2:])
            except ValueError:
                continue
        primary = tag.strip().lower().partition("-")[0]
        if primary in LANGUAGES and 0 < weight <= 1:
            wanted.append((-weight, place, primary))
    return min(wanted)[2] if wanted else "en"
