"""Nothing secret is shown after signing in by OpenID Connect at an application behind a connector (issue 3 §8, M17):
client secret, code, state, nonce, verifier, the provider's tokens, hand-off code, cookies, keys; in log, trail, metrics,
journal and arguments of the edge, log and metrics of the connector, and files that others may read."""

import asyncio
import json
import re
import sqlite3
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.kit.edge_process import SEKISHO, free_port, wait_until
from tests.security.checkpoint import standing
from tests.security.federation import LOGIN, Federated
from tests.security.rows import A, request

CODE = "the-provider-s-own-code"


class Tunnelled(Federated):
    """Application A is behind a connector, the origin behind it."""

    def __init__(self, folder: Path) -> None:
        self.routes = f"  - {{hostname: {A}, tunnel: office}}"
        self.settings = f'timeouts: {{body_idle: 2s}}\ntunnel_listen: ["127.0.0.1:{free_port()}"]'
        super().__init__(folder)
        made = str(folder / "office.json")
        self.edge.command("tunnel", "create", "office", "--credentials-file", made, "--edge-config", str(self.edge.config))
        self.metrics = free_port()
        (folder / "config.yml").write_text(
            f"credentials-file: {made}\nmetrics: 127.0.0.1:{self.metrics}\ningress:\n- service: {self.origin.url}\n")
        with (folder / "connector.log").open("ab") as log:
            self.connector = subprocess.Popen(
                [*SEKISHO, "tunnel", "--config", str(folder / "config.yml"), "run"], stdout=log, stderr=log)
        wait_until(lambda: b'"readyConnections": 4' in fetched(f"http://127.0.0.1:{self.metrics}/ready"), 30)

    def close(self) -> None:
        self.connector.terminate()
        self.connector.wait(20)
        super().close()


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return bytes(answer.read())


@pytest.fixture(scope="module")
def tunnelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnelled]:
    for one in standing(Tunnelled, tmp_path_factory):
        one.clear()
        yield one


def secrets_of(place: Tunnelled) -> dict[str, str]:
    """Sign in step by step, once well and twice badly, and return every secret of it."""
    visitor, found = place.browser(), {"client secret": place.secret}

    async def walk() -> None:
        for turn in ("good", "error", "forged"):
            asked = await place.begin(visitor if turn == "good" else place.browser())
            found[f"state, {turn}"], found[f"nonce, {turn}"] = asked["state"], asked["nonce"]
            if turn == "good":
                back = await place.back(visitor, follow=False, code=CODE, state=asked["state"])
                where = back.get("location") or ""
                found["hand-off code"] = parse_qs(urlsplit(where).query)["code"][0]
                assert (await visitor.get(where, follow=True)).status == 200
            else:       # in a browser that began nothing: refused, with what must not be told
                await place.back(place.browser(), code=CODE, state=asked["state"], error_description=f"shown-{turn}")

    asyncio.run(walk())
    told = parse_qs(place.sso.bodies[0])
    found["code"], found["verifier"] = told["code"][0], told["code_verifier"][0]
    found |= {"access token": "secret-access-token", "refresh token": "secret-refresh-token",
              "ID token": place.sso.issued[0].rpartition(".")[2], "what a stranger's error says": "shown-error"}
    for host in (A, LOGIN):
        found |= {f"cookie {name} of {host}": value for name, value in visitor.jar[host].items() if len(value) >= 16}
        found[f"signature at {host}"] = visitor.jar[host]["CF_Authorization"].rpartition(".")[2]
    found["master key"] = (place.edge.state / "keys" / "master.key").read_text().split()[-1]
    credential = json.loads((place.folder / "office.json").read_text())
    lines = [line for text in map(str, credential.values()) if "PRIVATE KEY" in text for line in text.splitlines()]
    found["connector's key"] = max(lines, key=len)
    return found


def shown_by(place: Tunnelled) -> dict[str, str]:
    """Return everything that somebody who is not the service may come to see."""
    monitor = re.search(r"monitor: (\S+)", place.edge.config.read_text())
    assert monitor
    with sqlite3.connect(f"file:{place.folder}/state.db?mode=ro", uri=True) as db:
        events = "\n".join(map(str, db.execute("SELECT * FROM events")))
    pids = [*place.edge.pids().values(), place.connector.pid]
    open_to_others = [path for path in place.edge.state.rglob("*")
                      if path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    return {
        "access log": (place.folder / "access.log").read_text(),
        "journal": place.edge.text(),
        "trail": events,
        "metrics": fetched(f"http://{monitor.group(1)}/metrics").decode(),
        "status": json.dumps(place.edge.status()),
        "connector's log": (place.folder / "connector.log").read_text(),
        "connector's metrics": fetched(f"http://127.0.0.1:{place.metrics}/metrics").decode(),
        "arguments": "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids),
        "environment": "".join(Path(f"/proc/{pid}/environ").read_text() for pid in pids),
        "configuration": place.edge.config.read_text(),
        **{f"file {path.name}": path.read_bytes().decode("latin-1") for path in open_to_others},
    }


def test_nothing_secret_is_shown_after_an_openid_sign_in(tunnelled: Tunnelled) -> None:
    secret = secrets_of(tunnelled)
    assert len(secret) >= 18, sorted(secret)
    assert tunnelled.origin.requests[0].get("cf-access-authenticated-user-email") == "alice@example.com"
    for seen in tunnelled.origin.requests:
        for what in ("client secret", "code", "access token", "refresh token", "ID token", f"signature at {LOGIN}"):
            assert secret[what].encode() not in seen.raw + seen.body, f"{what} at the origin"
    with tunnelled.client() as c:           # the last line: when it is there, all before it are
        last = c.send(request(host="nobody.example")).answer()
    tunnelled.line(last.get("cf-ray") or "")
    wait_until(lambda: "alice@example.com" in shown_by(tunnelled)["trail"], 5)
    shown = shown_by(tunnelled)
    assert all(shown[place] for place in shown if not place.startswith("file")), "an empty place proves nothing"
    assert "alice@example.com" in shown["access log"]
    found = [f"{what} in the {place}" for place, text in shown.items() for what, value in secret.items() if value in text]
    assert found == []
