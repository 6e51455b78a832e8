"""docs/metrics.md names what a running edge and connector show, and nothing else."""

import re
import urllib.request

from tests.e2e.conftest import ROOT, Theatre


def shown(port: int) -> set[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return set(re.findall(r"^# TYPE (\S+) ", answer.read().decode(), re.M))


def test_metrics_page(theatre: Theatre) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"`(sekisho_\w+)`", page))
    stage = theatre.stage
    assert named == shown(stage.monitor) | shown(stage.metrics)
