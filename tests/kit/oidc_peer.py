"""A person at the real OpenID provider: walks its pages and comes back with its answer."""

from typing import Any
from urllib.parse import urljoin

import httpx2

from tests.kit.sign_in import Page


async def sign_in_at(url: str, login: str) -> str:
    """Walk the provider's own pages as this person; return the address that it sends the browser
    to."""
    async with httpx2.AsyncClient(follow_redirects=False) as client:
        answer: Any = await client.get(url)
        for _ in range(12):
            while answer.status_code in (302, 303):
                to = urljoin(str(answer.request.url), answer.headers["location"])
                if not to.startswith(str(httpx2.URL(url).copy_with(raw_path=b"/"))):
                    return to
                answer = await client.get(to)
            page = Page(str(answer.request.url), answer.status_code, answer.headers, answer.text)
            assert page.status == 200, (page.status, page.text[:300])
            form = page.forms[0]
            fields = dict(form["fields"])
            if "login" in form["inputs"]:
                fields.update(login=login, password="any")
            answer = await client.post(urljoin(page.url, form["action"]), data=fields)
    raise AssertionError("the provider never sent the browser back")
