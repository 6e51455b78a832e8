"""The demo's cast: edge, connector, application and inbox as processes of the real commands."""

import contextlib
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from edge.demo.authority import DemoAuthority
from edge.demo.claim import NAME, Claim
from edge.demo.processes import Child, answers, called, free_port, links_ready

AUTH_DOMAIN = "login.sekisho.localhost"
APPLICATIONS = ("wiki", "reports")
MAY_ENTER = "alice@example.com"
MAY_NOT = "mallory@contractor.example"
LINKS = 4          # of a connector, when its configuration says nothing else
SOCKET_ROOM = 80   # characters of a folder that still leave room for a socket's name (108 in all)

CONFIG = """\
# The demo's edge. Change it while the demo runs: a good file counts from the next request on,
# a bad one changes nothing (`sekisho edge check -c {file}` says why).
demo: true
auth_domain: {auth_domain}
{listeners}
workers: 2
monitor: 127.0.0.1:{monitor}
access_log: {folder}/access.log
state: sqlite:///{folder}/state/state.db
state_folder: {folder}/state
run_folder: {sockets}/run
mail: {{server: "smtp://127.0.0.1:{smtp}", from: "Sekisho demo <access@sekisho.localhost>"}}
identity_providers:
  - {{name: One-time PIN, type: onetimepin}}
routes:
  - {{hostname: wiki.sekisho.localhost, tunnel: demo}}
  - {{hostname: reports.sekisho.localhost, tunnel: demo}}
applications:
  - name: Wiki
    domain: wiki.sekisho.localhost
    session_duration: 24h
    policies:
      - {{name: Staff, decision: allow, include: [{{email_domain: example.com}}]}}
      # may ask for a code (the address alone doesn't rule it out), and is refused from here
      - {{name: Contractors in the office, decision: allow, include: [{{email: {may_not}}}],
         require: [{{ip: 10.0.0.0/8}}]}}
  - name: Reports
    domain: reports.sekisho.localhost
    policies:
      - {{name: Auditor, decision: allow, include: [{{email: {may_enter}}}]}}
"""
CONNECTOR = """\
# Beside the application: it only dials out.
tunnel: demo
credentials-file: {folder}/connector/credentials.json
metrics: 127.0.0.1:{metrics}
ingress:
  - hostname: "*.sekisho.localhost"
    service: unix:{sockets}/application.sock
  - service: http_status:404
"""


def command(*words: str) -> list[str]:
    """Return argv for the installed command `sekisho` of this very Python."""
    beside = Path(sys.executable).with_name("sekisho")
    return [str(beside), *words] if beside.exists() else [sys.executable, "-m", "edge", *words]


