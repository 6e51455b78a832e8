"""Nothing secret is shown: after a sign-in by PIN, a hand-off, a revoked session and a service token, none of what was
secret in them stands in log, journal, metrics, status, audit events, arguments or snapshots (issue 3 §8, M17, O15)."""

import asyncio
import json
import re
import sqlite3
import time
import urllib.request
from pathlib import Path

from tests.kit.edge_mint import claims_of
from tests.security.checkpoint import Checkpoint
from tests.security.rows import A, request


def secrets_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Use each secret once, for real, and return them all."""
    found: dict[str, str] = {}
    seen: list[str] = []
    visitor = checkpoint.fresh(A)
    keep = visitor._keep
    visitor._keep = lambda host, line: (seen.append(line), keep(host, line))[1]      # type: ignore[method-assign]
    opened: list[str] = []
    get = visitor.get

    async def again() -> None:      # a hand-off step by step: its code travels in an address
        url = checkpoint.url(A, "/?question=sesame-open")
        visitor.jar[A].pop("CF_Authorization")
        for _ in range(6):
            opened.append(url)
            reply = await get(url)
            if reply.status not in (302, 303):
                break
            where = reply.get("location") or ""
            url = where if where.startswith("http") else checkpoint.url(A, where)

    asyncio.run(again())
    codes = [m.group(1) for url in opened if (m := re.search(r"[?&]code=([^&]+)", url))]
    assert codes, opened
    found["hand-off code"] = codes[0]
    for host, jar in (("A", visitor.jar[A]), ("auth domain", checkpoint.visitor().jar["login.sekisho.localhost"])):
        for name, value in jar.items():
            if len(value) >= 16:
                found[f"cookie {name} of {host}"] = value
    token = visitor.jar[A]["CF_Authorization"]
    found["signature alone"] = token.rpartition(".")[2]
    for number, letter in enumerate(checkpoint.mail.letters("alice@example.com")):
        code = re.search(r"(?<!\d)(\d{6}|\d{8})(?!\d)", letter["text"])
        assert code
        found[f"PIN {number}"] = code.group(1)
    checkpoint.edge.admin.call("POST", "/revoke", {"kind": "token", "id": claims_of(token)["identity_nonce"]})
    made = checkpoint.edge.admin.call("POST", "/service-tokens", {"name": f"spy-{time.time_ns()}", "duration": 600})
    found["service token"] = made["client_secret"]
    fields = [f"CF-Access-Client-Id: {made['client_id']}", f"CF-Access-Client-Secret: {made['client_secret']}"]
    with checkpoint.client() as c:
        assert c.send(request(*fields, host="robots.sekisho.localhost")).answer().status == 200
        assert c.send(request(*fields[:1], "CF-Access-Client-Secret: wrong-but-mine-0123456789", "Accept: text/html",
                              host="robots.sekisho.localhost")).answer().status in (401, 403)
    found["wrong secret"] = "wrong-but-mine-0123456789"
    with checkpoint.client() as c:
        c.send(request(f"Cookie: CF_Authorization={token}", host=A)).answer()
        c.send(request("Authorization: Bearer hunter2-hunter2", first="GET /cdn-cgi/access/get-identity HTTP/1.1",
                       host=A)).answer()
    found["Authorization"] = "hunter2-hunter2"
    found["query"] = "sesame-open"
    found["master key"] = (checkpoint.edge.state / "keys" / "master.key").read_text().split()[-1]
    return found


def test_nothing_secret_is_shown_after_real_use(checkpoint: Checkpoint) -> None:
    secret = secrets_of(checkpoint)
    assert len(secret) >= 9 and any(name.startswith("PIN") for name in secret)
    with checkpoint.client() as c:          # the last line: when it is there, all before it are
        last = c.send(request(host="nobody.example")).answer()
    checkpoint.line(last.get("cf-ray") or "")
    monitor = re.search(r"monitor: (\S+)", checkpoint.edge.config.read_text())
    assert monitor

    def events() -> str:
        with sqlite3.connect(f"file:{checkpoint.folder}/state.db?mode=ro", uri=True) as db:
            return "\n".join(map(str, db.execute("SELECT * FROM events")))

    end = time.monotonic() + 5              # they are written behind what they tell of
    while "service-token-create" not in (told := events()) and time.monotonic() < end:
        time.sleep(0.1)
    assert "service-token-create" in told and "alice@example.com" in told, "the trail has the sign-in"
    with urllib.request.urlopen(f"http://{monitor.group(1)}/metrics", timeout=5) as answer:
        metrics = answer.read().decode()
    pids = list(checkpoint.edge.pids().values())
    shown = {
        "access log": (checkpoint.folder / "access.log").read_text(),
        "journal": checkpoint.edge.text(),
        "metrics": metrics,
        "status": json.dumps(checkpoint.edge.status()),
        "events": told,
        "arguments": "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids),
        "snapshots": "".join(p.read_bytes().decode("latin-1") for p in (checkpoint.edge.state / "snapshots").iterdir()),
        "revocations": "".join(p.read_bytes().decode("latin-1") for p in (checkpoint.edge.state / "revocations").iterdir()),
    }
    assert all(shown.values()), "an empty place proves nothing"
    for place, text in shown.items():
        text = re.sub(r'"(time|\w+_us|bytes_\w+)":("[^"]*"|\d+)', "", text)      # numbers that may look like a PIN
        for what, value in secret.items():
            if what.startswith("PIN"):
                if place not in ("access log", "journal", "arguments"):
                    continue                                                     # timestamps and binary there
                assert not re.search(rf"(?<![0-9a-f]){value}(?![0-9a-f])", text), f"{what} in the {place}"
            else:
                assert value not in text, f"{what} in the {place}"
