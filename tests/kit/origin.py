"""An origin that keeps exactly what it saw.

It frames requests the plain way (Content-Length, chunked). Whatever a body doesn't account for is
read as the next request, so a smuggled request shows up here as a request of its own."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Seen:
    """One request as it arrived."""

    connection: int                      # which connection, counted from 0
    raw: bytes                           # the head, byte for byte
    body: bytes = b""                    # payload, chunking removed
    complete: bool = False               # the whole body came
    at: float = field(default_factory=time.monotonic)

    @property
    def line(self) -> str:
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def fields(self) -> list[tuple[str, str]]:
        lines = self.raw.decode("latin-1").split("\r\n")[1:]
        return [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines if line)]

    def all(self, name: str) -> list[str]:
        """Values of a field under every spelling that an origin might fold into the same name."""
        folded = name.lower().replace("_", "-")
        return [v for n, v in self.fields if n.lower().strip().replace("_", "-") == folded]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nok\n"
Answerer = Callable[[Seen, socket.socket], bytes | None]


class RecordingOrigin:
    """A threaded server on loopback (or a Unix socket). `answer` may be replaced at any time:
    bytes to send, or a callable that gets the request and the socket (None: it has answered itself;
    it may raise OSError or close the socket)."""

    def __init__(self, *, path: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.raw: list[bytes] = []          # all bytes of each connection
        self.answer: bytes | Answerer = OK
        self.early = False                  # answer as soon as the head is there
        self.tls = tls
        self.keeps = True                   # False: requests are counted and forgotten (long runs)
        self.count = 0
        self.sockets: list[socket.socket] = []
        if path is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
            self.port = int(self.listener.getsockname()[1])
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen(256)
            self.port = 0
        self.stopping = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> "RecordingOrigin":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self) -> None:
        """Close every connection."""
        for sock in list(self.sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.sockets.clear()

    def clear(self) -> None:
        """Forget what was seen, go back to the plain answer."""
        self.requests.clear()
        self.answer, self.early, self.keeps, self.count = OK, False, True, 0

    def forget(self) -> None:
        """Forget what was seen, the bytes of open connections too."""
        self.requests.clear()
        self.raw[:] = [b""] * len(self.raw)

    def wait(self, count: int, timeout: float = 3.0) -> list[Seen]:
        """Return the first `count` requests, complete ones; AssertionError when they don't come."""
        deadline = time.monotonic() + timeout
        while sum(r.complete for r in self.requests) < count:
            assert time.monotonic() < deadline, f"origin saw {len(self.requests)} of {count}"
            time.sleep(0.005)
        return self.requests[:count]

    def _accept(self) -> None:
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
                if self.tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
            except (OSError, ssl.SSLError):
                if self.listener.fileno() < 0:
                    return
                continue
            self.sockets.append(sock)
            self.raw.append(b"")
            args = (sock, len(self.raw) - 1)
            threading.Thread(target=self._serve, args=args, daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError, ssl.SSLError):
            self._requests(sock, number)
        with contextlib.suppress(OSError):
            sock.close()

    def _requests(self, sock: socket.socket, number: int) -> None:
        buffer = b""

        def more() -> bool:
            nonlocal buffer
            data = sock.recv(65536)
            if self.keeps:
                self.raw[number] += data[: 1 << 20]
            buffer += data
            return bool(data)

        while True:
            while b"\r\n\r\n" not in buffer:
                if not more():
                    if buffer.strip():
                        self.requests.append(Seen(number, buffer))   # bytes that are no request
                    return
            raw, buffer = buffer.split(b"\r\n\r\n", 1)
            seen = Seen(number, raw)
            self.count += 1
            if self.keeps:
                self.requests.append(seen)
            if self.early and not self._reply(seen, sock):
                return
            if not self.early and "100-continue" in (seen.get("expect") or "").lower():
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if "chunked" in (seen.get("transfer-encoding") or "").lower():
                while True:
                    while b"\r\n" not in buffer:
                        if not more():
                            return
                    line, buffer = buffer.split(b"\r\n", 1)
                    size = int(line.split(b";")[0], 16)
                    while len(buffer) < size + 2:
                        if not more():
                            return
                    seen.body += buffer[:size]
                    buffer = buffer[size + 2 :]
                    if not size:
                        break
            elif (length := seen.get("content-length")) is not None:
                while len(buffer) < int(length):
                    if not more():
                        seen.body = buffer
                        return
                seen.body, buffer = buffer[: int(length)], buffer[int(length) :]
            seen.complete = True
            if not self.early and not self._reply(seen, sock):
                return

    def _reply(self, seen: Seen, sock: socket.socket) -> bool:
        answer = self.answer(seen, sock) if callable(self.answer) else self.answer
        if answer is not None:
            sock.sendall(answer)
            if b"connection: close" in answer.split(b"\r\n\r\n", 1)[0].lower():
                return False
        return sock.fileno() >= 0
