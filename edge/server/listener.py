"""Listening sockets: bound once by the master, kept for its life, accepted on by the workers.

One SO_REUSEPORT socket per worker and address lets the kernel spread connections without a lock.
The sockets outlive the workers: while a worker is away a sibling accepts on its socket."""

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from edge.server.plan import Inherited, Listener, ListenerKind

BACKLOG = 4096  # connections that wait for accept(); the kernel caps it at net.core.somaxconn
FIRST_PASSED = 3  # SD_LISTEN_FDS_START
_UNSPECIFIED = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


class ListenError(Exception):
    """An address can't be had; the sentence says which and why."""


@dataclass(slots=True)
class Sockets:
    """Everything that the node listens on; `places` is what the children are told."""

    held: list[socket.socket]
    places: list[Inherited]

    def close(self) -> None:
        for sock in self.held:
            sock.close()


def bind_all(
    listeners: Sequence[Listener], slots: int, passed: Sequence[tuple[str, socket.socket]] = ()
) -> Sockets:
    """Bind every listener, once per worker, or take the sockets that the service manager passed.

    Raises ListenError, with nothing left bound, where an address is taken or not allowed."""
    sockets = Sockets([], [])
    try:
        for index, listener in enumerate(listeners):
            given = _given(listener, passed)
            if given is not None:
                # Shared: one queue, all workers accept from it
                sockets.held.append(given)
                sockets.places.append(Inherited(index, -1, given.fileno()))
                continue
            port = listener.port
            for slot in range(slots):
                sock = _bind(listener, port, first=slot == 0, shared=slots > 1)
                port = sock.getsockname()[1]
                sockets.held.append(sock)
                sockets.places.append(Inherited(index, slot, sock.fileno()))
    except ListenError:
        sockets.close()
        raise
    return sockets


def _bind(listener: Listener, port: int, *, first: bool, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        if first and shared and port:
            # SO_REUSEPORT would let us join another process's port and get half of its callers
            # (and it half of ours): see that nobody is there first.
            with _socket(family) as probe:
                probe.bind((listener.host, port))
        sock = _socket(family)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listener.host, port))
    except OSError as error:
        raise ListenError(f"can't listen at {listener}: {error.strerror}") from None
    return sock


def _socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # "[::]" means IPv6 only: IPv4 is listed by its own address, and none is bound twice
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _given(
    listener: Listener, passed: Sequence[tuple[str, socket.socket]]
) -> socket.socket | None:
    """Return the passed socket that serves this listener: by its name, else by its address."""
    for name, sock in passed:
        host, port = sock.getsockname()[:2]
        if name in get_args(ListenerKind):
            if name == listener.kind and port == listener.port:
                return sock
        elif port == listener.port and (host == listener.host or host in _UNSPECIFIED):
            return sock
    return None


def passed_sockets(environ: Mapping[str, str] = os.environ) -> list[tuple[str, socket.socket]]:
    """Return (name, socket) of what systemd passed to this process by sd_listen_fds(3)."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for place in range(count):
        sock = socket.socket(fileno=FIRST_PASSED + place)
        os.set_inheritable(sock.fileno(), False)
        sock.setblocking(False)
        if sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6):
            found.append((names[place] if place < len(names) else "", sock))
        else:
            sock.close()
    return found


def bind_unix(path: str | os.PathLike[str]) -> socket.socket:
    """Bind and listen at a path of the run folder, 0600, in place of what lies there.

    The new socket takes the name by a rename: there is no moment without one."""
    path = os.fspath(path)
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    sock = socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    )
    try:
        sock.bind(temporary)
        os.chmod(temporary, 0o600)
        sock.listen(BACKLOG)
        os.rename(temporary, path)
    except OSError as error:
        sock.close()
        raise ListenError(f"can't listen at {path}: {error.strerror or error}") from None
    return sock
