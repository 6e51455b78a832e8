"""The public application at its edges: foreign input, headers of every answer, a database that
is away."""

import json
import re
from typing import Any

import pytest

from edge.store import StoreUnavailable
from tests.control.conftest import Place
from tests.kit.sign_in import AUTH, WIKI_AUD

LOGIN, WIKI = f"https://{AUTH}", "https://wiki.example.com"
META = "A" * 43
SIGN_IN = (
    f"{LOGIN}/cdn-cgi/access/login/wiki.example.com?kid={WIKI_AUD}&redirect_url=%2F&meta={META}"
)

EVERY = [
    ("GET", LOGIN + "/"),
    ("GET", SIGN_IN),
    ("GET", LOGIN + "/cdn-cgi/access/login"),
    ("GET", LOGIN + "/cdn-cgi/access/pin/x"),
    ("POST", LOGIN + "/cdn-cgi/access/pin/x"),
    ("GET", LOGIN + "/cdn-cgi/access/callback"),
    ("GET", LOGIN + "/cdn-cgi/access/logout"),
    ("GET", LOGIN + "/cdn-cgi/access/get-identity"),
    ("GET", LOGIN + "/nothing"),
    ("PUT", LOGIN + "/"),
    ("POST", SIGN_IN),
    ("GET", WIKI + "/cdn-cgi/access/login"),
    ("GET", WIKI + "/"),
    ("GET", WIKI + "/cdn-cgi/access/authorized"),
    ("GET", WIKI + "/cdn-cgi/access/logout"),
    ("POST", WIKI + "/cdn-cgi/access/logout"),
    ("GET", WIKI + "/cdn-cgi/access/get-identity"),
    ("GET", WIKI + "/cdn-cgi/access/pin/x"),
    ("GET", "https://unknown.example/cdn-cgi/access/login"),
]


@pytest.mark.parametrize(("method", "url"), EVERY)
@pytest.mark.parametrize("language", ["en", "ja"])
async def test_p07_every_answer_is_guarded(
    place: Place, method: str, url: str, language: str
) -> None:
    """P07 M19: uncacheable, unframeable, no script, nothing from elsewhere, no referrer to
    elsewhere."""
    answer = await place.browser(language=language).send(method, url)
    assert answer.headers["cache-control"] == "no-store"
    assert "Accept-Language" in answer.headers["vary"]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "script-src" not in policy and "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.status < 500
    if answer.status not in (302, 303):
        assert f'<html lang="{language}">' in answer.text
        assert not re.search(r"<script|\son\w+=|javascript:", answer.text)
        for outside in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
            assert outside.startswith(("/", "data:image/svg", "?")) or outside == ""


@pytest.mark.parametrize(
    "url",
    [
        f"{LOGIN}/cdn-cgi/access/login/evil.example?kid={WIKI_AUD}&redirect_url=/&meta={META}",
        f"{LOGIN}/cdn-cgi/access/login/wiki.example.com?kid={'c' * 64}&redirect_url=/&meta={META}",
        f"{LOGIN}/cdn-cgi/access/login/wiki.example.com?kid={WIKI_AUD}&redirect_url=/",
        f"{LOGIN}/cdn-cgi/access/login/wiki.example.com",
        f"{WIKI}/cdn-cgi/access/callback",
        "https://unknown.example/cdn-cgi/access/login",
        f"{WIKI}/anything",
    ],
)
async def test_foreign_input_is_a_plain_404(place: Place, url: str) -> None:
    answer = await place.browser().get(url)
    assert answer.status == 404 and "0123456789abcdef" in answer.text


@pytest.mark.parametrize("more", ["&kid=x", "&redirect_url=//evil", "&meta=1", "&x=1&x=2"])
async def test_m14_repeated_parameters(place: Place, more: str) -> None:
    """M14: a parameter that comes twice is refused, whatever it is."""
    answer = await place.browser().get(SIGN_IN + more)
    assert answer.status == 400 and "query-repeated" in answer.text


async def test_programs_get_problem_json(place: Place) -> None:
    answer = await place.browser().get(
        LOGIN + "/cdn-cgi/access/get-identity",
        headers={"accept": "application/json", "sec-fetch-mode": "cors"},
    )
    assert answer.status == 401 and answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.text)["reason"] == "session-missing"


