"""Pages: templates rendered with one inline style sheet, no script, and nothing from another
host."""

import base64
import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from _fastpath.errors import reasons
from edge.control.language import LANGUAGES, catalogue
from edge.control.sentences import SENTENCES, sentence

FOLDER = Path(__file__).parent / "templates"
REQUEST_ID_MARK = "@@request-id@@"  # what a worker replaces in a prepared page
EMAIL_MARK = "@@email@@"  # … with HTML escaped
STYLE = (FOLDER / "style.css").read_text()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def policy(form_action: str = "'self'") -> str:
    """Return the Content-Security-Policy of our pages; forms may lead only where `form_action`
    says."""
    return (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src data:; base-uri 'none'; "
        f"form-action {form_action}; frame-ancestors 'none'"
    )


# On every answer of ours; a worker sends them with prepared pages (P07, M19).
PAGE_HEADERS = (
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("vary", "Accept, Accept-Language, Cookie"),
    ("content-security-policy", policy()),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
)


@cache
def environment(language: str) -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        extensions=["jinja2.ext.i18n"],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translations = catalogue(language)
    found.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    # The style sheet is ours: escaping would change what its hash names.
    found.globals.update(language=language, style=Markup(STYLE), languages=LANGUAGES)  # noqa: S704
    return found


def render(template: str, language: str, **values: Any) -> str:
    """Return a template's text; a name that it uses and nobody gave is an error."""
    return environment(language).get_template(template).render(**values)


def problem_page(
    reason: str,
    status: int,
    language: str,
    request_id: str,
    *,
    email: str = "",
    again: str = "",
    switch: str = "",
    organization: str = "Sekisho",
) -> str:
    """Return the page that says what went wrong and what to do about it."""
    said = sentence(reason, status)
    tell = catalogue(language).gettext
    return render(
        "problem.html",
        language,
        title=tell(said.title),
        text=tell(said.text),
        reason=reason,
        status=status,
        request_id=request_id,
        email=email,
        again=again,
        switch=switch,
        organization=organization,
    )


@lru_cache(maxsize=2)
def prepared_pages(organization: str = "Sekisho") -> dict[str, dict[str, bytes]]:
    """Return {reason: {language: page}} for what workers say to people by themselves.

    A page holds REQUEST_ID_MARK, and EMAIL_MARK where somebody signed in is refused: replaced by
    nothing, the line that it stands in does not show. Made once, as every reload asks."""
    pages: dict[str, dict[str, bytes]] = {}
    for reason, (status, _fault, _retry) in reasons().items():
        if status < 400 or reason not in SENTENCES:
            continue
        denied = status == 403
        pages[reason] = {
            language: problem_page(
                reason,
                status,
                language,
                REQUEST_ID_MARK,
                email=EMAIL_MARK if denied else "",
                switch="/cdn-cgi/access/login?switch=1" if denied else "",
                organization=organization,
            ).encode()
            for language in LANGUAGES
        }
    return pages
