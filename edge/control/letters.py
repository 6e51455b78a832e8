"""The mail with a code: text and HTML, in the reader's language. The code stands in the bodies
only."""

from edge.control.language import catalogue
from edge.control.pages import render
from edge.identity.mail import Letter


def pin_letter(to: str, code: str, application: str, link: str, language: str) -> Letter:
    """Return the letter; its link names the flow, never the code (O15, O16)."""
    tell = catalogue(language).gettext
    values = {
        "code": code,
        "application": application,
        "link": link,
        "minutes": 10,
        "grouped": f"{code[: len(code) // 2]} {code[len(code) // 2 :]}",
    }
    name = " ".join(application.split())  # a subject has one line
    return Letter(
        to=to,
        subject=tell("Your sign-in code for %s") % name,
        text=render("mail.txt", language, **values),
        html=render("mail.html", language, **values),
        language=language,
    )
