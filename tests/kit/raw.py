"""A client that sends exactly the bytes it is given and says exactly what came back."""

import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Answer:
    """One response as it stood on the wire."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    raw_head: bytes = b""
    interim: list[int] = field(default_factory=list)   # 1xx that came before

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.fields if n.lower() == name.lower()]


class Silence(AssertionError):
    """Nothing (more) came in time."""


class Raw:
    """One connection. Use as a context manager; every wait is bounded."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.timeout = timeout
        sock = socket.create_connection(address, timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = tls.wrap_socket(sock, server_hostname=server_name) if tls else sock
        self.buffer = b""
        self.ended = False

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *pieces: bytes, pause: float = 0.0) -> "Raw":
        """Send the pieces, each in a segment or TLS record of its own; a closed peer is fine."""
        for number, piece in enumerate(pieces):
            if number and pause:
                time.sleep(pause)
            try:
                self.sock.sendall(piece)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                break
        return self

    def half_close(self) -> "Raw":
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def _more(self, deadline: float) -> bool:
        """Read once more; False at the end of the stream."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise Silence(f"no more bytes in time; so far {self.buffer[:200]!r}")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise Silence(f"no more bytes in time; so far {self.buffer[:200]!r}") from None
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            self.ended = True
            return False
        self.buffer += data
        return True

    def until(self, mark: bytes, deadline: float) -> bytes:
        while mark not in self.buffer:
            if not self._more(deadline):
                raise EOFError(f"closed before {mark!r}; had {self.buffer[:200]!r}")
        head, self.buffer = self.buffer.split(mark, 1)
        return head + mark

    def exactly(self, count: int, deadline: float) -> bytes:
        while len(self.buffer) < count:
            if not self._more(deadline):
                raise EOFError(f"closed {count - len(self.buffer)} bytes early")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def answer(self, method: str = "GET", timeout: float | None = None) -> Answer:
        """Read one final response; raises Silence or EOFError when there is none."""
        deadline = time.monotonic() + (timeout or self.timeout)
        interim: list[int] = []
        while True:
            raw = self.until(b"\r\n\r\n", deadline)
            lines = raw[:-4].decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ", 2)[1])
            if 100 <= status < 200 and status != 101:
                interim.append(status)
                continue
            break
        fields = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        answer = Answer(status, fields, raw_head=raw, interim=interim)
        if method == "HEAD" or status in (101, 204, 304):
            return answer
        if (answer.get("transfer-encoding") or "").lower() == "chunked":
            while True:
                size = int(self.until(b"\r\n", deadline).split(b";")[0], 16)
                chunk = self.exactly(size, deadline)
                self.exactly(2, deadline)
                if not size:
                    break
                answer.body += chunk
        elif (length := answer.get("content-length")) is not None:
            answer.body = self.exactly(int(length), deadline)
        else:
            while self._more(deadline):
                pass
            answer.body, self.buffer = self.buffer, b""
        return answer

    def closed(self, timeout: float = 2.0) -> bytes | None:
        """Return what came before the end of the stream, or None when it stays open."""
        deadline = time.monotonic() + timeout
        try:
            while self._more(deadline):
                pass
        except Silence:
            return None
        return self.buffer

    def answers(self, timeout: float = 2.0) -> list[Answer]:
        """Read responses until the stream ends or falls silent."""
        out: list[Answer] = []
        try:
            while True:
                out.append(self.answer(timeout=timeout))
        except (Silence, EOFError):
            return out


def head(*lines: str | bytes) -> bytes:
    """Join lines with CRLF and end the head."""
    raw = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    return b"\r\n".join(raw) + b"\r\n\r\n"


def one_by_one(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 1] for i in range(len(data)))
