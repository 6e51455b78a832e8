"""Run inside a real systemd by test_systemd.py: the shipped unit, started, watched, stopped.

`systemd_walk.py ROOT SEKISHO [socket]` prints one line per step; status 1 at the first failure."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

ROOT, SEKISHO = Path(sys.argv[1]), sys.argv[2]
PORT, MONITOR, TLS = 18643, 18644, 18645
CONFIG = Path("/etc/sekisho/sekisho.yml")
JOURNAL = Path("/run/edge-journal")
UNIT = "sekisho-edge.service"
TEXT = """\
auth_domain: login.sekisho.localhost
demo: true
plain: ["127.0.0.1:{port}"]
listen: ["127.0.0.1:{tls}"]
certificates: [{{certificate: /etc/sekisho/tls.pem, key: "credential:tls.key"}}]
master_key_file: credential:master.key
monitor: 127.0.0.1:{monitor}
workers: 2
access_log: /var/log/sekisho/access.log
routes: [{{hostname: open.sekisho.localhost, service: "http_status:{status}"}}]
applications:
  - name: Open
    domain: open.sekisho.localhost
    policies: [{{name: All, decision: bypass, include: [everyone]}}]
"""


def step(name: str, true: object) -> None:
    print(("ok   " if true else "FAIL ") + name, flush=True)
    if not true:
        subprocess.run(["systemctl", "status", "--no-pager", "-n", "40", UNIT], check=False)
        print(JOURNAL.read_text() if JOURNAL.exists() else "no journal")
        sys.exit(1)


def systemctl(*words: str) -> int:
    return subprocess.run(["systemctl", *words], check=False).returncode


def show(name: str) -> str:
    return subprocess.run(
        ["systemctl", "show", "-P", name, UNIT], check=True, capture_output=True, text=True
    ).stdout.strip()


def get(limit: float = 15.0) -> int:
    """Return the status, or 0 where there was no answer."""
    try:
        return _get(limit)
    except (OSError, http.client.HTTPException) as error:
        print(f"     {error!r}")
        return 0


def _get(limit: float) -> int:
    session = http.client.HTTPConnection("127.0.0.1", PORT, timeout=limit)
    with contextlib.closing(session):
        session.request("GET", "/", headers={"Host": f"open.sekisho.localhost:{PORT}"})
        return session.getresponse().status


def tls_holds(name: str) -> bool:
    """True when the TLS listener shows a certificate for the name, with the key to it."""
    context = ssl.create_default_context(cafile="/etc/sekisho/walk-ca.pem")
    with (
        socket.create_connection(("127.0.0.1", TLS), 5) as raw,
        context.wrap_socket(raw, server_hostname=name) as session,
    ):
        return session.version() == "TLSv1.3"


def served(status: int, within: float) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _get(2) == status:
                return True
        time.sleep(0.05)
    return False


def family() -> set[int]:
    """Every process of the unit's cgroup."""
    group = show("ControlGroup")
    path = Path("/sys/fs/cgroup") / group.lstrip("/") / "cgroup.procs"
    try:
        return {int(line) for line in path.read_text().split()} if group else set()
    except FileNotFoundError:
        return set()


def write(status: int, extra: str = "") -> None:
    CONFIG.write_text(TEXT.format(port=PORT, tls=TLS, monitor=MONITOR, status=status) + extra)


