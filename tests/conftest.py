"""Real programs that any test may ask for by name; each starts once, when first asked for."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.kit.postgres import postgres

__all__ = ["postgres"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what this machine could not run: a dot less in a row of dots tells nobody."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("NOT RUN ON THIS MACHINE", red=True)
        for report in skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            terminalreporter.line(f"{report.nodeid}: {why}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Playwright's synchronous browser keeps an event loop running in this thread until the session
    ends, and no test with a loop of its own can run beside it: what uses it comes last."""
    items.sort(key=lambda item: "chromium" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One Chromium for all tests: Playwright's synchronous interface can be begun once."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--host-resolver-rules=MAP *.sekisho.localhost 127.0.0.1"],
        )
        yield browser
        browser.close()
