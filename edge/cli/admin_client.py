"""The command line's way to a running edge: HTTP over admin.sock, by the standard library alone.

Not by http.client: importing it takes longer than everything else that a command does here."""

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

DEFAULT_CONFIG = Path("/etc/sekisho/sekisho.yml")
DEFAULT_STATE = Path("/var/lib/sekisho")
LIMIT = 120.0  # seconds; a reload of a large configuration takes its time
_KEY = re.compile(r"(state|state_folder|run_folder)\s*:\s+(.+?)\s*(?:\s#.*)?$")


class AdminError(Exception):
    """The edge said no, or can't be reached; the sentence is for the person."""

    def __init__(self, sentence: str, status: int = 0, answer: dict[str, Any] | None = None):
        super().__init__(sentence)
        self.sentence, self.status, self.answer = sentence, status, answer or {}


def run_folder_of(config: Path) -> Path:
    """Return where a configuration puts its sockets, even when the rest of the file is broken.

    That is the moment when `edge status` is needed most, so only three lines are looked at."""
    found: dict[str, str] = {}
    try:
        lines = config.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise AdminError(
            f"can't read {config}: {reason} (-c FILE or $SEKISHO_CONFIG names another one)"
        ) from None
    for line in lines:
        match = _KEY.match(line)
        if match:
            found[match[1]] = match[2].strip("'\"")
    base = config.resolve().parent
    if "run_folder" in found:
        return base / found["run_folder"]
    if "state_folder" in found:
        return base / found["state_folder"] / "run"
    path = found.get("state", "")
    if path.startswith("sqlite:///"):
        return (base / path.removeprefix("sqlite:///")).parent / "run"
    return DEFAULT_STATE / "run"


def _exchange(path: Path, request: bytes) -> tuple[int, bytes]:
    """Return status and body of one request; raises OSError, or ValueError for half an answer."""
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(LIMIT)
        sock.connect(os.fspath(path))
        sock.sendall(request)
        while block := sock.recv(1 << 16):
            received += block
    head, found, body = bytes(received).partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    length = re.search(rb"\r\ncontent-length: *(\d+)(?:\r\n|$)", head, re.I)
    if not found or status is None or length is None or int(length[1]) != len(body):
        raise ValueError("the answer is not whole")
    return int(status[1]), body


class AdminClient:
    """Calls operations of the edge that a configuration describes."""

    def __init__(self, config: Path | str | None = None, *, run_folder: Path | None = None):
        if run_folder is None:
            run_folder = run_folder_of(Path(config) if config else DEFAULT_CONFIG)
        self.path = run_folder / "admin.sock"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer; raises AdminError with the edge's sentence, or why it can't be had."""
        if not re.fullmatch(r"/[!-~]*", path):
            raise ValueError(f"{path!r} is not quoted")
        text = b"" if body is None else json.dumps(body).encode()
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        try:
            status, raw = _exchange(self.path, request.encode("ascii") + text)
        except PermissionError:
            raise AdminError(
                f"not allowed to use {self.path}: run this as root or as the edge's own user"
            ) from None
        except TimeoutError:
            raise AdminError(f"the edge did not answer within {LIMIT:g} s") from None
        except (FileNotFoundError, ConnectionError, ValueError) as error:
            raise AdminError(
                f"no edge answers at {self.path} (is `sekisho edge run` running?)"
            ) from error
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = {}
        if status >= 400:
            sentence = answer.get("error") or f"the edge answered {status}"
            raise AdminError(sentence, status, answer)
        return answer if isinstance(answer, dict) else {}
