"""Answers of the public application: every one uncacheable, unframeable, and with a request id."""

import json
from typing import Any

from starlette.responses import Response

from edge.control import cookies
from edge.control.pages import PAGE_HEADERS, policy, problem_page, render
from edge.control.visit import Visit


def page(
    visit: Visit, template: str, *, status: int = 200, form_action: str = "'self'", **values: Any
) -> Response:
    """Return a page in the visitor's language."""
    text = render(
        template,
        visit.language,
        request_id=visit.request_id,
        organization=visit.world.organization,
        **values,
    )
    return _finish(Response(text, status), visit, form_action)


def problem(
    visit: Visit, status: int, reason: str, *, email: str = "", again: str = "", switch: str = ""
) -> Response:
    """Return what went wrong, as a page for people and problem+json for programs."""
    if visit.html:
        text = problem_page(
            reason,
            status,
            visit.language,
            visit.request_id,
            email=email,
            again=again,
            switch=switch,
            organization=visit.world.organization,
        )
        return _finish(Response(text, status), visit, "'self'")
    body = {
        "type": "about:blank",
        "title": reason.replace("-", " "),
        "status": status,
        "reason": reason,
        "request_id": visit.request_id,
    }
    answer = Response(json.dumps(body), status)
    _finish(answer, visit, "'self'")
    answer.headers["content-type"] = "application/problem+json"
    return answer


def plain_json(visit: Visit, value: Any, *, cache: str = "no-store") -> Response:
    answer = Response(json.dumps(value))
    _finish(answer, visit, "'self'")
    answer.headers["content-type"] = "application/json"
    answer.headers["cache-control"] = cache
    return answer


def redirect(visit: Visit, location: str, *, status: int = 303) -> Response:
    """Return a redirect; 303 turns a POST into a GET everywhere (M19)."""
    answer = Response(status_code=status)
    _finish(answer, visit, "'self'")
    del answer.headers["content-type"]
    answer.headers["location"] = location
    return answer


def set_cookie(answer: Response, line: str) -> None:
    answer.headers.append("set-cookie", line)


def clear_everywhere(answer: Response, visit: Visit, name: str) -> None:
    """Clear a cookie wherever a sibling site may have planted it (K01)."""
    for line in cookies.clear_everywhere(name, visit.host, visit.path):
        set_cookie(answer, line)


def clear_tossed(answer: Response, visit: Visit, name: str) -> None:
    """Clear a cookie that came twice."""
    if visit.tossed(name):
        clear_everywhere(answer, visit, name)


def _finish(answer: Response, visit: Visit, form_action: str) -> Response:
    for name, value in PAGE_HEADERS:
        answer.headers[name] = value
    answer.headers["content-security-policy"] = policy(form_action)
    answer.headers["content-language"] = visit.language
    return answer
