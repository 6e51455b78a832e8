"""The snippets of docs/headers.md, run against a real edge by independent libraries."""

import re
import subprocess
from pathlib import Path

import jwt
import pytest

from tests.kit.node import node
from tests.kit.origin import RecordingOrigin
from tests.security.checkpoint import Checkpoint
from tests.security.rows import A, B

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "headers.md").read_text()
PLACE = "the 64 hex digits of the application's AUD tag"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    one = Checkpoint(tmp_path_factory.mktemp("headers"))
    yield one
    one.close()


def snippet(language: str, checkpoint: Checkpoint, token: str) -> str:
    """Return the page's code with the edge's own address and the application's AUD in place.

    The demo's issuer has a port and a name that the resolver doesn't know: keys are fetched from
    the address behind it, the issuer compared as it stands in the token."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.S)
    assert found
    claims = jwt.decode(token, options={"verify_signature": False})
    return found.group(1).replace("https://login.example.com", claims["iss"]).replace(
        PLACE, claims["aud"][0])


def keys_file(checkpoint: Checkpoint, folder: Path) -> Path:
    """Fetch /cdn-cgi/access/certs as it is on the wire."""
    with checkpoint.client() as c:
        head = b"GET /cdn-cgi/access/certs HTTP/1.1\r\nHost: login.sekisho.localhost\r\n\r\n"
        answer = c.send(head).answer()
    assert answer.status == 200
    path = folder / "certs.json"
    path.write_bytes(answer.body)
    return path


def test_python(checkpoint: Checkpoint, tmp_path: Path) -> None:
    token, other = checkpoint.token(A), checkpoint.token(B)
    code = snippet("python", checkpoint, token)
    names: dict[str, object] = {}
    keys = keys_file(checkpoint, tmp_path).read_bytes()
    with RecordingOrigin() as server:
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(keys), keys)
        code = code.replace('f"{ISSUER}/cdn-cgi/access/certs"', repr(f"{server.url}/certs"))
        exec(compile(code, "headers.md", "exec"), names)
        who = names["who"]
        assert callable(who) and who(token) == "alice@example.com"
        for forged in (other, token[:-8] + "AAAAAAAA", token.rsplit(".", 1)[0] + "."):
            with pytest.raises(jwt.PyJWTError):
                who(forged)


def test_node(checkpoint: Checkpoint, tmp_path: Path) -> None:
    token, other = checkpoint.token(A), checkpoint.token(B)
    code = snippet("js", checkpoint, token)
    keys = keys_file(checkpoint, tmp_path).read_text()
    remote = re.compile(r"createRemoteJWKSet\(new URL\(.*?\)\)")
    assert remote.search(code)
    code = remote.sub(lambda _: f"createLocalJWKSet({keys})", code).replace(
        "createRemoteJWKSet,", "createLocalJWKSet,")
    code += """
console.log(await who(process.argv[2]));
for (const bad of process.argv.slice(3)) await who(bad).then(
  () => { console.log('accepted'); process.exit(1); }, () => console.log('refused'));
"""
    script = tmp_path / "who.mjs"
    script.write_text(code)
    (tmp_path / "node_modules").symlink_to(ROOT / "build" / "peers" / "node_modules")
    done = subprocess.run(
        [node(), str(script), token, other, token[:-8] + "AAAAAAAA"],
        capture_output=True, text=True, timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["alice@example.com", "refused", "refused"]
