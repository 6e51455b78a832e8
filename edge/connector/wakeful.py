"""Notice that the machine slept, or that an address of it went away: links may be dead by then."""

from __future__ import annotations

import contextlib
import socket
import struct
import time

SLEPT = 5.0  # seconds by which the clock that runs on in sleep may get ahead of the one that stops

_NETLINK_ROUTE = 0
_GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
_DELETED = 21  # RTM_DELADDR
_HEADER = struct.Struct("=IHHII")


class Wakeful:
    """Asked once a second; remembers what it saw the last time."""

    def __init__(self) -> None:
        self._offset = self._ahead()
        self._netlink: socket.socket | None = None
        with contextlib.suppress(OSError):
            sock = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
            )
            sock.bind((0, _GROUPS))
            self._netlink = sock

    def woke(self) -> bool:
        """Return True when the machine slept or lost an address since the last call."""
        now = self._ahead()
        slept = now - self._offset > SLEPT
        self._offset = now
        return self._address_lost() or slept

    @staticmethod
    def _ahead() -> float:
        # CLOCK_BOOTTIME runs on while the machine sleeps, CLOCK_MONOTONIC stops; steps of the wall
        # clock move neither
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()

    def _address_lost(self) -> bool:
        lost = False
        while self._netlink is not None:
            try:
                packet = self._netlink.recv(65536)
            except BlockingIOError:
                break
            except OSError:  # the queue overflowed: something happened
                return True
            at = 0
            while at + _HEADER.size <= len(packet):
                length, kind, _, _, _ = _HEADER.unpack_from(packet, at)
                lost = lost or kind == _DELETED
                at += max(length + 3 & ~3, _HEADER.size)
        return lost