def install() -> None:
    CONFIG.parent.mkdir(mode=0o755, exist_ok=True)
    write(200)
    from edge.identity.master_key import MasterKey
    from tests.kit.certificates import Authority

    secrets = CONFIG.parent / "credentials"   # 0700: the service sees what systemd hands it only
    secrets.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        MasterKey.create(secrets / "master.key")
    authority = Authority("walk CA")
    (CONFIG.parent / "walk-ca.pem").write_bytes(authority.pem)
    leaf = authority.leaf("open.sekisho.localhost")
    (CONFIG.parent / "tls.pem").write_bytes(leaf.certificate)
    (secrets / "tls.key").write_bytes(leaf.key)
    (secrets / "tls.key").chmod(0o600)
    text = (ROOT / "docs" / UNIT).read_text().replace("/opt/sekisho/bin/sekisho", SEKISHO)
    Path("/etc/systemd/system", UNIT).write_text(text)
    dropin = Path("/etc/systemd/system", f"{UNIT}.d")
    dropin.mkdir(exist_ok=True)
    lines = ["[Service]", "WatchdogSec=4s", f"StandardError=append:{JOURNAL}"]
    homes = [f"{folder}/" for folder in (sys.base_prefix, sys.prefix, str(ROOT))]
    if any(home.startswith(("/root/", "/home/")) for home in homes):
        lines += ["ProtectHome=no"]
    if any(home.startswith("/root/") for home in homes):
        # The interpreter or the checkout lives in root's home: no other user can run it
        lines += ["DynamicUser=no", "User=root"]
    if str(ROOT).startswith("/tmp/"):
        lines += ["PrivateTmp=no"]
    (dropin / "test.conf").write_text("\n".join(lines) + "\n")
    systemctl("daemon-reload")


def walk() -> None:
    step("systemctl start returns when the edge is ready", systemctl("start", UNIT) == 0)
    step("and it serves at once", get() == 200)
    step("over TLS with the key that systemd handed it", tls_holds("open.sekisho.localhost"))
    step(f"status text: {show('StatusText')}", show("StatusText").startswith("version "))
    step("four processes", len(family()) == 4)

    write(204)
    step("systemctl reload returns", systemctl("reload", UNIT) == 0)
    step("and the new version is served at once", get() == 204)
    write(200, "no_such_key: 1\n")
    step("systemctl reload fails on a broken file", systemctl("reload", UNIT) != 0)
    step("and the old version is served", get() == 204)
    step("the unit is active all the same", show("ActiveState") == "active")
    write(204)

    main = int(show("MainPID"))
    before = family()
    os.kill(main, signal.SIGSTOP)
    end = time.monotonic() + 15
    while show("MainPID") in (str(main), "0") and time.monotonic() < end:
        time.sleep(0.1)
    step("a master that hangs is replaced by the watchdog", show("MainPID") not in (str(main), "0"))
    step("and the new one serves", served(204, 30))
    step("nobody of the old one is left", not before & family())

    main, before = int(show("MainPID")), family()
    os.kill(main, signal.SIGKILL)
    step("after kill -9 of the master it serves again", _again(main) and served(204, 30))
    step("and nobody of the old one is left", not before & family())

    step("systemctl stop drains", systemctl("stop", UNIT) == 0)
    step("result: success", show("Result") == "success")
    step("nobody is left", not family())


def _again(main: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if show("MainPID") not in (str(main), "0"):
            return True
        time.sleep(0.05)
    return False


def walk_socket() -> None:
    Path("/etc/systemd/system/sekisho-edge.socket").write_text(
        f"[Socket]\nListenStream=127.0.0.1:{PORT}\n"
    )
    systemctl("daemon-reload")
    step("the socket unit listens", systemctl("start", "sekisho-edge.socket") == 0)
    step("the service does not run yet", show("ActiveState") == "inactive")
    step("the first request starts it and is answered", get(60) == 200)
    step("all workers share the socket", len({get() for _ in range(20)}) == 1)
    begin = time.monotonic()
    restart = subprocess.Popen(["systemctl", "restart", UNIT])
    asked = 0
    while restart.poll() is None:
        status = get(30)
        if status != 200:
            step(f"request {asked} during the restart got {status}", False)
        asked += 1
    step(
        f"{asked} requests during a restart ({time.monotonic() - begin:.1f} s): none refused",
        asked > 0 and restart.returncode == 0,
    )
    systemctl("stop", "sekisho-edge.socket", UNIT)


install()
walk_socket() if "socket" in sys.argv[3:] else walk()