async def test_certs_on_both_hosts(place: Place) -> None:
    """The same public keys at the auth domain and at the application, and nothing private."""
    answers = [await place.browser().get(host + "/cdn-cgi/access/certs") for host in (LOGIN, WIKI)]
    documents = [json.loads(answer.text) for answer in answers]
    assert documents[0] == documents[1] and set(documents[0]) == {
        "keys",
        "public_cert",
        "public_certs",
    }
    assert set(documents[0]["keys"][0]) == {"kty", "use", "alg", "kid", "n", "e"}
    assert answers[0].headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"sec-fetch-site": "cross-site"}},
        {"headers": {"origin": "https://evil.example"}},
        {"headers": {"sec-fetch-site": "same-site"}},
        {"data": {"token": "0" * 64}},
        {"data": {"token": ""}},
        {"cookie": ""},
        {"cookie": "__Host-CF_Flow=" + "B" * 22},
        {"headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"headers": {"content-type": "text/plain"}},
    ],
    ids=str,
)
async def test_forms_of_other_origins(place: Place, change: dict[str, Any]) -> None:
    """A form must come from a page of ours in this very browser, or nothing is begun."""
    browser = place.browser()
    page = await browser.get(SIGN_IN)
    form = page.form("email")
    data = {**form["fields"], "email": "ann@example.com", **change.pop("data", {})}
    answer = await browser.send("POST", LOGIN + form["action"], data=data, **change)
    assert answer.status in (400, 403, 415)
    assert place.inbox.letters == []


async def test_a_method_that_the_application_does_not_offer(place: Place) -> None:
    browser = place.browser()
    page = await browser.get(SIGN_IN)
    form = page.form("email")
    answer = await browser.send(
        "POST",
        LOGIN + form["action"],
        data={**form["fields"], "method": "other", "email": "a@b.example"},
    )
    assert answer.status == 400


async def test_get_stores_nothing(place: Place) -> None:
    """Stateless until a person acts: a thousand visits of the sign-in page leave no row."""
    from sqlalchemy import text

    for _ in range(20):
        await place.browser().get(SIGN_IN)
    async with place.desk.store._database.read() as connection:
        for table in ("flows", "pins", "sessions", "handoffs"):
            count = await connection.execute(text(f"SELECT count(*) FROM {table}"))
            assert count.scalar() == 0


async def test_database_down(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults: without the database new sign-ins get a clear 503; keys are still told."""
    browser = place.browser()
    page = await browser.get(SIGN_IN)

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(place.desk.store._database, "write", down)
    monkeypatch.setattr(place.desk.store._database, "read", down)
    answer = await browser.submit(page, "email", email="ann@example.com")
    assert answer.status == 503 and "store-unavailable" in answer.text
    assert answer.headers["retry-after"] == "30"
    assert (await browser.get(SIGN_IN)).status == 200
    assert (await browser.get(LOGIN + "/cdn-cgi/access/certs")).status == 200


async def test_a_mistake_of_ours_is_a_plain_page(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(place.desk.keys, "jwks_document", broken)
    answer = await place.browser().get(LOGIN + "/cdn-cgi/access/certs")
    assert answer.status == 500 and "secret detail" not in answer.text and "internal" in answer.text


async def test_no_configuration_yet(place: Place) -> None:
    def nothing() -> Any:
        raise LookupError

    place.desk.world = nothing
    assert (await place.browser().get(LOGIN + "/")).status == 503


async def test_html_of_a_name_is_escaped(place: Place) -> None:
    """What an operator or a provider wrote is text on our pages."""
    import dataclasses

    world = place.worlds[-1]
    evil = dataclasses.replace(world.applications[WIKI_AUD], name='<img src=x onerror="x">')
    place.worlds.append(
        dataclasses.replace(world, applications={WIKI_AUD: evil}, organization="<b>&")
    )
    answer = await place.browser().get(SIGN_IN)
    assert "<img" not in answer.text and "&lt;b&gt;&amp;" in answer.text


async def test_a_body_that_never_ends_is_no_failure_of_ours(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """F: who hangs up in the middle of a form leaves no traceback in the journal."""
    told = [{"type": "http.request", "body": b"a=", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return told.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/cdn-cgi/access/pin/" + "A" * 22,
        "raw_path": b"/cdn-cgi/access/pin/" + b"A" * 22,
        "query_string": b"",
        "headers": [
            (b"host", AUTH.encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ],
    }
    await place.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
