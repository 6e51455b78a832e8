"""What several rooms' tests begin with."""

import pytest

from tests.kit.mux_script import Build, Script


@pytest.fixture(params=[0, 1, 7], ids=["whole", "byte-by-byte", "sevens"])
def script(request: pytest.FixtureRequest) -> Build:
    """A mux end whose peer's bytes come whole, one by one, or in sevens."""

    def build(**options: int | bool) -> Script:
        return Script(request.param, **options)  # type: ignore[arg-type]

    return build
