"""A real SMTP server for tests: the demo's inbox as a process, and the PIN of its newest mail."""

import json
import re
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.demo.processes import Child, answers, free_port


class Letters:
    """Reads an inbox that runs."""

    def __init__(self, url: str) -> None:
        self.url, self.used = url, 0

    def letters(self, address: str) -> list[dict[str, Any]]:
        """Return the messages to the address, newest first."""
        with urllib.request.urlopen(f"{self.url}/messages.json?to={quote(address)}", timeout=3) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found

    def letter(self, address: str, timeout: float = 5.0) -> dict[str, Any]:
        """Return the newest message that no earlier call returned."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            new = [m for m in self.letters(address) if m["id"] > self.used]
            if new:
                self.used = new[0]["id"]
                return new[0]
            time.sleep(0.03)
        raise AssertionError(f"no mail to {address} within {timeout} s")

    def code(self, address: str, timeout: float = 5.0) -> str:
        letter = self.letter(address, timeout)
        found = re.search(r"(?<!\d)(\d{6}|\d{8})(?!\d)", letter["text"])
        assert found, letter["text"]
        return found.group(1)


class MailSink(Letters):
    """An inbox of one's own."""

    def __init__(self, folder: Path) -> None:
        self.port, page = free_port(), free_port()
        super().__init__(f"http://127.0.0.1:{page}")
        argv = [sys.executable, "-m", "edge.demo.inbox", "--smtp", str(self.port),
                "--http", str(page)]
        self.child = Child("inbox", argv, folder / "inbox.log").start()
        self.child.wait_until(lambda: answers(f"{self.url}/"), "its page")

    def close(self) -> None:
        self.child.stop()