class Stage:
    """Everything that one run of the demo starts, in the folder that it owns."""

    def __init__(
        self, folder: Path, *, tls: bool, tell: Callable[[str], None],
        config: str = CONFIG, connector: str = CONNECTOR,
    ) -> None:
        self.folder, self.tls, self.tell = folder.absolute(), tls, tell
        self.config_text, self.connector_text = config, connector
        # Ports that a person may remember where a person looks; elsewhere any free ones, so that
        # two runs at once don't take each other's between the choice and the start.
        self.smtp, self.monitor, self.metrics = free_port(), free_port(), free_port()
        self.inbox_port = free_port(0 if tls else 8025)
        self.port = free_port(0 if tls else 8080)
        self.tunnel_port = self.port if tls else free_port()
        self.authority = DemoAuthority()
        self.children: dict[str, Child] = {}
        self.claim: Claim | None = None  # that the folder is ours; before it nothing is changed
        self.sockets = self.folder

    # --- names -----------------------------------------------------------------------------------

    def url(self, name: str, path: str = "/") -> str:
        scheme, usual = ("https", 443) if self.tls else ("http", 80)
        port = "" if self.port == usual else f":{self.port}"
        return f"{scheme}://{name}.sekisho.localhost{port}{path}"

    @property
    def inbox_url(self) -> str:
        return f"http://127.0.0.1:{self.inbox_port}/"

    @property
    def config(self) -> Path:
        return self.folder / "sekisho.yml"

    def client_tls(self) -> ssl.SSLContext | None:
        """Return what a client needs to trust the demo's CA; None over plain HTTP."""
        if not self.tls:
            return None
        return ssl.create_default_context(cadata=self.authority.pem().decode())

    # --- start and stop --------------------------------------------------------------------------

    def prepare(self) -> None:
        """Lay the folder anew: certificates, configuration, keys. What an older run left goes.

        Raises DemoRuns, and changes nothing, while another demo runs there."""
        mark = self.folder / NAME
        if self.folder.exists() and not mark.exists() and any(self.folder.iterdir()):
            raise SystemExit(f"{self.folder} isn't a demo's folder: name another one")
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.claim = Claim(self.folder)
        for old in self.folder.iterdir():
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            elif old != mark:
                old.unlink()
        for part in (self.folder / "connector", self.folder / "state"):
            part.mkdir(mode=0o700)
        if len(str(self.folder)) > SOCKET_ROOM:
            self.sockets = Path(tempfile.mkdtemp(prefix="sekisho-"))
        certificate, key = self.folder / "edge.pem", self.folder / "edge.key"
        names = [f"{n}.sekisho.localhost" for n in ("login", *APPLICATIONS)]
        self.authority.issue(["*.sekisho.localhost", *names], certificate, key)
        (self.folder / "demo-ca.pem").write_bytes(self.authority.pem())
        listeners = f'listen: ["127.0.0.1:{self.tunnel_port}"]\n'
        if not self.tls:
            listeners += f'plain: ["127.0.0.1:{self.port}"]\n'
        listeners += f"certificates: [{{certificate: {certificate}, key: {key}}}]"
        self.config.write_text(
            self.config_text.format(
                file=self.config, folder=self.folder, sockets=self.sockets, listeners=listeners,
                auth_domain=AUTH_DOMAIN, monitor=self.monitor, smtp=self.smtp,
                may_enter=MAY_ENTER, may_not=MAY_NOT,
            )
        )
        (self.folder / "connector" / "config.yml").write_text(
            self.connector_text.format(
                folder=self.folder, sockets=self.sockets, metrics=self.metrics
            )
        )

    def child(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> Child:
        one = Child(name, argv, self.folder / f"{name}.log", env)
        self.children[name] = one
        return one.start()

    def run(self, *words: str) -> str:
        """Run one `sekisho` command to its end and return what it printed; raises on failure."""
        done = subprocess.run(command(*words), capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(f"sekisho {' '.join(words)}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def start(self) -> None:
        """Start everything and return when a request would be served; NotReady otherwise."""
        python, file = sys.executable, str(self.config)
        self.tell("mail")
        inbox = self.child(
            "inbox",
            [python, "-m", "edge.demo.inbox", "--smtp", str(self.smtp),
             "--http", str(self.inbox_port)],
        )
        self.tell("private application")
        socket = str(self.sockets / "application.sock")
        application = self.child(
            "application", [python, "-m", "edge.demo.application", "--socket", socket]
        )
        self.tell("edge")
        self.run("edge", "init", "-c", file)
        edge = self.child("edge", command("edge", "run", "-c", file))
        edge.wait_until(lambda: answers(f"http://127.0.0.1:{self.monitor}/ready"), "readiness")
        self.tell("connector")
        credentials = self.folder / "connector" / "credentials.json"
        self.run("tunnel", "create", "demo", "-c", file, "--credentials-file", str(credentials))
        inbox.wait_until(lambda: answers(self.inbox_url), "its page")
        application.wait_until(Path(socket).exists, "its socket")
        self.start_connector()

    def start_connector(self) -> None:
        path = self.folder / "connector" / "config.yml"
        connector = self.child("connector", command("tunnel", "--config", str(path), "run"))
        ready = f"http://127.0.0.1:{self.metrics}/ready"
        # all links, not the first: then every worker has one, or a sibling that has
        connector.wait_until(lambda: links_ready(ready) >= LINKS, "links")

    def workers(self) -> list[int]:
        return called(self.children["edge"].pid, "edge.server.worker")

    def stop(self) -> None:
        """Stop what runs, the dialling side first; leave nothing but the folder."""
        if self.claim is None:
            return
        for name in ("connector", "edge", "application", "inbox"):
            if name in self.children:
                self.children[name].stop()
        if self.sockets != self.folder:
            shutil.rmtree(self.sockets, ignore_errors=True)
        else:
            for left in ("application.sock",):
                with contextlib.suppress(OSError):
                    (self.folder / left).unlink()
        self.claim.release()
        self.claim = None
