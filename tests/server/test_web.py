"""Serving on a Unix socket: our own user only; 503 while there is nothing to sign in with."""

import asyncio
import os
import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from edge.server.listener import bind_unix
from edge.server.web import OnceConfigured, WebServer


def application():
    async def answer(request):
        return PlainTextResponse("hello")

    return Starlette(routes=[Route("/", answer)])


ASK = (
    "import socket, sys\n"
    "s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])\n"
    "s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
    "data = b''\n"
    "try:\n"
    "    while part := s.recv(4096): data += part\n"
    "except ConnectionResetError: pass\n"
    "print(data.decode())\n"
)


@pytest.mark.parametrize(("user", "answered"), [(0, True), (65534, False)])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
async def test_only_our_own_user_is_answered(user, answered):
    """Z07: the peer's user counts, even where the socket's mode would let it in."""
    folder = f"/var/tmp/sekisho-web-{os.getpid()}"
    os.makedirs(folder, 0o755)
    path = f"{folder}/x.sock"
    server = WebServer(application(), bind_unix(path), name="test")
    try:
        os.chmod(path, 0o666)
        await server.start()
        python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        done = await asyncio.to_thread(
            subprocess.run, [python, "-c", ASK, path], user=user, group=user,
            capture_output=True, text=True,
        )
        assert ("hello" in done.stdout) == answered, done
        assert done.returncode == 0 or not answered
    finally:
        await server.stop()
        os.unlink(path)
        os.rmdir(folder)


def test_without_configuration_sign_in_is_503():
    there = []
    client = TestClient(OnceConfigured(application(), lambda: bool(there)))
    answer = client.get("/")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "10"
    assert answer.json()["reason"] == "control-down"
    there.append(1)
    assert client.get("/").text == "hello"
