"""The monitor: /metrics for Prometheus, /live, /ready. Served by control; nothing secret in it."""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Number = int | float
# Counters of a worker that go down as well as up; everything else only counts up
GAUGES = frozenset({"connections", "busy", "links", "tokens", "bad_certificates"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One worker as the monitor shows it."""

    slot: int
    version: int
    counters: dict[str, Number | dict[str, Number]]
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Readings:
    """The node at one moment."""

    version: int  # newest snapshot
    expected: int  # workers that should be there
    reload_failed: bool
    revocations: int
    workers: list[Reading] = field(default_factory=list)
    certificates: dict[str, float] = field(default_factory=dict)  # file -> unix time of its end
    mail_failing: bool = False
    mail_sent: int = 0
    mail_failed: int = 0  # letters that were given up
    pin_alarm: bool = False

    @property
    def ready(self) -> bool:
        """True when every worker is there and runs the newest snapshot."""
        current = [worker for worker in self.workers if worker.version == self.version]
        return self.version > 0 and len(current) == self.expected


class NodeCollector:
    """Turns the counters that workers sent over the feed into metrics when asked."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self.read = read

    def collect(self) -> Iterable[Metric]:
        now = self.read()
        yield _gauge("sekisho_snapshot_version", "Newest snapshot that control wrote.", now.version)
        yield _gauge("sekisho_workers_expected", "Workers that the node should run.", now.expected)
        yield _gauge("sekisho_ready", "1 when every worker runs the newest snapshot.", now.ready)
        yield _gauge("sekisho_reload_failed", "1 when the last reload failed.", now.reload_failed)
        yield _gauge("sekisho_revocations", "Revocations in force.", now.revocations)
        yield _gauge(
            "sekisho_mail_failing", "1 when the last attempt to send a mail failed.",
            now.mail_failing,
        )
        yield CounterMetricFamily(
            "sekisho_mail_sent", "Mails that the mail server took.", value=now.mail_sent
        )
        yield CounterMetricFamily(
            "sekisho_mail_failed", "Mails that were given up or found no room.",
            value=now.mail_failed,
        )
        yield _gauge(
            "sekisho_pin_alarm", "1 while there are more wrong PINs in an hour than people make.",
            now.pin_alarm,
        )
        ends = GaugeMetricFamily(
            "sekisho_certificate_end_seconds", "Unix time at which a certificate ends.",
            labels=["file"],
        )
        for file, end in now.certificates.items():
            ends.add_metric([file], end)
        yield ends
        versions = GaugeMetricFamily(
            "sekisho_worker_snapshot_version", "Snapshot that a worker runs.", labels=["worker"]
        )
        for worker in now.workers:
            versions.add_metric([str(worker.slot)], worker.version)
        yield versions
        yield from _families(now.workers)


def _gauge(name: str, text: str, value: Number) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _families(workers: list[Reading]) -> Iterable[Metric]:
    """One family per counter: a number, or a map of kind to number, per worker."""
    names = sorted({name for worker in workers for name in worker.counters})
    for name in names:
        values = [(worker, worker.counters[name]) for worker in workers if name in worker.counters]
        kinds = any(isinstance(value, dict) for _, value in values)
        labels = ["worker", "kind"] if kinds else ["worker"]
        family: GaugeMetricFamily | CounterMetricFamily
        text = f"{name.replace('_', ' ').capitalize()}, per worker."
        if name in GAUGES:
            family = GaugeMetricFamily(f"sekisho_{name}", text, labels=labels)
        else:
            family = CounterMetricFamily(f"sekisho_{name}", text, labels=labels)
        for worker, value in values:
            slot = str(worker.slot)
            if isinstance(value, dict):
                for kind, number in sorted(value.items()):
                    family.add_metric([slot, str(kind)], number)
            else:
                family.add_metric([slot, ""] if kinds else [slot], value)
        yield family


class KnownHost:
    """Answers only requests whose Host is an address, localhost or the monitor's own name.

    A page on a stranger's name that was rebound to 127.0.0.1 sends that name (Z01, Z09)."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "http" and not (len(hosts) == 1 and self._known(hosts[0])):
            await PlainTextResponse("", 421)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _known(self, host: bytes) -> bool:
        text = host.decode("latin-1").lower()
        name = text[1 : text.find("]")] if text.startswith("[") else text.partition(":")[0]
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def build_monitor(read: Callable[[], Readings], *, names: Iterable[str] = ()) -> Starlette:
    """Return the application; `names` are host names by which a scraper may call it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(read))

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    async def live(request: Request) -> Response:
        return PlainTextResponse("live\n")

    async def ready(request: Request) -> Response:
        now = read()
        if now.ready:
            return PlainTextResponse(f"ready: version {now.version}\n")
        at = {worker.slot: worker.version for worker in now.workers}
        return PlainTextResponse(
            f"not ready: version {now.version}, {len(at)} of {now.expected} workers, "
            f"running {sorted(at.values())}\n", 503,
        )

    return Starlette(
        routes=[
            Route("/metrics", metrics, methods=["GET"]),
            Route("/live", live, methods=["GET"]),
            Route("/ready", ready, methods=["GET"]),
        ],
        middleware=[Middleware(KnownHost, names=frozenset({"localhost", *names}))],
    )
