"""Between master and child: one message per packet on a socket pair, and dying together.

child → master   ready{} beat{} status{status} reloaded{status} reopen{} let-go{}
master → child   adopt{slot} release{slot} reload{} reopen{} drain{} leave{}"""

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

import msgpack

from edge.server.plan import CHANNEL_FD, MASTER_PID

PACKET = 64 << 10  # bytes; messages are far smaller
_PR_SET_PDEATHSIG = 1


class Channel:
    """One end; never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    @staticmethod
    def pair() -> tuple["Channel", socket.socket]:
        """Return the master's end and the socket that the child inherits."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Channel(ours), theirs

    def send(self, kind: str, **fields: Any) -> None:
        """Send; lost where the other end has gone or reads nothing: its death says enough."""
        with contextlib.suppress(OSError):
            self.sock.send(msgpack.packb({"t": kind, **fields}), socket.MSG_NOSIGNAL)

    def receive(self) -> list[dict[str, Any]] | None:
        """Return what has arrived, or None when the other end has gone."""
        messages: list[dict[str, Any]] = []
        while True:
            try:
                packet = self.sock.recv(PACKET)
            except BlockingIOError:
                return messages
            except OSError:
                return messages or None
            if not packet:
                return messages or None
            messages.append(msgpack.unpackb(packet))

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()


def inherited_channel(environ: Mapping[str, str] = os.environ) -> Channel:
    """Return this child's end."""
    return Channel(socket.socket(fileno=int(environ[CHANNEL_FD])))


def die_with_master(environ: Mapping[str, str] = os.environ) -> None:
    """Let the kernel kill this process when the master dies; exit at once if it already has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(environ[MASTER_PID]):  # it died between fork and prctl
        os._exit(1)


def keep_to_master() -> None:
    """Leave Ctrl-C and hang-up to the master: a terminal sends them to the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
