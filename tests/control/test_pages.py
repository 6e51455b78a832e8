"""Pages: every reason has its sentence in both languages, and what workers say by themselves is
ready."""

import re
from html.parser import HTMLParser

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from _fastpath.errors import reasons
from edge.control import language, pages
from edge.control.sentences import SENTENCES, sentence


def test_every_reason_that_a_person_can_meet_has_a_sentence() -> None:
    """Reasons whose fault is the client's program share their status's sentence; all others have
    one."""
    for reason, (status, fault, _retry) in reasons().items():
        if status >= 400 and fault != "client" and reason != "none":
            assert reason in SENTENCES, reason
        if status >= 400:
            assert sentence(reason, status).title


def test_translations_are_complete() -> None:
    """Every text of code and templates is in the Japanese catalogue, and nothing else is."""
    methods = [("**.py", "python"), ("templates/**.html", "jinja2"), ("templates/**.txt", "jinja2")]
    options = {"templates/**": {"trimmed": "false", "newstyle_gettext": "true"}}
    keywords = {"_": None, "gettext": None, "tell": None}
    used = {
        found[2]
        for found in extract_from_dir(
            str(language.FOLDER.parent), methods, options_map=options, keywords=keywords
        )
    }
    with open(language.FOLDER / "ja.po", "rb") as file:
        catalogue = {m.id: m.string for m in read_po(file, locale="ja") if m.id}
    assert used == set(catalogue)
    for original, translated in catalogue.items():
        assert translated, original
        assert set(re.findall(r"%\(\w+\)s|%s", original)) == set(
            re.findall(r"%\(\w+\)s|%s", str(translated))
        ), original


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-US,en;q=0.9,ja;q=0.1", "en"),
        ("fr,ja;q=0.5,en;q=0.4", "ja"),
        ("fr", "en"),
        ("ja;q=0,en", "en"),
        ("ja;q=x", "en"),
        ("*", "en"),
        ("," * 10000, "en"),
        ("JA", "ja"),
        ("ja;q=2,en", "en"),
    ],
)
def test_language(accept: str, expected: str) -> None:
    assert language.negotiate(accept) == expected


class Outline(HTMLParser):
    """Collects what a screen reader needs: labels, fields, headings, roles."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[str] = []
        self.fields: list[str] = []
        self.headings = 0
        self.alerts = 0
        self.described: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = dict(attrs)
        if a.get("id"):
            self.ids.append(str(a["id"]))
        if tag == "label":
            self.labels.append(str(a["for"]))
        elif tag == "input" and a.get("type") != "hidden":
            self.fields.append(str(a["id"]))
            if a.get("aria-describedby"):
                self.described.append(str(a["aria-describedby"]))
        elif tag == "h1":
            self.headings += 1
        if a.get("role") in ("alert", "status"):
            self.alerts += 1


@pytest.mark.parametrize("note", ["", "wrong", "dead", "malformed", "longer", "busy", "sent"])
@pytest.mark.parametrize("lang", language.LANGUAGES)
def test_code_page_for_a_screen_reader(lang: str, note: str) -> None:
    text = pages.render(
        "code.html",
        lang,
        application="W",
        address="a@b.example",
        note=note,
        back="/",
        token="t",
        organization="S",
        request_id="",
    )
    outline = Outline()
    outline.feed(text)
    assert outline.labels == outline.fields == ["code"] and outline.headings == 1
    assert outline.alerts == (1 if note else 0)
    assert set(outline.described) <= set(outline.ids)


def test_prepared_pages() -> None:
    """Complete, small, with the marks that a worker replaces, under a policy that admits their
    style."""
    prepared = pages.prepared_pages()
    assert {
        "policy-no-match",
        "tunnel-down",
        "host-unknown",
        "overloaded",
        "control-down",
        "origin-refused",
        "origin-head-timeout",
        "facts-unavailable",
        "internal",
    } <= set(prepared)
    for reason, by_language in prepared.items():
        assert set(by_language) == set(language.LANGUAGES)
        for text in by_language.values():
            assert text.count(pages.REQUEST_ID_MARK.encode()) == 1, reason
            assert (pages.EMAIL_MARK.encode() in text) == (reasons()[reason][0] == 403)
            assert len(text) < 12_000 and b"<script" not in text
    headers = dict(pages.PAGE_HEADERS)
    assert pages.STYLE_HASH in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
