"""The command line's way to a running edge: HTTP over admin.sock, by the standard library alone."""

import http.client
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
        raise AdminError(f"can't read {config}: {reason}") from None
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


class _UnixSession(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=LIMIT)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self.path))


class AdminClient:
    """Calls operations of the edge that a configuration describes."""

    def __init__(self, config: Path | str | None = None, *, run_folder: Path | None = None):
        if run_folder is None:
            run_folder = run_folder_of(Path(config) if config else DEFAULT_CONFIG)
        self.path = run_folder / "admin.sock"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer; raises AdminError with the edge's sentence, or why it can't be had."""
        session = _UnixSession(self.path)
        try:
            session.request(
                method, path, None if body is None else json.dumps(body),
                {"Content-Type": "application/json"} if body is not None else {},
            )
            response = session.getresponse()
            raw = response.read()
        except PermissionError:
            raise AdminError(
                f"not allowed to use {self.path}: run this as root or as the edge's own user"
            ) from None
        except TimeoutError:
            raise AdminError(f"the edge did not answer within {LIMIT:g} s") from None
        except (FileNotFoundError, ConnectionError, http.client.HTTPException) as error:
            raise AdminError(
                f"no edge answers at {self.path} (is `sekisho edge run` running?)"
            ) from error
        finally:
            session.close()
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = {}
        if response.status >= 400:
            sentence = answer.get("error") or f"the edge answered {response.status}"
            raise AdminError(sentence, response.status, answer)
        return answer if isinstance(answer, dict) else {}
