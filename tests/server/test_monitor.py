"""The monitor: what /ready means, what /metrics holds, and who is answered."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from edge.server.monitor import Reading, Readings, build_monitor


def reading(*versions: int, version: int = 5, failed: bool = False) -> Readings:
    return Readings(
        certificates={"/etc/x.pem": 2e9}, version=version, expected=2, reload_failed=failed,
        revocations=3, mail_failing=failed, mail_sent=8, mail_failed=2, pin_alarm=failed,
        workers=[
            Reading(slot, at, {
                "requests": 10 + slot, "connections": 4, "by_status": {"2xx": 9, "4xx": 1},
            })
            for slot, at in enumerate(versions)
        ],
    )


def client(now: Readings, host: str = "127.0.0.1:9180") -> TestClient:
    return TestClient(build_monitor(lambda: now), base_url=f"http://{host}")


@pytest.mark.parametrize(("now", "status"), [
    (reading(5, 5), 200), (reading(5, 4), 503), (reading(5), 503), (reading(), 503),
    (reading(0, 0, version=0), 503),
], ids=["all", "one is old", "one is away", "none", "nothing published"])
def test_ready_when_every_worker_runs_the_newest(now, status):
    answer = client(now).get("/ready")
    assert answer.status_code == status


def test_live():
    assert client(reading()).get("/live").text == "live\n"


def test_metrics_can_be_parsed_and_are_right():
    text = client(reading(5, 4, failed=True)).get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert found["sekisho_snapshot_version",] == 5
    assert found["sekisho_reload_failed",] == 1
    assert found["sekisho_ready",] == 0
    assert found["sekisho_mail_failing",] == 1 and found["sekisho_pin_alarm",] == 1
    assert (found["sekisho_mail_sent_total",], found["sekisho_mail_failed_total",]) == (8, 2)
    assert found["sekisho_certificate_end_seconds", ("file", "/etc/x.pem")] == 2e9
    assert found["sekisho_requests_total", ("worker", "0")] == 10
    assert found["sekisho_requests_total", ("worker", "1")] == 11
    assert found["sekisho_connections", ("worker", "1")] == 4
    assert found["sekisho_by_status_total", ("kind", "4xx"), ("worker", "0")] == 1
    assert found["sekisho_worker_snapshot_version", ("worker", "1")] == 4


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:9180", 200), ("127.0.0.1", 200), ("[::1]:9180", 200), ("localhost:9180", 200),
    ("evil.example:9180", 421), ("localhost.evil.example", 421), ("", 421),
    ("127.0.0.1.evil.example", 421),
])
def test_rebound_name_is_refused_without_a_body(host, status):
    """Z01, Z04, Z09."""
    answer = client(reading(5, 5)).get("/metrics", headers={"Host": host})
    assert answer.status_code == status
    assert (answer.text == "") == (status == 421)


def test_two_host_fields_are_refused():
    """Z01"""
    answer = client(reading(5, 5)).get(
        "/metrics", headers=[("Host", "127.0.0.1"), ("Host", "localhost")]
    )
    assert answer.status_code == 421
