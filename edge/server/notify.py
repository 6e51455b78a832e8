"""sd_notify(3): tell systemd how we are. Without NOTIFY_SOCKET every call does nothing."""

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends to the service manager's datagram socket; one that has gone is no fault."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of an abstract name
        self.address = "\0" + address[1:] if address.startswith("@") else address
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "")
        #: seconds between two WATCHDOG=1, half of what the manager allows; 0 when it doesn't watch
        self.every = int(microseconds) / 2e6 if mine and microseconds.isdigit() else 0.0

    def send(self, *lines: str) -> None:
        if self.address:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                    sock.sendto("\n".join(lines).encode(), self.address)
            except OSError:
                pass

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        # Type=notify-reload refuses RELOADING without the time at which it began
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.send("STOPPING=1", "STATUS=draining")

    def watchdog(self) -> None:
        self.send("WATCHDOG=1")
